import { describe, expect, it } from 'vitest';
import {
  generateTraces,
  plainJob,
  type GeneratedTrace,
  type TraceJob,
} from '../../testing/profiles/kineto-generator.js';
import { KinetoReader } from './kineto.js';
import { reportProfiles, type ProfileReport } from './report.js';
import type { RankProfile } from './profile.js';

function read(text: string, file: string, pieceLength = 997): RankProfile {
  const reader = new KinetoReader(file);
  for (let at = 0; at < text.length; at += pieceLength) reader.push(text.slice(at, at + pieceLength));
  return reader.end();
}

interface Run {
  readonly traces: readonly GeneratedTrace[];
  readonly profiles: readonly RankProfile[];
  readonly report: ProfileReport;
}

function run(change: Partial<TraceJob>): Run {
  const traces = generateTraces({ ...plainJob, ...change });
  const profiles = traces.map((trace, rank) => read(trace.text, `t${rank}.json`));
  return { traces, profiles, report: reportProfiles(profiles) };
}

const jobs: readonly (readonly [string, Partial<TraceJob>])[] = [
  ['one rank', { ranks: 1, expertParallel: 1 }],
  ['8 ranks', {}],
  ['8 ranks, names before NCCL 2.8', { names: 'before 2.8', seed: 2 }],
  ['8 ranks, names to NCCL 2.18, arguments in the call', { names: 'to 2.18', arguments: 'call', seed: 3 }],
  ['8 ranks, groups named anew on each rank, clocks 30 ms apart', { renamedGroups: true, clockOffset: 0.03, seed: 4 }],
  ['8 ranks, collectives missed at the start', { missed: 3, clockOffset: 0.5, seed: 5, layers: 8 }],
  ['8 ranks, collectives missed but numbered', { missed: 5, numbered: true, clockOffset: 2, seed: 6 }],
  [
    '64 ranks over 8 nodes, lists cut',
    { ranks: 64, expertParallel: 32, layers: 2, clockOffset: 1, renamedGroups: true, seed: 7 },
  ],
  ['8 ranks with DeepEP', { deepEp: true, seed: 8 }],
];

describe.each(jobs)('traces of %s', (_, change) => {
  const { traces, profiles, report } = run(change);

  it('give the bytes that were sent, to the byte', () => {
    for (const [place, { truth }] of traces.entries()) {
      const calls = [...truth.calls].sort((a, b) => a.startNs - b.startNs);
      // of more than 30 splits the profiler does not write all
      const known = calls.map(({ op, sentBytes, bytes, members }) => ({
        op,
        bytes,
        sentBytes: op === 'all_to_all' && members.length > 30 ? undefined : sentBytes,
      }));
      expect(profiles[place]?.communications.map(({ op, sentBytes, bytes }) => ({ op, bytes, sentBytes }))).toEqual(
        known,
      );
    }
  });

  it('give exposed, communicating and computing time within a thousandth', () => {
    for (const { truth } of traces) {
      const time = report.ranks.find(({ rank }) => rank === truth.rank);
      expect(time?.computeSeconds).toBeCloseTo(truth.computeNs * 1e-9, 7);
      expect(Math.abs((time?.communicationSeconds ?? 0) - truth.communicationNs * 1e-9)).toBeLessThanOrEqual(
        truth.communicationNs * 1e-12 + 1e-9,
      );
      expect(Math.abs((time?.exposedSeconds ?? 0) - truth.exposedNs * 1e-9)).toBeLessThanOrEqual(
        truth.exposedNs * 1e-12 + 1e-9,
      );
    }
  });

  it('tell waiting from transferring, and how far clocks are apart', () => {
    const others = report.ranks.filter(() => traces.length > 1);
    for (const { rank, clockOffset } of others)
      expect(clockDifference(traces, profiles, rank, clockOffset ?? Number.NaN)).toBeLessThan(1e-8);
    const recorded = new Map<string, number>();
    const idOf = ({ op, members, readyNs }: { op: string; members: readonly number[]; readyNs: number }): string =>
      `${op} ${members.join()} ${readyNs}`;
    for (const { truth } of traces)
      for (const call of truth.calls) recorded.set(idOf(call), (recorded.get(idOf(call)) ?? 0) + 1);
    const told = ({ op }: { op: string }): boolean => !['send', 'receive'].includes(op);
    let waitingNs = 0;
    for (const { truth } of traces)
      for (const call of truth.calls)
        if (told(call) && recorded.get(idOf(call)) === call.members.length) waitingNs += call.readyNs - call.startNs;
    // rows are means over the ranks that took part
    const rows = report.rows.filter(({ waitingSeconds }) => waitingSeconds !== undefined);
    const ranksOf = (row: (typeof rows)[number]): number =>
      profiles.filter((profile) =>
        profile.communications.some(
          (one) =>
            one.op === row.op &&
            one.library === row.library &&
            one.group?.size === row.ranks &&
            one.group?.label === row.label,
        ),
      ).length;
    const found = rows.reduce((sum, row) => sum + (row.waitingSeconds ?? 0) * ranksOf(row), 0);
    expect(Math.abs(found - waitingNs * 1e-9)).toBeLessThan(waitingNs * 1e-11 + 1e-6);
  });
});

