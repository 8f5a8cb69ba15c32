/**
 * What says how many ranks a table is of, and of what: logs made here as nccl-tests prints them, with one thing wrong
 * in each.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../units/index.js';
import { readNcclTests } from './nccl-tests.js';

/**
 * A run of a program over `hosts` x `perHost` ranks; factor and pieces as doc/PERFORMANCE.md of nccl-tests has them.
 */
interface Run {
  readonly program?: string;
  readonly hosts: number;
  readonly perHost: number;
  /** Ranks of one communicator where the run is split, and the colour of a rank. */
  readonly group?: { readonly ranks: number; readonly colour: (rank: number) => number; readonly labels: boolean };
  readonly kind?: 'pieces' | 'reduce';
  readonly command?: string;
  readonly time?: string;
  readonly wrong?: (index: number) => number;
  readonly keepRank?: (rank: number) => boolean;
  readonly below?: string;
  readonly gpu?: string;
}

const sizes = [1, 4, 16, 64].map((m) => m * 2 ** 20);

function log(run: Run): string {
  const { program = 'alltoall_perf', hosts, perHost, group, kind = 'pieces', time = 'time' } = run;
  const ranks = hosts * perHost;
  const n = group?.ranks ?? ranks;
  const factor = kind === 'pieces' ? (n - 1) / n : (2 * (n - 1)) / n;
  let elided = false;
  const devices = Array.from({ length: ranks }, (_, rank) => {
    if (run.keepRank?.(rank) === false) {
      const first = !elided;
      elided = true;
      return first ? ['...'] : [];
    }
    const colour = group?.labels === true ? group.colour(rank) : 0;
    const host = `node-${Math.floor(rank / perHost)}`;
    return [
      `#  Rank ${rank} Group ${colour} Pid ${900 + rank} on ${host} device ${rank % perHost} [0000:1b:00] ` +
        (run.gpu ?? 'NVIDIA H100 80GB HBM3'),
    ];
  }).flat();
  const rows = sizes.map((about, i) => {
    const bytes = Math.floor(about / 4 / n) * 4 * n; // as nccl-tests rounds it
    const us = 30 + bytes / n / 20e3;
    const algorithm = bytes / us / 1e3;
    const result = `${us.toFixed(2)} ${algorithm.toFixed(2)} ${(algorithm * factor).toFixed(2)} ${run.wrong?.(i) ?? 0}`;
    const elements = kind === 'pieces' ? bytes / 4 / n : bytes / 4;
    return `  ${bytes}  ${elements}  float  ${kind === 'pieces' ? 'none' : 'sum'}  -1  ${result}  ${result}`;
  });
  return [
    run.command ?? '',
    `# Collective test starting: ${program}`,
    '# nThread 1 nGpus 1 minBytes 1048576 maxBytes 67108864 step: 4(factor) warmup iters: 5 iters: 20',
    ...devices,
    `#  size  count  type  redop  root  ${time}  algbw  busbw  #wrong  ${time}  algbw  busbw  #wrong`,
    '#  (B)  (elements)  (us)  (GB/s)  (GB/s)  (us)  (GB/s)  (GB/s)',
    ...rows,
    run.below ?? '# Out of bounds values : 0 OK',
    '',
  ].join('\n');
}

const shapeOf = (text: string, options = {}): unknown => {
  const { measurements } = readNcclTests(text, 'run.log', options);
  const [first] = measurements;
  return { rows: measurements.length, ranks: first?.ranks, nodes: first?.nodes, groups: first?.groups, op: first?.op };
};
const refusalOf = (text: string, options = {}): string => {
  try {
    readNcclTests(text, 'run.log', options);
  } catch (error) {
    if (error instanceof InputError) return error.format();
    throw error;
  }
  return 'read';
};

