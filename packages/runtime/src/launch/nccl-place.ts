/** What a process of a job over NCCL is told: of itself by its environment, of the job by the launcher. */

/** How lanes lie on a card, by name of the lane. */
export interface CardLanes {
  /** Multiprocessors that collectives take at most; NCCL's choice where a lane has none. */
  readonly multiprocessors?: Readonly<Record<string, number>>;
  /** Of streams, over the usual ones: the higher goes first. */
  readonly priorities?: Readonly<Record<string, number>>;
}

/** The job as a rank gets it. */
export interface NcclJobDescription {
  readonly data: unknown;
  readonly trace: boolean;
  readonly stuckAfterSeconds: number | undefined;
  readonly lanes: CardLanes | undefined;
}

/** What a rank's process learns of itself from its environment. */
export interface RankPlace {
  readonly rank: number;
  readonly size: number;
  readonly gpu: number;
  /** Where the ranks' sockets lie, where all are on one host; else they meet over TCP. */
  readonly folder?: string;
  readonly lanes: CardLanes | undefined;
}

export const placeVariable = 'MONTA_NCCL_RANK';
