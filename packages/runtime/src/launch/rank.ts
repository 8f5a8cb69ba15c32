/** A rank's side of a job: what the module given to a launcher calls. */
import { JobAborted } from '../comm/communicator.js';
import { Control, type SharedControl } from '../comm/local/control.js';
import { LocalEndpoint } from '../comm/local/endpoint.js';
import { CpuDevice, type CpuDeviceHandle } from '../device/cpu/cpu-device.js';
import { LoneEndpoint } from '../comm/lone-endpoint.js';
import { joinProcessJob, underMpirun, type ProcessJob } from './current-job.js';
import type { RankContext } from './rank-context.js';
import { portable, type PortableError } from './failure.js';

/** What ranks compute on. */
export type DeviceKind = 'cpu' | 'cuda';

/** What the launcher gives a rank's thread. */
export interface ThreadJob {
  /** The URL of the module that gives `runRank` the body. */
  readonly module: string;
  readonly rank: number;
  readonly control: SharedControl;
  /** The CPU's memory, or the kind of another device. */
  readonly device: CpuDeviceHandle | 'cuda';
  readonly data: unknown;
}

export type RankMessage =
  | { readonly kind: 'message'; readonly message: unknown }
  | { readonly kind: 'result'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly error: PortableError };

type RankBody = (context: RankContext) => unknown;

/** What the modules of this thread's jobs gave `runRank`, by module, and the one that is being loaded. */
const bodies = new Map<string, RankBody>();
let loading: string | undefined;

/**
 * Runs `body` as this thread's rank, or as this process's where ranks are processes. Its result (structured clone)
 * becomes the rank's result in the launcher; an error ends the job on all ranks. Call it once, at the top level of the
 * worker module: a thread that is kept for another job runs the body again, without the module's top level.
 */
export function runRank<Data = unknown>(body: (context: RankContext<Data>) => unknown): void {
  const joined = joinProcessJob();
  if (joined !== undefined) {
    void runProcessRank(joined, body);
    return;
  }
  if (loading === undefined) {
    const advice = underMpirun() === undefined ? '' : '; a program under mpirun starts the module with leadMpirun';
    throw new Error(`runRank works only in a module started by launchLocal, launchMpi or launchNccl${advice}`);
  }
  bodies.set(loading, (context) => body(context as RankContext<Data>));
}

/** Runs a job on this thread, and sends what came of it. */
export async function runThreadRank(job: ThreadJob, post: (message: RankMessage) => void): Promise<void> {
  const control = new Control(job.control);
  try {
    const body = await bodyOf(job.module);
    const place = await placeOf(job.device, control, job.rank);
    const result = await body({
      rank: job.rank,
      size: control.size,
      ...place,
      data: job.data,
      report: (message) => post({ kind: 'message', message }),
    });
    place.device.close();
    place.endpoint.close();
    post({ kind: 'result', result });
  } catch (error) {
    const described = portable(error);
    // The peers learn of it at once, not only when the launcher has read the message.
    if (!(error instanceof JobAborted)) control.abort(job.rank, described.message);
    post({ kind: 'failed', error: described });
  }
}

/** A thread does its jobs one after another. */
async function bodyOf(module: string): Promise<RankBody> {
  if (!bodies.has(module)) {
    loading = module;
    await import(module);
    loading = undefined;
  }
  const body = bodies.get(module);
  if (body === undefined) throw new Error(`${module} gave no body (does the module call runRank?)`);
  return body;
}

/** Loads what this kind of rank needs, and nothing else. */
async function runProcessRank<Data>(joined: ProcessJob, body: (context: RankContext<Data>) => unknown): Promise<void> {
  if (joined.backend === 'mpi') {
    const { runMpiRank } = await import('./mpi-rank.js');
    return await runMpiRank(joined.job, body);
  }
  const { runNcclRank } = await import('./nccl-rank.js');
  return await runNcclRank(joined.job, body);
}

/** A rank's device, and its part in the job. Threads of a CPU's job load nothing of cards. */
async function placeOf(
  given: ThreadJob['device'],
  control: Control,
  rank: number,
): Promise<Pick<RankContext, 'device' | 'endpoint'>> {
  if (given === 'cuda') {
    const [{ CudaContext }, { CudaDevice }] = await Promise.all([
      import('../device/cuda/context.js'),
      import('../device/cuda/cuda-device.js'),
    ]);
    const device = new CudaDevice(new CudaContext({ rank }), { trace: control.trace });
    return { device, endpoint: new LoneEndpoint(() => control.finishRank(rank)) };
  }
  const device = CpuDevice.attach(given, { trace: control.trace });
  return { device, endpoint: new LocalEndpoint(control, rank, device) };
}
