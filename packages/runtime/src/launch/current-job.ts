/**
 * The job that this process is a rank of, where ranks are processes: set by what started it, joined by `runRank`. It
 * knows no library, so that a thread's rank loads none.
 */
import type { Meeting } from '../comm/nccl/meeting.js';
import type { PortableError } from './failure.js';
import type { MpiJobDescription } from './mpi-frames.js';
import type { NcclJobDescription } from './nccl-place.js';
import { startedPlace, type Environment } from './started-place.js';

/** Whoever this rank reports to: its launcher, or the person at the terminal. */
export interface MpiJob {
  readonly description: Omit<MpiJobDescription, 'workerModule'>;
  /** Why the job is over, once it is. */
  aborted(): string | undefined;
  message(message: unknown): void;
  /** Called with the body's result while the endpoint is open. */
  returned(result: unknown): void;
  /** After the last word of the endpoint; MPI still works. */
  closed(): Promise<void>;
  /** `rank`: who caused it. The process ends afterwards. */
  failed(rank: number, error: PortableError): Promise<void>;
}

/** This process's rank, and whoever it reports to. */
export interface NcclJob {
  readonly rank: number;
  readonly size: number;
  readonly gpu: number;
  readonly meeting: Meeting;
  readonly token: string;
  readonly description: NcclJobDescription;
  /** Why the job is over, once it is. */
  aborted(): string | undefined;
  message(message: unknown): void;
  /** The body's result, once the rank has left NCCL. */
  returned(result: unknown): Promise<void>;
  /** `rank`: who caused it. The process ends afterwards. */
  failed(rank: number, error: PortableError): Promise<void>;
}

export type ProcessJob =
  { readonly backend: 'mpi'; readonly job: MpiJob } | { readonly backend: 'nccl'; readonly job: NcclJob };

let current: ProcessJob | undefined;
let joined = false;

/** The job that `runRank` joins in this process. */
export function setProcessJob(job: ProcessJob): void {
  current = job;
}

/** The job for the body that calls it; undefined in a thread's rank. */
export function joinProcessJob(): ProcessJob | undefined {
  joined = current !== undefined;
  return current;
}

/** Whether a body runs, or has run, in this process. */
export const jobWasJoined = (): boolean => joined;

/** A process's place among those that a launcher of Open MPI's processes started. */
export interface MpiPlace {
  readonly launcher: string;
  readonly rank: number;
  readonly size: number;
  /** Ranks of this host. */
  readonly localRanks: number;
  /** How so many are started. */
  readonly starts: (ranks: number) => string;
}

/**
 * Where mpirun, or `srun --mpi=pmix`, started this process; undefined where neither did. Throws `InputError` where
 * Slurm's variables contradict each other.
 */
export function underMpirun(environment: Environment = process.env): MpiPlace | undefined {
  const [rank, size, local] = ['RANK', 'SIZE', 'LOCAL_SIZE'].map((name) => environment[`OMPI_COMM_WORLD_${name}`]);
  if (rank !== undefined && size !== undefined) {
    const starts = (ranks: number): string => `mpirun -n ${ranks}`;
    return { launcher: 'mpirun', rank: Number(rank), size: Number(size), localRanks: Number(local ?? size), starts };
  }
  // Open MPI's ranks find each other by PMIx, which Slurm serves where it is asked to.
  if (environment['PMIX_NAMESPACE']?.startsWith('slurm.') !== true) return undefined;
  const place = startedPlace(environment);
  if (place?.launcher !== 'Slurm') return undefined;
  const starts = (ranks: number): string => `srun --mpi=pmix --ntasks ${ranks}`;
  return { launcher: 'srun', rank: place.rank, size: place.size, localRanks: place.localSize, starts };
}
