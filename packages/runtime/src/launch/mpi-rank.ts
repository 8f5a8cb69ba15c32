/** A rank that is a process under mpirun: MPI, endpoint and memory around the body that `runRank` was given. */
import { JobAborted } from '../comm/communicator.js';
import { CommunicationError } from '../comm/communication-error.js';
import { createMpiEndpoint, loadMpi } from '../comm/mpi/index.js';
import { CpuDevice } from '../device/cpu/index.js';
import { underMpirun, type MpiJob } from './current-job.js';
import { portable } from './failure.js';
import type { RankContext } from './rank-context.js';

/** Runs a body over MPI, which must be initialised and is not left here. */
export async function runMpiRank<Data>(job: MpiJob, body: (context: RankContext<Data>) => unknown): Promise<void> {
  const own = underMpirun()?.rank ?? 0;
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
