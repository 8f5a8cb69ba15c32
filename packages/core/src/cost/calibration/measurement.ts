/**
 * One measured collective, however it was written down, and the vocabulary of collectives, sizes and hardware that all
 * readers share.
 */
import type { CollectiveName } from '../../schedule/schedule.js';

/** Collectives that calibrations hold. */
export type MeasuredOp = Extract<
  CollectiveName,
  'all_to_all' | 'all_gather' | 'reduce_scatter' | 'all_reduce' | 'broadcast' | 'send'
>;

export const measuredOps: readonly MeasuredOp[] = [
  'all_to_all',
  'all_gather',
  'reduce_scatter',
  'all_reduce',
  'broadcast',
  'send',
];

export interface Measurement {
  /** File that was read. */
  readonly source: string;
  /** 1-based line in it. */
  readonly line: number;
  /** Who measured it where, as far as the file says (a `source` column, a command line); empty when it does not. */
  readonly origin: string;
  /** Name of the device as written; empty when the file does not say. */
  readonly gpu: string;
  /** Name of the cluster or fabric, to keep apart clusters of the same GPU; empty when there is only one. */
  readonly system: string;
  /** As `nccl 2.29.2`; `nccl` when the version is not known. */
  readonly library: string;
  readonly op: MeasuredOp;
  readonly ranks: number;
  /** Hosts of one group; null when the file does not say. */
  readonly nodes: number | null;
  /** How many groups of this shape ran at the same time (NCCL_TESTS_SPLIT); absent: this one alone. */
  readonly groups?: number;
  /**
   * The total buffer, as nccl-tests counts it: for all_gather what a rank holds in the end, for reduce_scatter and
   * all_to_all what it holds in the beginning, for all_reduce, broadcast and send the one buffer. A rank's own piece is
   * bytes / ranks in the first three.
   */
  readonly bytes: number;
  /** Out of place, if both were measured. */
  readonly seconds: number;
  /** In place, if both were measured. */
  readonly inPlaceSeconds?: number;
}

const spellings: ReadonlyMap<string, MeasuredOp> = new Map([
  ['alltoall', 'all_to_all'],
  ['allgather', 'all_gather'],
  ['reducescatter', 'reduce_scatter'],
  ['allreduce', 'all_reduce'],
  ['broadcast', 'broadcast'],
  ['sendrecv', 'send'],
  ['send', 'send'],
]);

/** `AllGather`, `all_gather_perf`, `alltoall` ... as one of `measuredOps`; undefined for anything else. */
export function parseOp(text: string): MeasuredOp | undefined {
  return spellings.get(
    text
      .toLowerCase()
      .replace(/_(?:perf|test)(?:[._-]\w+)*$/u, '')
      .replace(/[\s_-]/gu, ''),
  );
}

/**
 * Bus bandwidth over algorithm bandwidth (bytes / seconds) with n ranks, as nccl-tests defines it (its
 * doc/PERFORMANCE.md).
 */
export function busFactor(op: MeasuredOp, ranks: number): number {
  switch (op) {
    case 'all_reduce':
      return (2 * (ranks - 1)) / ranks;
    case 'all_gather':
    case 'reduce_scatter':
    case 'all_to_all':
      return (ranks - 1) / ranks;
    case 'broadcast':
    case 'send':
      return 1;
  }
}

/** Bus bandwidth of a measured or predicted time, bytes/s. */
export const busBytesPerSecond = (op: MeasuredOp, ranks: number, bytes: number, seconds: number): number =>
  (bytes * busFactor(op, ranks)) / seconds;

/** Where a row stands, as `file:line`. */
export const place = (m: Pick<Measurement, 'source' | 'line'>): string => `${m.source}:${m.line}`;
