/** Where the time of a trace goes, per rank and lane. Works on simulated and measured traces alike. */
import type { Lane } from '../schedule/schedule.js';
import { lengthOf, overlapOf, unionOf, type Interval } from '../units/index.js';
import type { Span, Trace } from './span.js';

export const spanLanes: readonly Lane[] = ['compute', 'inter', 'intra', 'copy', 'shared'];

/** Lanes whose kernels compute: what is on others beside them is hidden. */
const computes: readonly Lane[] = ['compute', 'shared'];

export interface LaneTime {
  readonly lane: Lane;
  /** Running or transferring. */
  readonly busySeconds: number;
  /** Issued, and waiting for peers. */
  readonly waitingSeconds: number;
  /**
   * Busy while nothing ran on the lanes of computation (compute and shared); for these themselves all of their busy
   * time.
   */
  readonly exposedSeconds: number;
}

export interface RankTimes {
  readonly rank: number;
  /** All but `shared` always, that one where it was used. */
  readonly lanes: readonly LaneTime[];
  /** Busy time of the inter and the intra lane, added up. */
  readonly communicationSeconds: number;
  /** Time in which at least one of them was busy and no lane of computation was. */
  readonly exposedSeconds: number;
}

export interface LaneTimes {
  /** From 0 to the last end. */
  readonly makespanSeconds: number;
  readonly ranks: readonly RankTimes[];
  /**
   * Share of all ranks' communication time that did not lengthen the step by itself: it ran beside kernels, or beside
   * communication of the other lane. 0 when nothing was communicated.
   */
  readonly hiddenShare: number;
}

/** Times per rank and lane, in order of rank. */
export function laneTimes(trace: Trace): LaneTimes {
  const byRank = new Map<number, Span[]>();
  let makespanSeconds = 0;
  for (const span of trace.spans) {
    const spans = byRank.get(span.rank);
    if (spans) spans.push(span);
    else byRank.set(span.rank, [span]);
    makespanSeconds = Math.max(makespanSeconds, span.end);
  }
  const ranks = [...byRank].sort(([a], [b]) => a - b).map(([rank, spans]) => rankTimes(rank, spans));
  const total = ranks.reduce((sum, rank) => sum + rank.communicationSeconds, 0);
  const exposed = ranks.reduce((sum, rank) => sum + rank.exposedSeconds, 0);
  return { makespanSeconds, ranks, hiddenShare: total > 0 ? Math.max(0, 1 - exposed / total) : 0 };
}

function rankTimes(rank: number, spans: readonly Span[]): RankTimes {
  const busy = new Map<Lane, Interval[]>();
  for (const lane of spanLanes) {
    busy.set(lane, unionOf(spans.filter((span) => span.lane === lane).map((span): Interval => [span.ready, span.end])));
  }
  const of = (lane: Lane): Interval[] => busy.get(lane) ?? [];
  const compute = unionOf([...of('compute'), ...of('shared')]);
  const used = spanLanes.filter((lane) => lane !== 'shared' || of(lane).length > 0);
  const lanes = used.map((lane): LaneTime => {
    const waiting = spans.filter((span) => span.lane === lane).map((span): Interval => [span.issued, span.ready]);
    const busySeconds = lengthOf(of(lane));
    return {
      lane,
      busySeconds,
      waitingSeconds: lengthOf(unionOf(waiting)),
      exposedSeconds: computes.includes(lane) ? busySeconds : busySeconds - overlapOf(of(lane), compute),
    };
  });
  const both = unionOf([...of('inter'), ...of('intra')]);
  return {
    rank,
    lanes,
    communicationSeconds: lengthOf(of('inter')) + lengthOf(of('intra')),
    exposedSeconds: lengthOf(both) - overlapOf(both, compute),
  };
}

/** Mean time of a rank's step by what it did, seconds. Lanes overlap, so they may add up to more than the step. */
export interface LaneSeconds extends Readonly<Record<Lane, number>> {
  /** Issued, but a peer had not arrived. */
  readonly waiting: number;
}

/** Mean over ranks and steps of what lanes were busy with, and of waiting for peers. */
export function laneSeconds(trace: Trace): LaneSeconds {
  const steps = new Map<number, Span[]>();
  for (const span of trace.spans) {
    const list = steps.get(span.step);
    if (list) list.push(span);
    else steps.set(span.step, [span]);
  }
  const total = { compute: 0, inter: 0, intra: 0, copy: 0, shared: 0, waiting: 0 };
  let samples = 0;
  for (const spans of steps.values())
    for (const rank of laneTimes({ ...trace, spans }).ranks) {
      samples++;
      for (const { lane, busySeconds, waitingSeconds } of rank.lanes) {
        total[lane] += busySeconds;
        total.waiting += waitingSeconds;
      }
    }
  const mean = (value: number): number => (samples > 0 ? value / samples : 0);
  return {
    compute: mean(total.compute),
    inter: mean(total.inter),
    intra: mean(total.intra),
    copy: mean(total.copy),
    shared: mean(total.shared),
    waiting: mean(total.waiting),
  };
}
