/** A rank that is a process with a card: CUDA, NCCL and endpoint around the body that `runRank` was given. */
import { CommunicationError } from '../comm/communication-error.js';
import { JobAborted } from '../comm/communicator.js';
import { NcclEndpoint } from '../comm/nccl/endpoint.js';
import { loadNccl } from '../comm/nccl/bindings.js';
import { CudaContext } from '../device/cuda/context.js';
import { CudaDevice } from '../device/cuda/cuda-device.js';
import type { NcclJob } from './current-job.js';
import { portable } from './failure.js';
import type { RankContext } from './rank-context.js';

/** Runs a body on this process's card. */
export async function runNcclRank<Data>(job: NcclJob, body: (context: RankContext<Data>) => unknown): Promise<void> {
  const { rank, size, gpu, meeting, token, description } = job;
  let endpoint: NcclEndpoint | undefined;
  try {
    const { trace, stuckAfterSeconds, lanes: { multiprocessors, priorities } = {}, data } = description;
    const device = new CudaDevice(new CudaContext({ device: gpu, rank }), { trace, priorities });
    endpoint = new NcclEndpoint({
      rank,
      size,
      device,
      library: loadNccl(rank),
      meeting,
      token,
      trace,
      aborted: () => job.aborted(),
      ...(multiprocessors === undefined ? {} : { multiprocessors }),
      ...(stuckAfterSeconds === undefined ? {} : { stuckAfterSeconds }),
    });
    const report = (message: unknown): void => job.message(message);
    const result = await body({ rank, size, endpoint, device, data: data as Data, report });
    endpoint.close();
    device.close();
    await job.returned(result);
  } catch (error) {
    const culprit = error instanceof CommunicationError && !(error instanceof JobAborted) ? error.rank : rank;
    await job.failed(culprit, portable(error));
    endpoint?.abort();
    process.exit(1);
  }
}
