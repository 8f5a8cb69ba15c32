import { describe, expect, it } from 'vitest';
import { csvRecords, readMeasurementsCsv, writeMeasurementsCsv } from './csv.js';

const header = 'source,gpu,gpus,nodes,op,size_bytes,time_us,notes';

describe('readMeasurementsCsv', () => {
  it('reads collectives with their library, and counts what is none', () => {
    const text = [
      '# a "note", with a comma',
      header,
      'repo:file,H100 80GB HBM3,8,1,alltoall,1048576,15.6,"nccl-tests; recorded NCCL 2.29.2; size, total"',
      'repo:file,GB200,4,,all_gather,512,11.7,',
      'repo:file,H800,8,,deepep_dispatch,,,',
    ].join('\r\n');
    const { measurements, skipped } = readMeasurementsCsv(text, 'c.csv');
    expect(skipped).toBe(1);
    expect(measurements).toHaveLength(2);
    expect(measurements[0]).toMatchObject({
      line: 3,
      op: 'all_to_all',
      ranks: 8,
      nodes: 1,
      library: 'nccl 2.29.2',
      bytes: 1048576,
    });
    expect(measurements[0]?.seconds).toBeCloseTo(15.6e-6, 12);
    expect(measurements[1]).toMatchObject({ nodes: null, library: 'nccl' });
  });

  it('names missing columns, and the line of a number that is none', () => {
    expect(() => readMeasurementsCsv('gpu,op\nH100,all_gather', 'c.csv')).toThrow(/size_bytes, time_us, ranks/u);
    expect(() => readMeasurementsCsv(`${header}\nr,H100,eight,1,all_gather,512,5,`, 'c.csv')).toThrow(
      expect.objectContaining({ file: 'c.csv', line: 2, path: 'gpus' }),
    );
  });

  it('reads what it writes', () => {
    const text = `${header}\n"a ""b"", c",H100,8,,all_gather,512,10.25,`;
    const { measurements } = readMeasurementsCsv(text, 'c.csv');
    expect(readMeasurementsCsv(writeMeasurementsCsv(measurements), 'c.csv').measurements).toEqual(measurements);
  });
});

describe('csvRecords', () => {
  it('keeps quoted line breaks and gives the line where a record starts', () => {
    expect(csvRecords('a,"b\nc"\nd,e\n', 'a.csv')).toEqual([
      { line: 1, fields: ['a', 'b\nc'] },
      { line: 3, fields: ['d', 'e'] },
    ]);
  });
});
