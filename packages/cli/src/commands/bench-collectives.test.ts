/** `monta bench collectives` as a person runs it, on threads, and what reads its output. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { busFactor, parseLayout, readNcclTests } from '@monta/core';
import { benchGroupCollectives, groupCollectives, layoutGroups, localLauncher } from '@monta/runtime';
import { monta } from '../../testing/run-monta.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-bench-collectives-'));
afterAll(() => rmSync(folder, { recursive: true }));

const short = ['--least', '64 B', '--most', '512 B', '--factor', '8', '--rounds', '1'];

interface Document {
  readonly tables: readonly {
    readonly op: string;
    readonly group: string;
    readonly ranks: number;
    readonly rows: readonly {
      readonly bytes: number;
      readonly seconds: number;
      readonly algorithmBytesPerSecond: number;
      readonly busBytesPerSecond: number;
      readonly wrong: number;
    }[];
  }[];
}

describe('groups of a layout', () => {
  it('are every kind that differs, on the lane of its collectives and with the nodes that it spans', () => {
    const told = (text: string, ranksPerNode: number): string[] =>
      layoutGroups({ ...parseLayout(text), ranksPerNode }).map(
        ({ kind, lane, groups, nodes }) => `${kind} ${lane} ${groups.map((one) => one.join()).join(' ')} on ${nodes}`,
      );
    expect(told('tp=2,dp=2,ep=2', 2)).toEqual([
      'tp intra 0,1 2,3 on 1',
      'dp inter 0,2 1,3 on 2',
      'expert inter 0,1,2,3 on 2',
    ]);
    expect(told('dp=4,ep=4', 4)).toEqual(['dp inter 0,1,2,3 on 1']);
  });
});

describe('monta bench collectives', () => {
  it('prints tables that monta calibrate reads, of all collectives and groups, rates by nccl-tests’ rule', async () => {
    const { out, code, err } = await monta('bench', 'collectives', '--layout', 'tp=2,dp=2,ep=2', ...short);
    expect([code, err]).toEqual([0, '']);
    const log = join(folder, 'log.txt');
    writeFileSync(log, out);
    const { measurements } = readNcclTests(out, log);
    const keys = new Set(measurements.map(({ op, ranks, nodes, groups = 1 }) => `${op} ${ranks} ${nodes} ${groups}`));
    const ops = ['all_to_all', 'all_gather', 'reduce_scatter', 'all_reduce', 'broadcast'];
    expect([...keys].sort()).toEqual(ops.flatMap((op) => [`${op} 2 1 2`, `${op} 4 1 1`]).sort());
    for (const { bytes, seconds, library } of measurements) {
      expect([64, 512]).toContain(bytes);
      expect(seconds).toBeGreaterThan(0);
      expect(library).toBe('monta local, memory');
    }
    const calibrated = await monta('calibrate', log, '--output', join(folder, 'calibration.json'));
    expect(calibrated.code).toBe(0);
    const { out: json } = await monta('bench', 'collectives', '--layout', 'dp=2,ep=2', ...short, '--json');
    for (const { op, ranks, rows } of (JSON.parse(json) as Document).tables)
      for (const { bytes, seconds, algorithmBytesPerSecond, busBytesPerSecond, wrong } of rows) {
        expect(algorithmBytesPerSecond).toBeCloseTo(bytes / seconds, 3);
        expect(busBytesPerSecond / algorithmBytesPerSecond).toBeCloseTo(busFactor(op as 'all_reduce', ranks), 9);
        expect([wrong, bytes % ranks]).toEqual([0, 0]);
      }
  });

  it('begins no table when its time is over, and counts those', async () => {
    const left = await benchGroupCollectives({
      launcher: localLauncher,
      layout: { ...parseLayout('dp=2,ep=2'), ranksPerNode: 2 },
      ops: groupCollectives,
      sizes: [64],
      rounds: 1,
      seconds: 0,
      onTable: () => expect.unreachable(),
    });
    expect(left).toBe(5);
  });

  it.each([
    [['--layout', 'tp=1'], 'nobody to talk to'],
    [['--layout', 'dp=2,ep=2', '--most', '1 B'], 'is less than --least'],
    [['--layout', 'dp=2,ep=2', '--ranks-per-node', '2'], '--backend nccl'],
  ])('refuses %j', async (flags, message) => {
    const { err, code } = await monta('bench', 'collectives', ...flags);
    expect(err).toContain(message);
    expect(code).toBe(2);
  });
});