describe('rank lines that are not all there', () => {
  it.each([
    [2, 4],
    [16, 4],
    [3, 8],
  ])('%i hosts of %i: the rows say how many ranks there are, whatever lines were taken out', (hosts, perHost) => {
    const ranks = hosts * perHost;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: ranks - 2 }), fc.integer({ min: 1, max: ranks - 2 }), (first, count) => {
        const last = Math.min(ranks - 2, first + count - 1);
        const text = log({ hosts, perHost, keepRank: (rank) => rank < first || rank > last });
        expect(shapeOf(text)).toMatchObject({ ranks, op: 'all_to_all' });
        expect(readNcclTests(text, 'run.log').warnings.join()).toMatch(/"\.\.\." at line \d+ stands for some/u);
      }),
      { seed: 3, numRuns: 30 },
    );
  });

  it('are counted by busbw / algbw where the counts do not tell', () => {
    const text = log({
      program: 'all_reduce_perf',
      kind: 'reduce',
      hosts: 4,
      perHost: 4,
      keepRank: (r) => r < 2 || r > 13,
    });
    expect(shapeOf(text)).toMatchObject({ ranks: 16, nodes: 4, op: 'all_reduce' });
  });

  it('are counted by the last line where neighbouring numbers of ranks have nearly the same bandwidths', () => {
    const run = { program: 'all_reduce_perf', kind: 'reduce', hosts: 64, perHost: 8 } as const;
    expect(shapeOf(log({ ...run, keepRank: (r) => r < 2 || r > 509 }))).toMatchObject({ ranks: 512, nodes: 64 });
    // what follows the dots is not there: nobody knows how many there were
    expect(refusalOf(log({ ...run, keepRank: (r) => r < 2 }))).toMatch(
      /cannot tell how many ranks took part: 2 rank lines .* "\.\.\." at line \d+ stands for some of them/u,
    );
  });

  it('that are all rank 0 ran each alone, whatever their rows say: nccl-tests was built without MPI', () => {
    const alone = log({ hosts: 2, perHost: 8 }).replace(/Rank \d+/gu, 'Rank 0');
    expect(refusalOf(alone)).toMatch(/16 processes are all rank 0 \(lines 4-19\): each of them ran alone/u);
  });

  it('stop a log whose rows are of fewer ranks than the last line names', () => {
    const text = log({ hosts: 2, perHost: 2, keepRank: (r) => r === 0 }).replace(
      '...',
      '...\n#  Rank 40 Group 0 Pid 9 on node-9 device 3 [0000:1b:00] NVIDIA H100 80GB HBM3',
    );
    expect(refusalOf(text)).toMatch(/the last is rank 40, but its rows are of 4 ranks/u);
  });
});

describe('groups at the same time', () => {
  const cases: [string, (rank: number) => number, number, number][] = [
    ['MOD 8', (rank) => rank % 8, 2, 2],
    ['% 8', (rank) => rank % 8, 2, 2],
    ['AND 0x7', (rank) => rank & 7, 2, 2],
    ['DIV 8', (rank) => rank >> 3, 8, 1],
    ['/ 4', (rank) => rank >> 2, 4, 1],
    ['OR 0x7', (rank) => rank | 7, 8, 1],
  ];
  it.each(cases)('NCCL_TESTS_SPLIT="%s": as labelled, and as the command line says', (split, colour, ranks, nodes) => {
    const expected = { rows: sizes.length, ranks, nodes, groups: 16 / ranks, op: 'all_to_all' };
    const group = { ranks, colour };
    expect(shapeOf(log({ hosts: 2, perHost: 8, group: { ...group, labels: true } }))).toEqual(expected);
    const command = `NCCL_TESTS_SPLIT="${split}" mpirun -np 16 ./build/alltoall_perf -b 1M -e 64M -f 4`;
    expect(shapeOf(log({ hosts: 2, perHost: 8, command, group: { ...group, labels: false } }))).toEqual(expected);
  });

  it('that neither labels nor command tell: both witnesses are named', () => {
    const text = log({ hosts: 2, perHost: 8, group: { ranks: 2, colour: (rank) => rank % 8, labels: false } });
    expect(refusalOf(text)).toMatch(/16 rank lines \(lines 4-19\), but size \/ count is of 2 ranks \(line 22\)/u);
    expect(shapeOf(text, { ranks: 2, nodes: 2 })).toMatchObject({ ranks: 2, nodes: 2 });
  });

  it('of all_reduce, where only the bandwidths tell', () => {
    const group = { ranks: 4, colour: (rank: number) => rank % 4, labels: false };
    const text = log({ program: 'all_reduce_perf', kind: 'reduce', hosts: 2, perHost: 8, group });
    expect(refusalOf(text)).toMatch(/16 rank lines .* would be 1\.8750, but it is 1\.50\d\d \(line \d+\)/u);
  });

  it('of different sizes say nothing of either', () => {
    const group = { ranks: 8, colour: (rank: number) => (rank < 4 ? 0 : 1), labels: true };
    expect(refusalOf(log({ hosts: 2, perHost: 8, group }))).toMatch(/groups of 4 and 12 ranks/u);
  });
});

describe('contradictions', () => {
  it('between what the person says and the counts: both are named', () => {
    expect(refusalOf(log({ hosts: 2, perHost: 8 }), { ranks: 8 })).toMatch(
      /--ranks says 8 ranks, but size \/ count is of 16 ranks/u,
    );
  });

  it('between command and rows, with nobody to decide', () => {
    const text = log({ program: 'all_reduce_perf', hosts: 2, perHost: 8 });
    expect(refusalOf(text)).toMatch(/said to be all_reduce, .*size \/ count is of 16 ranks/u);
    expect(shapeOf(text, { op: 'all_to_all' })).toMatchObject({ ranks: 16, op: 'all_to_all' });
    const reduce = log({ kind: 'reduce', hosts: 2, perHost: 8 });
    expect(refusalOf(reduce)).toMatch(/busbw \/ algbw of all_to_all would be 0\.9375, but it is 1\.87/u);
  });

  it('of most rows with their own bandwidths: a column in another unit', () => {
    const text = log({ hosts: 1, perHost: 8 }).replace(/^ {2}(\d+)/gmu, (_, bytes: string) => `  ${Number(bytes) * 8}`);
    expect(refusalOf(text)).toMatch(/contradict/u);
  });
});

