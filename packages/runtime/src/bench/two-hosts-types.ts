/** What the two-host bench tells its ranks and hears from them. */

/** The exchange of a dispatch half: `bytes` is V, the dispatched volume of a replica. */
export interface Exchange {
  /** all_to_all and all_gather: what sliced is made of, each by itself. */
  readonly strategy: 'duplicated' | 'sliced' | 'all_to_all' | 'all_gather';
  readonly bytes: number;
  readonly chunks: number;
}

export interface TwoHostsJob {
  /** Host a's address on the link. */
  readonly address: string;
  readonly ceilingBytes: number;
  readonly exchanges: readonly Exchange[];
  readonly repetitions: number;
}

export interface ExchangeRun {
  readonly times: readonly { readonly start: number; readonly end: number }[];
  /** Elements that hold another value than they should. */
  readonly wrong: number;
}

export interface TwoHostsRankResult {
  readonly tcpBytesPerSecond: number;
  readonly mpiBytesPerSecond: number;
  readonly exchanges: readonly ExchangeRun[];
}