/** By how much the reported offset misses the true one; clocks count from the first kernel of each trace. */
function clockDifference(
  traces: readonly GeneratedTrace[],
  profiles: readonly RankProfile[],
  rank: number,
  reported: number,
): number {
  const first = (trace: GeneratedTrace | undefined): number => {
    const times = [...(trace?.text.matchAll(/"cat":"(?:kernel|gpu_memcpy)".*?"ts":([\d.]+)/gu) ?? [])].map(
      ([, ts]) => Number(ts) * 1e-6,
    );
    return times.reduce((a, b) => Math.min(a, b)) - (trace?.truth.clockAhead ?? 0);
  };
  const zero = profiles.findIndex((profile) => profile.rank === 0);
  return Math.abs(reported - (first(traces[rank]) - first(traces[zero])));
}

describe('KinetoReader', () => {
  it('says what a trace lacks', () => {
    const { report } = run({ ranks: 64, expertParallel: 32, layers: 1, seed: 9 });
    expect(report.notes.join('\n')).toMatch(/more than 30 splits, where the profiler cuts the list/u);
    const one = run({ ranks: 1, expertParallel: 1, layers: 1 }).report;
    expect(one.notes.join('\n')).toMatch(/one rank: time of a collective is waiting and transferring together/u);
    expect(run({ deepEp: true, layers: 1 }).report.rows.find(({ op }) => op === 'dispatch')).toMatchObject({
      library: 'DeepEP',
      ranks: 8,
      label: 'EXPERT_MODEL_PARALLEL_GROUP',
    });
  });

  it('knows every operation by its name, and counts the steps that are marked', () => {
    const { traces, report } = run({ layers: 3, seed: 11 });
    const told = new Set(traces.flatMap(({ truth }) => truth.calls.map(({ op }) => op)));
    expect([...told].sort()).toEqual(
      'all_gather all_reduce all_to_all broadcast gather receive reduce reduce_scatter scatter send'.split(' '),
    );
    expect(new Set(report.rows.map(({ op }) => op))).toEqual(told);
    expect(report.steps).toBe(3);
  });

  it('counts nodes by the devices of a host', () => {
    const { report } = run({ ranks: 16, expertParallel: 16, layers: 1, seed: 10 });
    const exchange = report.rows.find(({ op }) => op === 'all_to_all');
    expect(exchange).toMatchObject({ ranks: 16, stride: 1, nodes: 2 });
    expect(report.rows.find(({ label }) => label === 'TENSOR_MODEL_PARALLEL_GROUP')).toMatchObject({
      ranks: 2,
      nodes: 1,
    });
  });

  it('refuses what is cut short, no trace, or without a kernel, with the line', () => {
    const [trace] = generateTraces({ ...plainJob, ranks: 1, expertParallel: 1, layers: 1 });
    const text = trace?.text ?? '';
    const reading = (given: string) => (): unknown => read(given, 'x.json');
    expect(reading(text.slice(0, -30))).toThrow(/cut short/u);
    expect(reading('[{"ph":"X"}]')).toThrow(/cannot be read as a trace/u);
    expect(reading('{"traceEvents":[]}')).toThrow(/has no kernel/u);
    expect(reading('{"traceEvents":[{"ph":"X","cat":"kernel","name":"a","dur":}]}')).toThrow(/cannot be read as JSON/u);
  });
});
