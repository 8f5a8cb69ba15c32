/** Starts a job of processes on this machine's cards, which communicate by NCCL; watches them, and cleans up. */
import { rmSync } from 'node:fs';
import { at } from '../comm/at.js';
import { cudaAvailable } from '../device/cuda/bindings/index.js';
import { builtModule } from './built-module.js';
import { gpuPlaces, ncclEnvironment } from './gpu-places.js';
import { launcherVariable, tokenVariable } from './mpi-frames.js';
import { startMps } from './mps.js';
import { placeVariable, type CardLanes, type RankPlace } from './nccl-place.js';
import { makePlace } from './private-place.js';
import { rankByRank, runProcessJob, type ProcessJobOptions } from './process-job.js';
import { spawnRank } from './rank-process.js';

export interface NcclLaunchOptions extends ProcessJobOptions {
  /** This machine stands for nodes of so many ranks; all ranks on one node unless given. */
  readonly ranksPerNode?: number;
  /** Cards to use; all of this machine unless given. */
  readonly gpus?: number;
  readonly lanes?: CardLanes;
}

/** What a rank's process of a job over NCCL runs. */
export const ncclMain = (): URL => builtModule('./nccl-main.js', import.meta.url);

/**
 * Runs a job of `ranks` processes and returns what each rank's body returned, by rank. Rejects as `launchLocal` does.
 * All processes have ended either way. Throws `InputError` where there is no card, or ranks do not fill the nodes.
 */
export async function launchNccl(options: NcclLaunchOptions): Promise<unknown[]> {
  const { ranks, signal, ranksPerNode, gpus = cudaAvailable().devices, lanes } = options;
  if (!Number.isInteger(ranks) || ranks < 1)
    throw new RangeError(`ranks must be a whole number of at least 1, not ${ranks}`);
  signal?.throwIfAborted();
  const places = gpuPlaces({ ranks, gpus, ...(ranksPerNode === undefined ? {} : { ranksPerNode }) });
  const folder = makePlace();
  const service = ranks > gpus ? startMps(folder) : undefined;
  try {
    return await runProcessJob(options, {
      meet: { folder },
      start: rankByRank(ranks, (rank, { address, token }) => {
        const place = at(places, rank);
        const told: RankPlace = { rank, size: ranks, gpu: place.gpu, folder, lanes };
        return spawnRank(ncclMain(), {
          ...ncclEnvironment(place),
          ...service?.environment,
          [launcherVariable]: address,
          [tokenVariable]: token,
          [placeVariable]: JSON.stringify(told),
        });
      }),
    });
  } finally {
    service?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
