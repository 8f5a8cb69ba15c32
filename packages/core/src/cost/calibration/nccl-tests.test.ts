import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../units/index.js';
import { busFactor, parseOp } from './measurement.js';
import { readNcclTests } from './nccl-tests.js';
import { parseSize, withoutPrefix } from './nccl-table.js';

const fixture = (name: string): string => readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8');

/** Lines "# Rank ..." for `hosts` hosts of `perHost` devices. */
const devices = (hosts: number, perHost: number, gpu = 'NVIDIA H100 80GB HBM3'): string[] =>
  Array.from(
    { length: hosts * perHost },
    (_, r) =>
      `#  Rank ${String(r).padStart(2)} Group  0 Pid ${9000 + r} on host-${Math.floor(r / perHost)} device ` +
      `${r % perHost} [0000:1b:00] ${gpu}`,
  );

/** A row as nccl-tests prints it, its bandwidths worked out here from the definition. */
function row(bytes: number, us: number, factor: number, middle = 'float     sum      -1', inPlaceUs = us): string {
  const group = (t: number): string => {
    const algorithm = bytes / t / 1e3;
    return `${t.toFixed(2)} ${algorithm.toFixed(2)} ${(algorithm * factor).toFixed(2)} 0`;
  };
  return `  ${bytes}  ${bytes / 4}  ${middle}  ${group(us)}  ${group(inPlaceUs)}`;
}

const header = [
  '#                                                              out-of-place                       in-place',
  '#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw ' +
    '#wrong',
  '#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)',
];

const sizes = [1, 4, 16].map((m) => m * 2 ** 20);

/** A table over two hosts under a command that may not fit it. */
const tableUnder = (op: string, factor: number): string =>
  [
    `# Collective test starting: ${op}`,
    ...devices(2, 8),
    ...header,
    ...sizes.map((s) => row(s, s / 3e4, factor, 'float    none      -1')),
  ].join('\n');

/** A result of the JSON report, of 4 ranks. */
const result = (size: number, us: number): object => ({
  size,
  count: size / 4 / 4,
  type: 'float',
  redop: 'none',
  root: '    -1',
  out_of_place: { time: us, alg_bw: size / us / 1e3, bus_bw: ((size / us / 1e3) * 3) / 4, nwrong: 0 },
  in_place: null,
});

/** A row of an early build, of 8 ranks. */
const earlyRow = (bytes: number, us: number): string => {
  const bandwidth = ((bytes / us / 1e3) * 7) / 8;
  return `${bytes} ${bytes / 32} float ${us} ${bandwidth.toFixed(2)} ${bandwidth.toFixed(2)} 0e+00`;
};

describe('real logs', () => {
  it('reads the old form with an error column and no root (SuperBench)', () => {
    const { measurements, warnings } = readNcclTests(fixture('superbench-alltoall.txt'), 'nccl_alltoall.log');
    expect(warnings).toEqual([]);
    expect(measurements.every((m) => m.bytes > 0)).toBe(true);
    expect(measurements[0]).toMatchObject({
      gpu: 'A100-SXM4-40GB',
      op: 'all_to_all',
      ranks: 8,
      nodes: 1,
      bytes: 32,
      library: 'nccl',
    });
    expect(measurements[0]?.seconds).toBeCloseTo(89e-6, 12);
    expect(measurements[0]?.inPlaceSeconds).toBeCloseTo(85.13e-6, 12);
  });

  it('takes ranks from the counts where nothing else tells them, and the GPU from the name', () => {
    const text = fixture('cluster-toolkit-a3mega-allgather.txt');
    const { measurements, warnings } = readNcclTests(text, 'h100_a3mega_allgather.txt');
    expect(measurements).toHaveLength(18);
    expect(measurements[0]).toMatchObject({ gpu: 'H100', op: 'all_gather', ranks: 16, nodes: null, bytes: 4096 });
    expect(warnings.join()).toContain('GPU H100 taken from the name');
  });
});

