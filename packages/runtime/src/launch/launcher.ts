/**
 * Where ranks run, behind one function: threads of this process, processes under mpirun, those of a person's own
 * mpirun, or processes on cards.
 */
import { hostname } from 'node:os';
import { InputError } from '@monta/core/units';
import type { FabricOptions } from '../comm/local/fabric.js';
import { cudaAvailable } from '../device/cuda/bindings/index.js';
import { launchLocal, type LaunchOptions } from './launch-local.js';
import { launchMpi, type MpiLaunchOptions } from './mpi-launch.js';
import type { DeviceKind } from './rank.js';
import type { CardLanes } from './nccl-place.js';
import { launchNccl, type NcclLaunchOptions } from './nccl-launch.js';

export interface Launcher {
  readonly backend: 'local' | 'mpi' | 'nccl';
  /** What ranks compute on. */
  readonly device: DeviceKind;
  /** As it follows "measured on" in labels. */
  readonly place: string;
  /** Ranks that share a card at the most, where the launcher knows. */
  readonly ranksPerCard?: number;
  /**
   * Runs a job and returns what each rank returned, by rank. Rejects with `RankFailure` when a rank fails, with
   * `InputError` when the ranks can't be started. A job with `fabric` needs the local backend.
   */
  readonly launch: (options: LaunchOptions) => Promise<unknown[]>;
  /** The same over other lanes of cards; absent where ranks have none. */
  readonly withLanes?: (lanes: CardLanes) => Launcher;
}

/**
 * One rank, a thread of this process, whose kernels run on this machine's first card. Throws `InputError` where there
 * is none.
 */
export function cudaLauncher(): Launcher {
  const { devices, reason = 'none is installed' } = cudaAvailable();
  if (devices === 0) throw new InputError('no CUDA device here', { file: '--device', expected: reason });
  return {
    backend: 'local',
    device: 'cuda',
    place: "this machine's card",
    launch: (options) => launchLocal({ ...options, device: 'cuda' }),
  };
}

/** Ranks are threads of this process. */
export const localLauncher: Launcher = {
  backend: 'local',
  device: 'cpu',
  place: 'this machine',
  launch: launchLocal,
};

/** Ranks are threads of this process, over an emulated network. */
export const emulatingLauncher = (fabric: FabricOptions): Launcher => ({
  ...localLauncher,
  place: `this machine, ${fabric.cluster.name} emulated`,
  launch: (options) => launchLocal({ ...options, fabric }),
});

export type MpiPlace = Pick<
  MpiLaunchOptions,
  'hosts' | 'bind' | 'agent' | 'network' | 'mpirunOptions' | 'lostAfterSeconds' | 'startSeconds'
>;

/** The hosts of a job as labels name them. */
export const mpiPlace = (hosts: MpiPlace['hosts'] = [{ name: hostname(), slots: 1 }]): string =>
  `${hosts.length > 1 ? 'hosts ' : ''}${hosts.map(({ name }) => name).join(', ')} over Open MPI`;

/** The `launch` of a backend whose network is there: jobs with `fabric` are refused. */
export const overOwnNetwork =
  (name: string, run: (options: Omit<LaunchOptions, 'fabric' | 'onFabricReport'>) => Promise<unknown[]>) =>
  async ({ fabric, onFabricReport: _none, ...options }: LaunchOptions): Promise<unknown[]> => {
    if (fabric !== undefined)
      throw new InputError(`${fabric.cluster.name} cannot be emulated over ${name}, whose network is real`, {
        expected: 'no emulation, or the local backend',
      });
    return await run(options);
  };

/** Ranks are processes that mpirun starts, on the hosts given or on this machine. */
export function mpiLauncher(where: MpiPlace = {}): Launcher {
  return {
    backend: 'mpi',
    device: 'cpu',
    place: mpiPlace(where.hosts),
    launch: overOwnNetwork('MPI', (options) => launchMpi({ ...where, ...options })),
  };
}

export type NcclPlace = Pick<NcclLaunchOptions, 'ranksPerNode' | 'gpus' | 'lanes' | 'lostAfterSeconds'>;

/** Ranks are processes on this machine's cards. */
export function ncclLauncher(where: NcclPlace = {}): Launcher {
  return {
    backend: 'nccl',
    device: 'cuda',
    place: `${hostname()} over NCCL`,
    launch: overOwnNetwork('NCCL', (options) => launchNccl({ ...where, ...options })),
    withLanes: (lanes) => ncclLauncher({ ...where, lanes }),
  };
}
