/** One operation of one rank on the time line; simulator and executor write the same records. Times in seconds from the step's start. */
export interface Span {
  readonly step: number;
  readonly rank: number;
  /** Index of the program node. */
  readonly node: number;
  /** Template and operation id, as `moe.forward/a2a.0`. */
  readonly operation: string;
  readonly lane: 'compute' | 'inter' | 'intra' | 'copy';
  /** When the rank's lane reached it and its dependencies had ended. */
  readonly issued: number;
  /** When the last peer had arrived too; equals `issued` for kernels. Waiting is ready - issued, transferring end - ready. */
  readonly ready: number;
  readonly end: number;
  /** Bytes this rank sent (collectives) or moved through memory (kernels). */
  readonly bytes: number;
}

export interface Trace {
  readonly kind: 'simulated' | 'measured';
  /** What it rests on: the cost model and its sources, or the device, host and whether the network is emulated. */
  readonly source: string;
  readonly ranks: number;
  readonly spans: readonly Span[];
}
