/** Files that were cut off or damaged: whatever is left is read rightly, what is lost is named, and nothing crashes. */
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError, appendAll } from '../../units/index.js';
import { readMeasurementsCsv } from './csv.js';
import { readNcclTests } from './nccl-tests.js';
import type { Reading } from './nccl-tests.js';

const fixture = (name: string): string => readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8');

/** A new table with all columns, prefixes of mpirun, and integers for long times. */
const tagged = [
  '# nThread 1 nGpus 1 minBytes 8388608 maxBytes 134217728 step: 2(factor) warmup iters: 5 iters: 20',
  ...Array.from(
    { length: 16 },
    (_, rank) =>
      `#  Rank ${rank} Group  0 Pid ${4000 + rank} on node-${rank >> 3} device ${rank & 7} [0x1b] NVIDIA H100 80GB ` +
      'HBM3',
  ),
  '#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw ' +
    '#wrong',
  '#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)',
  '     8388608        131072     float    none      -1   278.10   30.16   28.28      0   277.90   30.19   28.30   ' +
    '   0',
  '    16777216        262144     float    none      -1   536.40   31.28   29.32      0   540.20   31.06   29.12   ' +
    '   0',
  '    33554432        524288     float    none      -1   1063.0   31.57   29.59      0   1066.0   31.48   29.51   ' +
    '   0',
  '    67108864       1048576     float    none      -1     2110   31.80   29.82      0     2114   31.74   29.76   ' +
    '   0',
  '# Out of bounds values : 0 OK',
].map((line) => `[1,0]<stdout>:${line}`);

const options = { op: 'all_gather' } as const;
const logs: readonly (readonly [string, string])[] = [
  ['superbench-alltoall.txt', fixture('superbench-alltoall.txt')],
  ['cluster-toolkit-a3mega-allgather.txt', fixture('cluster-toolkit-a3mega-allgather.txt')],
  ['tagged.txt', `${tagged.join('\n')}\n`],
];

/** What reading gives; undefined when it refuses. Anything else than an `InputError` fails the test. */
function attempt(read: () => Reading): Reading | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

/** Says whether a line was used with the very time of the whole file, or is named in a warning. */
function accounted(reading: Reading, whole: Reading, file: string, line: number): boolean {
  const used = reading.measurements.find((m) => m.line === line);
  const right = whole.measurements.find((m) => m.line === line);
  if (used !== undefined) return used.seconds === right?.seconds && used.bytes === right.bytes;
  return reading.warnings.some((warning) => warning.startsWith(`${file}:${line}:`));
}

describe.each(logs)('%s', (name, text) => {
  const read = (part: string): Reading => readNcclTests(part, name, name === 'tagged.txt' ? options : {});
  const whole = read(text);
  const rows = whole.measurements.map((m) => m.line);
  const lines = text.split('\n');

  /** Where the size of a row begins in its line. */
  const sizeAt = (line: number): number => (lines[line - 1] ?? '').search(/\d+ +\d+ +float/u);
  /** Rows among `present` that a reading neither uses rightly nor names. */
  const lost = (reading: Reading, present: readonly number[], where: string): string[] =>
    present.filter((line) => !accounted(reading, whole, name, line)).map((line) => `line ${line}, cut ${where}`);

  it('cut off anywhere: every row that has begun is used with its own time, or named', () => {
    expect(rows.length).toBeGreaterThan(3);
    const failures: string[] = [];
    let readings = 0;
    for (let length = 0; length < text.length; length++) {
      const part = text.slice(0, length);
      const begun = part.split('\n');
      const present = rows.filter((line) => (begun[line - 1]?.length ?? 0) > sizeAt(line));
      const reading = attempt(() => read(part));
      if (reading !== undefined) readings++;
      // refused as a whole only where no row is complete
      else if (present.length > 1) failures.push(`refused after ${length}`);
      if (reading !== undefined) appendAll(failures, lost(reading, present, `after ${length}`));
    }
    expect(failures).toEqual([]);
    expect(readings).toBeGreaterThan(text.length / 6);
  });

  it('with one row cut in the middle of the file: it keeps its own time, or is named, and the others are used', () => {
    const failures: string[] = [];
    for (const cut of rows) {
      const line = lines[cut - 1] ?? '';
      for (let length = sizeAt(cut) + 1; length < line.length; length++) {
        const reading = read(lines.map((one, i) => (i === cut - 1 ? one.slice(0, length) : one)).join('\n'));
        appendAll(failures, lost(reading, rows, `at ${cut}:${length}`));
      }
    }
    expect(failures).toEqual([]);
  });

  it('without its first lines: refused, or all rows that are left are used', () => {
    for (let first = 1; first < lines.length; first++) {
      const reading = attempt(() => read(lines.slice(first).join('\n')));
      if (reading === undefined) continue;
      const left = rows.filter((line) => line > first);
      expect(reading.measurements.map((m) => m.line + first)).toEqual(left);
    }
  });

  it('with a time stamp before every line: the same rows', () => {
    const stamped = lines.map((line) => `2026-03-01T12:00:00.123Z ${line.replace('[1,0]<stdout>:', '')}`);
    const reading = read(stamped.join('\n'));
    expect(reading.measurements.map(({ line, seconds }) => [line, seconds])).toEqual(
      whole.measurements.map(({ line, seconds }) => [line, seconds]),
    );
  });

  it('damaged at random: read or refused', () => {
    const edit = fc.record({
      at: fc.nat(text.length),
      remove: fc.nat(40),
      insert: fc.oneof(fc.constant(''), fc.string({ maxLength: 12 }), fc.constantFrom('\n', ',', '"', '{', '#', ' ')),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), (edits) => {
        const damaged = edits.reduce(
          (left, { at, remove, insert }) => left.slice(0, at) + insert + left.slice(at + remove),
          text,
        );
        const reading = attempt(() => read(damaged));
        for (const m of reading?.measurements ?? []) expect(Number.isFinite(m.seconds) && m.bytes > 0).toBe(true);
      }),
      { seed: 11, numRuns: 500 },
    );
  });
});

