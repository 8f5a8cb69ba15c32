/** A rank that is a process under mpirun: MPI, endpoint and memory around the body that `runRank` was given. */
import { JobAborted } from '../comm/communicator.js';
import { CommunicationError } from '../comm/communication-error.js';
import { createMpiEndpoint, loadMpi } from '../comm/mpi/index.js';
import { CpuDevice } from '../device/cpu/index.js';
import { portable, type PortableError } from './failure.js';
import type { MpiJobDescription } from './mpi-frames.js';
import type { RankContext } from './rank-context.js';

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

let current: MpiJob | undefined;
let started = false;

/** The job that `runRank` joins in this process. */
export function setMpiJob(job: MpiJob): void {
  current = job;
}

export function currentMpiJob(): MpiJob | undefined {
  return current;
}

/** Whether a body runs, or has run, in this process. */
export function mpiRankStarted(): boolean {
  return started;
}

/** This process's place among those that mpirun started, or undefined when it was not started by mpirun. */
export function underMpirun(): { readonly rank: number; readonly size: number } | undefined {
  const [rank, size] = [process.env['OMPI_COMM_WORLD_RANK'], process.env['OMPI_COMM_WORLD_SIZE']];
  return rank === undefined || size === undefined ? undefined : { rank: Number(rank), size: Number(size) };
}

/** Runs a body over MPI, which must be initialised and is not left here. */
export async function runMpiRank<Data>(job: MpiJob, body: (context: RankContext<Data>) => unknown): Promise<void> {
  const own = underMpirun()?.rank ?? 0;
  started = true;
  try {
    const mpi = loadMpi();
    const { description } = job;
    const device = CpuDevice.create({
      trace: description.trace,
      bytes: description.memoryBytes,
      ...(description.maximumMemoryBytes === undefined ? {} : { maximumBytes: description.maximumMemoryBytes }),
    });
    const endpoint = createMpiEndpoint({
      mpi,
      device,
      localRanks: Number(process.env['OMPI_COMM_WORLD_LOCAL_SIZE'] ?? 1),
      trace: description.trace,
      aborted: () => job.aborted(),
      ...(description.stuckAfterSeconds === undefined ? {} : { stuckAfterSeconds: description.stuckAfterSeconds }),
    });
    const context: RankContext<Data> = {
      rank: endpoint.rank,
      size: endpoint.size,
      endpoint,
      device,
      data: description.data as Data,
      report: (message) => job.message(message),
    };
    const result = await body(context);
    device.close();
    job.returned(result);
    endpoint.close();
    await job.closed();
  } catch (error) {
    const culprit = error instanceof CommunicationError && !(error instanceof JobAborted) ? error.rank : own;
    await job.failed(culprit, portable(error));
    // MPI is not left in order: mpirun sees a process end before MPI_Finalize and ends the others.
    process.exit(1);
  }
}
