/** What the two-host bench finds out, as it is written down. */
export type RoutingKind = 'uniform' | 'zipf:1';

/** One exchange of a dispatch half: AllToAll between the hosts and AllGather inside them, no kernels. */
export interface ExchangeResult {
  readonly tp: number;
  /** V: dispatched bytes of a replica. */
  readonly volumeBytes: number;
  readonly strategy: 'duplicated' | 'sliced';
  readonly chunks: number;
  readonly medianSeconds: number;
  readonly fastestSeconds: number;
  readonly slowestSeconds: number;
  /** Bytes over the line, over the most that plain TCP, one pair over MPI or the probe of the links reached there. */
  readonly boundSeconds: number;
  readonly predictedSeconds: number;
}

/** The two collectives of `sliced`, unchunked, each by itself, and both one after the other. */
export interface PartsResult {
  readonly tp: number;
  readonly volumeBytes: number;
  readonly allToAllSeconds: number;
  readonly allGatherSeconds: number;
  readonly slicedSeconds: number;
  /** Bytes over the line, over the most that plain TCP, one pair over MPI or the probe of the links reached there. */
  readonly boundSeconds: number;
}

/** One pass of dispatch and combine through the executor. */
export interface PassResult {
  readonly strategy: string;
  readonly chunks: number;
  readonly pass: 'forward' | 'backward';
  readonly medianSeconds: number;
  readonly fastestSeconds: number;
  readonly slowestSeconds: number;
  readonly boundSeconds: number;
  readonly predictedSeconds: number;
}

/** A way through the layer: halves and chunk counts of both passes, measured once more after the first rounds. */
export interface Way {
  readonly strategy: string;
  readonly forwardChunks: number;
  readonly backwardChunks: number;
  /** Both passes, medians. */
  readonly seconds: number;
}

/** One volume and routing, every strategy and chunk count. */
export interface CaseResult {
  readonly tp: number;
  readonly volumeBytes: number;
  readonly routing: RoutingKind;
  readonly passes: readonly PassResult[];
  /** Times that each of the ways below was measured. */
  readonly rounds: number;
  /** What predictions alone take. */
  readonly predicted: Way;
  /**
   * What the plan takes, after short trials of what is predicted close to that. Both are timed with the others, after
   * the trials.
   */
  readonly chosen: Way;
  /** The fastest measured. */
  readonly best: Way;
  readonly duplicated: Way;
  /** The fastest measured of duplicated, sliced and scattered in one piece and pipelined in 4 chunks. */
  readonly bestFixed: Way;
}

/** What was measured of the links before predicting. */
export interface LinksResult {
  readonly tp: number;
  readonly tcpBytesPerSecond: number;
  readonly mpiBytesPerSecond: number;
  readonly tiers: readonly {
    readonly name: string;
    readonly bytesPerSecond: number;
    readonly latencySeconds: number;
  }[];
  /** All ranks of the machine copying at once. */
  readonly copyBytesPerSecond: number;
}

/** What communication costs the ranks, fitted to dispatches before any case. */
export interface CostResult {
  readonly tp: number;
  /** Core time of a rank for each collective, and what each takes longer. */
  readonly coreSeconds: number;
  readonly delaySeconds: number;
  /** Bytes a second between hosts that a core moves. */
  readonly networkBytesPerSecond: number;
  /** Root mean square of (simulated / measured - 1) over the dispatches. */
  readonly error: number;
}

/** All of one link rate. */
export interface RateResult {
  /** As `scripts/two-hosts` takes it. */
  readonly rate: string;
  readonly links: readonly LinksResult[];
  readonly costs: readonly CostResult[];
  readonly exchanges: readonly ExchangeResult[];
  readonly parts: readonly PartsResult[];
  readonly cases: readonly CaseResult[];
}

export interface TwoHostsResult {
  readonly date: string;
  readonly processor: string;
  readonly cores: number;
  /** Runnable threads in the last minute, before the start. */
  readonly loadBefore: number;
  readonly mpi: string;
  readonly repetitions: number;
  readonly rates: readonly RateResult[];
}
