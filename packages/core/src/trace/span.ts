/**
 * What simulator and executor write alike: one record for every operation of every rank, which says by its fields what
 * it was.
 */
import type { Group } from '../layout/layout.js';
import type { CollectiveName } from '../schedule/schedule.js';
import type { SpanLabel } from '../schedule/span-label.js';

/** Which collective it was, and who took part. */
export interface SpanCollective {
  readonly name: CollectiveName;
  /** The kind of group. */
  readonly group: Group;
  /** Its ranks, in group order; sender and receiver of a send or receive. */
  readonly members: readonly number[];
}

/** One operation of one rank on the time line. Times in seconds from the step's start. */
export interface Span extends SpanLabel {
  /** Number of the step. */
  readonly step: number;
  readonly rank: number;
  /** Index of the program node. */
  readonly node: number;
  /** Absent for kernels. */
  readonly collective?: SpanCollective;
  /** When the rank's lane reached it and its dependencies had ended. */
  readonly issued: number;
  /**
   * When the last peer had arrived too; equals `issued` for kernels. Waiting is ready - issued, transferring end -
   * ready.
   */
  readonly ready: number;
  /** When it was done. */
  readonly end: number;
  /** Bytes this rank sent (collectives) or moved through memory (kernels). */
  readonly bytes: number;
}

export interface Trace {
  readonly kind: 'simulated' | 'measured';
  /**
   * What it rests on, for people: the cost model and its sources, or the device, host and whether the network is
   * emulated.
   */
  readonly source: string;
  readonly ranks: number;
  /** Seconds of this trace for one of the cluster: above 1 where the network was emulated so many times slower. */
  readonly timeScale: number;
  /** Operations of all ranks. */
  readonly spans: readonly Span[];
}