describe('shapes', () => {
  it('reads hosts, version and process layout of a newer build with tag-output prefixes', () => {
    const lines = [
      '# nccl-tests version 2.18.3 nccl-headers=22903 nccl-library=22903',
      '# Collective test starting: all_reduce_perf',
      '# nThread 1 nGpus 1 minBytes 8 maxBytes 64 step: 2(factor) warmup iters: 1 iters: 20 agg iters: 1 ' +
        'validation: 1 graph: 0',
      ...devices(2, 4),
      ...header,
      ...sizes.map((s) => row(s, s / 1e4, 1.75)),
    ].map((line) => `[1,0]<stdout>:${line}`);
    const { measurements, warnings } = readNcclTests(lines.join('\n'), 'log.txt');
    expect(warnings).toEqual([]);
    expect(measurements).toHaveLength(3);
    expect(measurements[1]).toMatchObject({ op: 'all_reduce', ranks: 8, nodes: 2, library: 'nccl 2.29.3', line: 16 });
  });

  it('reads several tables of one file, each with its own command and devices', () => {
    const table = (command: string, ranks: number, factor: number): string[] => [
      `$ mpirun ./build/${command} -b 1M -e 16M -f 4 -g 1`,
      '# nThread 1 nGpus 1 minBytes 1048576 maxBytes 16777216 step: 4(factor) warmup iters: 5 iters: 20',
      '# Using devices',
      ...devices(1, ranks),
      ...header,
      ...sizes.map((s) => row(s, s / 1e4, factor)),
      '# Out of bounds values : 0 OK',
      '# Avg bus bandwidth    : 10',
    ];
    const text = [...table('all_gather_perf', 8, 7 / 8), ...table('reduce_scatter_perf', 4, 3 / 4)].join('\n');
    const { measurements, warnings } = readNcclTests(text, 'both.log');
    expect(warnings).toEqual([]);
    expect(measurements.map((m) => [m.op, m.ranks])).toEqual([
      ...sizes.map(() => ['all_gather', 8]),
      ...sizes.map(() => ['reduce_scatter', 4]),
    ]);
  });

  it('reads a single group, without redop and root, with sizes in K, M and G', () => {
    const text = [
      ...devices(1, 2),
      '#   size   count   type   time   algbw   busbw   #wrong',
      '   512K   131072   float   20.00   26.21   13.11   0',
      '   1M     262144   float   30.00   34.95   17.48   0',
      '   1G   268435456   float   10000.0   107.37   53.69   N/A',
    ].join('\n');
    const { measurements, warnings } = readNcclTests(text, 'all_gather.txt');
    expect(warnings).toEqual([]);
    expect(measurements.map((m) => m.bytes)).toEqual([2 ** 19, 2 ** 20, 2 ** 30]);
    expect(measurements[0]).not.toHaveProperty('inPlaceSeconds');
  });

  it('reads CSV with a header of three rows', () => {
    const text = [
      ',,,,,out-of-place,,,,in-place,,,',
      'size,count,type,redop,root,time,algbw,busbw,#wrong,time,algbw,busbw,#wrong',
      '(B),(elements),,,,(us),(GB/s),(GB/s),,(us),(GB/s),(GB/s),',
      '1048576,32768,float,none,-1,72.95,14.37,12.58,0,73.07,14.35,12.56,0',
      '2097152,65536,float,none,-1,77.28,27.14,23.75,0,75.84,27.65,24.20,0',
    ].join('\n');
    const { measurements } = readNcclTests(text, 'a100_1node_8gpu_allgather.csv');
    expect(measurements.map((m) => [m.bytes, m.ranks, m.nodes])).toEqual([
      [1048576, 8, 1],
      [2097152, 8, 1],
    ]);
    expect(measurements[1]?.inPlaceSeconds).toBeCloseTo(75.84e-6, 12);
  });

  it('reads the JSON report', () => {
    const report = {
      version: 2,
      args: ['./build/all_gather_perf', '-g', '2'],
      nccl_version: 22903,
      config: {
        nthreads: 1,
        ngpus: 2,
        devices: [0, 2].map((rank) => ({ rank, hostname: `host-${rank}`, device: 0, device_info: 'NVIDIA B200' })),
      },
      results: [result(2 ** 20, 20), result(2 ** 21, 25)],
    };
    const { measurements, warnings } = readNcclTests(JSON.stringify(report), 'r.json');
    expect(warnings).toEqual([]);
    expect(measurements[1]).toMatchObject({
      gpu: 'NVIDIA B200',
      op: 'all_gather',
      ranks: 4,
      nodes: 2,
      bytes: 2 ** 21,
      library: 'nccl 2.29.3',
      line: 2,
    });
    expect(() => readNcclTests('{ "results": [] }', 'r.json')).toThrow(/no results/u);
    expect(() => readNcclTests('{ oops', 'r.json')).toThrow(/cannot be read as JSON/u);
  });

  it('passes over per-iteration columns by their names', () => {
    const text = [
      ...devices(1, 2),
      '# size count type redop root time algbw busbw #wrong i_min i_max i_p99 i_cv% time algbw busbw #wrong i_min ' +
        'i_max i_p99 i_cv%',
      '1048576 262144 float sum -1 100.0 10.49 10.49 0 99 120 118 3.1 90.00 11.65 11.65 0 88 95 94 1.0',
    ].join('\n');
    const [only] = readNcclTests(text, 'all_reduce.txt').measurements;
    expect(only?.seconds).toBeCloseTo(100e-6, 12);
    expect(only?.inPlaceSeconds).toBeCloseTo(90e-6, 12);
  });
});

