/**
 * What a profiler of another program recorded on one rank, as far as communication is concerned: one form for all
 * readers.
 */
import type { Interval } from '../units/index.js';

/**
 * What a communication kernel does. dispatch and combine are those of libraries for expert parallelism; notify
 * exchanges their counts.
 */
const profiledOps = [
  'all_to_all',
  'all_gather',
  'reduce_scatter',
  'all_reduce',
  'broadcast',
  'reduce',
  'gather',
  'scatter',
  'send',
  'receive',
  'send_receive',
  'barrier',
  'dispatch',
  'combine',
  'notify',
  'unknown',
] as const;
export type ProfiledOp = (typeof profiledOps)[number];

/** A group of ranks as the trace describes it. */
export interface ProfiledGroup {
  /** Global ranks in group order; absent where the trace does not say, or says too few. */
  readonly ranks?: readonly number[];
  readonly size: number;
  /** What the program calls it; empty where it does not. */
  readonly label: string;
}

/** One communication kernel. Times in seconds on the rank's own clock, which begins with the trace. */
export interface Communication {
  readonly op: ProfiledOp;
  /** Who wrote the kernel: NCCL, DeepEP … */
  readonly library: string;
  /** The kernel's name without its arguments. */
  readonly kernel: string;
  readonly start: number;
  readonly end: number;
  readonly group?: ProfiledGroup;
  /** The whole buffer, as nccl-tests counts it (see `Measurement.bytes`); absent where the trace does not say. */
  readonly bytes?: number;
  /** What this rank hands to others, at least; exact for all_to_all with its splits given. */
  readonly sentBytes?: number;
  /** Whether bytes were spread evenly over the group; true for collectives without splits. */
  readonly even?: boolean;
  /** Number of the collective on its group, where the trace counts them. */
  readonly sequence?: number;
  /** Line of the file where it stands. */
  readonly line: number;
}

export interface RankProfile {
  readonly file: string;
  readonly rank: number;
  /** Ranks of the job; absent where the trace does not say. */
  readonly world?: number;
  /** Name of the device; empty where the trace does not say. */
  readonly device: string;
  /** Devices of the rank's host; absent where the trace does not say. */
  readonly devicesPerNode?: number;
  /** As `nccl 2.21.5`; `nccl` where the version is not told. */
  readonly library: string;
  /** From the first kernel to the last, seconds. */
  readonly seconds: number;
  /** Steps that the profiler marked; absent where it marked none. */
  readonly steps?: number;
  /** When kernels that compute ran: a union. */
  readonly compute: readonly Interval[];
  /** When copies and fills by the copy engines ran: a union. */
  readonly copies: readonly Interval[];
  readonly communications: readonly Communication[];
  /** What the trace lacks or was read as, for people. */
  readonly notes: readonly string[];
}
