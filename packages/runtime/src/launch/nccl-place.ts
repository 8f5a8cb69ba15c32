/** What a process of a job over NCCL is told: of itself by its environment, of the job by the launcher. */

/** The job as a rank gets it. */
export interface NcclJobDescription {
  readonly data: unknown;
  readonly trace: boolean;
  readonly stuckAfterSeconds: number | undefined;
  readonly multiprocessors: Readonly<Record<string, number>> | undefined;
}

/** What a rank's process learns of itself from its environment. */
export interface RankPlace {
  readonly rank: number;
  readonly size: number;
  readonly gpu: number;
  /** Where the ranks' sockets lie, where all are on one host; else they meet over TCP. */
  readonly folder?: string;
  readonly multiprocessors: Readonly<Record<string, number>> | undefined;
}

export const placeVariable = 'MONTA_NCCL_RANK';