describe('contradictions', () => {
  it('does not believe an all_reduce command above rows of another collective', () => {
    const { measurements, warnings } = readNcclTests(tableUnder('all_reduce_perf', 15 / 16), 'alltoall.txt');
    expect(measurements.every((m) => m.op === 'all_to_all')).toBe(true);
    expect(warnings.join()).toMatch(/alltoall\.txt:19: the command says all_reduce, but .*it is 0\.937/u);
  });

  it('names a row whose bus bandwidth does not follow from its algorithm bandwidth', () => {
    const broken = tableUnder('all_gather_perf', 15 / 16).replace(
      row(sizes[1] ?? 0, (sizes[1] ?? 0) / 3e4, 15 / 16, 'float    none      -1'),
      (line) => line.replace(/28\.1\d/gu, '55.55'),
    );
    const { warnings } = readNcclTests(broken, 'x.txt');
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain('x.txt:22');
  });

  it('says once that an old build counts the bytes received', () => {
    const text = [
      ...devices(1, 8),
      '# size count type time algbw busbw error',
      ...sizes.map((s) => earlyRow(s, s / 1e5)),
    ];
    const { measurements, warnings } = readNcclTests(text.join('\n'), 'all_gather.txt');
    expect(measurements.map((m) => m.seconds)).toEqual(sizes.map((s) => (s / 1e5) * 1e-6));
    expect(warnings).toEqual([expect.stringContaining('over the bytes received')]);
  });

  it('refuses a table of different devices', () => {
    const mixed = [...devices(1, 1), ...devices(1, 2, 'NVIDIA A100-SXM4-80GB').slice(1), ...header, row(1024, 9, 1)];
    expect(() => readNcclTests(mixed.join('\n'), 'all_reduce.txt')).toThrow(/different devices.*H100.*A100/u);
  });

  it('asks for what cannot be told', () => {
    const bare = [...header, ...sizes.map((s) => row(s, s / 3e4, 7 / 8, 'float    none      -1'))].join('\n');
    expect(() => readNcclTests(bare, 'x.txt', { ranks: 8 })).toThrow(InputError);
    expect(() => readNcclTests('no table here', 'x.txt')).toThrow(/no table/u);
    expect(readNcclTests(bare, 'x.txt', { ranks: 8, op: 'all_gather' }).measurements).toHaveLength(3);
  });
});

describe('vocabulary', () => {
  it('knows factors of the nccl-tests documentation', () => {
    expect(busFactor('all_reduce', 8)).toBe(1.75);
    expect(busFactor('all_gather', 4)).toBe(0.75);
    expect(busFactor('broadcast', 4)).toBe(1);
  });

  it('knows the spellings of collectives', () => {
    expect(['AllToAll', 'alltoall_perf', 'all_to_all'].map(parseOp)).toEqual(Array(3).fill('all_to_all'));
    expect(parseOp('deepep_dispatch')).toBeUndefined();
  });

  it('reads sizes and takes prefixes off', () => {
    expect([parseSize('8'), parseSize('8K'), parseSize('1.5G'), parseSize('float')]).toEqual([
      8,
      8192,
      1.5 * 2 ** 30,
      undefined,
    ]);
    expect(withoutPrefix('[1,12]<stdout>:# size')).toBe('# size');
    expect(withoutPrefix('node-3: 1024 256 float')).toBe('1024 256 float');
  });
});