describe('CSV', () => {
  const lines = fixture('nccl-tests-logs.csv').split('\n');
  const start = lines.findIndex((line) => line.startsWith('op,'));
  const text = lines.slice(start, start + 12).join('\n');
  const whole = readMeasurementsCsv(text, 'a.csv');

  it('cut off anywhere: rows with a time are used, others named', () => {
    expect(whole.measurements).toHaveLength(11);
    for (let length = text.indexOf('\n') + 1; length < text.length; length++) {
      const part = text.slice(0, length);
      const reading = readMeasurementsCsv(part, 'a.csv');
      const begun = part.split('\n').flatMap((line, i) => (i > 0 && line !== '' ? [i + 1] : []));
      const named = new Set([
        ...reading.measurements.map((m) => m.line),
        ...reading.warnings.flatMap((warning) => Number(/^a\.csv:(\d+): row/u.exec(warning)?.[1])),
      ]);
      expect(begun.filter((line) => !named.has(line))).toEqual([]);
    }
  });

  it('refuses a quote that would swallow the rest', () => {
    expect(() => readMeasurementsCsv(text.replace('\nall', '\n"all'), 'a.csv')).toThrow(/never closed/u);
  });

  it('damaged at random: read or refused', () => {
    let refused = 0;
    fc.assert(
      fc.property(fc.nat(text.length), fc.nat(30), fc.string({ maxLength: 10 }), (at, remove, insert) => {
        const damaged = text.slice(0, at) + insert + text.slice(at + remove);
        if (attempt(() => readMeasurementsCsv(damaged, 'a.csv')) === undefined) refused++;
      }),
      { seed: 5, numRuns: 500 },
    );
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(500);
  });
});

describe('JSON report', () => {
  const result = (size: number, change: object = {}) => ({
    size,
    count: size / 16 / 4,
    type: 'float',
    redop: 'none',
    root: -1,
    out_of_place: { time: size / 3e4, alg_bw: 30, bus_bw: 28.125, nwrong: 0 },
    in_place: { time: size / 3e4, alg_bw: 30, bus_bw: 28.125, nwrong: 0 },
    ...change,
  });
  const report = (results: readonly object[]): string =>
    JSON.stringify({ args: ['all_gather_perf'], config: {}, results });
  const read = (text: string): Reading => readNcclTests(text, 'r.json', { ranks: 16, gpu: 'H100' });

  it('names results without times or size', () => {
    const empty = { out_of_place: {}, in_place: null };
    const { measurements, warnings } = read(
      report([result(2 ** 23), result(2 ** 24, empty), result(2 ** 25, { size: '32M' }), result(2 ** 26)]),
    );
    expect(measurements.map((m) => m.bytes)).toEqual([2 ** 23, 2 ** 26]);
    expect(warnings.map((warning) => warning.slice(0, 'r.json:2:'.length))).toEqual(['r.json:2:', 'r.json:3:']);
  });

  it('cut off anywhere: refused', () => {
    const text = report([result(2 ** 23), result(2 ** 24)]);
    for (let length = 1; length < text.length; length++)
      expect(attempt(() => read(text.slice(0, length)))).toBeUndefined();
  });
});