describe('tables that nobody needs, or should believe', () => {
  const good = (program: string): string => log({ program, hosts: 1, perHost: 8 });

  it.each(['reduce_perf', 'scatter_perf', 'gather_perf', 'alltoallv_perf', 'hypercube_perf'])(
    '%s does not sink the rest of a file, alone it is refused',
    (program) => {
      const { measurements, warnings } = readNcclTests(
        `${log({ program, hosts: 1, perHost: 8 })}${good('all_gather_perf')}`,
        'x',
      );
      expect(measurements).toHaveLength(sizes.length);
      expect(measurements.every((m) => m.op === 'all_gather')).toBe(true);
      expect(warnings.join()).toMatch(new RegExp(`${program.slice(0, -5)} is no collective .*left out`, 'u'));
      expect(refusalOf(log({ program, hosts: 1, perHost: 8 }))).toMatch(/is no collective that a calibration holds/u);
    },
  );

  it.each([
    'all_gather_perf_mpi',
    './build/all_gather_perf',
    'all_gather_perf.exe',
    'all_gather_perf-cuda12',
    'allgather_test',
  ])('%s is all_gather', (program) =>
    expect(shapeOf(log({ program, hosts: 2, perHost: 8 }))).toMatchObject({ op: 'all_gather', ranks: 16 }),
  );

  it('launch times of the host are no durations', () => {
    const text = log({ time: 'cputime', hosts: 2, perHost: 4 });
    expect(refusalOf(text)).toMatch(/run\.log:\d+ {2}the column cputime is the host's time to launch/u);
    const { measurements, warnings } = readNcclTests(`${text}${good('alltoall_perf')}`, 'x');
    expect(measurements.map((m) => m.ranks)).toEqual(sizes.map(() => 8));
    expect(warnings.join()).toMatch(/cputime .*left out/u);
  });

  it('wrong results are told, and fitted only when the person insists', () => {
    const wrong = log({ hosts: 1, perHost: 8, wrong: (i) => (i === 2 ? 237_858 : 0) });
    expect(refusalOf(wrong)).toMatch(/#wrong is 237858 in line 16\n(?:.|\n)*--accept-wrong/u);
    expect(shapeOf(wrong, { acceptWrong: true })).toMatchObject({ rows: sizes.length });
    const failed = log({ hosts: 1, perHost: 8, below: '# Out of bounds values : 6 FAILED' });
    expect(refusalOf(failed)).toMatch(/line 18 says that the test failed/u);
    expect(readNcclTests(`${wrong}${good('alltoall_perf')}`, 'x').measurements).toHaveLength(sizes.length);
  });
});

describe('several runs in one log', () => {
  it('are told apart by number and by the settings in which they differ', () => {
    const run = (value: number): string =>
      log({
        hosts: 1,
        perHost: 8,
        command: `mpirun -x NCCL_DEBUG=WARN -x NCCL_IB_ADAPTIVE_ROUTING=${value} ./build/alltoall_perf -b 1M`,
      });
    const { measurements } = readNcclTests(`${run(0)}${run(1)}`, 'both.log');
    expect([...new Set(measurements.map((m) => m.origin))]).toEqual([
      'all_to_all_perf, run 1 of 2, NCCL_IB_ADAPTIVE_ROUTING=0',
      'all_to_all_perf, run 2 of 2, NCCL_IB_ADAPTIVE_ROUTING=1',
    ]);
  });

  it('do not lend each other their ranks when one stopped before its first row', () => {
    const stopped = log({ hosts: 2, perHost: 8 }).split('\n').slice(0, 19).join('\n');
    expect(shapeOf(`${stopped}\n${log({ hosts: 1, perHost: 8 })}`)).toMatchObject({ ranks: 8, nodes: 1 });
  });
});

describe('prefixes of launchers', () => {
  const plain = log({ hosts: 3, perHost: 8 });
  const expected = readNcclTests(plain, 'x').measurements;

  it.each(['[0] ', '[1,0]<stdout>:', '[node-1:0]: ', '0: ', 'node-1: '])(
    '%j before every line and every piece of a row',
    (prefix) => {
      const text = plain
        .split('\n')
        .map((line) => (/^ +\d/u.test(line) ? line.replace(/ {2}(?=\S+ \S+ \S+ \d+)/gu, prefix) : line))
        .map((line) => `${prefix}${line}`)
        .join('\n');
      expect(text).not.toBe(plain);
      expect(readNcclTests(text, 'x').measurements).toEqual(expected);
    },
  );
});
