export { builtModule } from './built-module.js';
export { whileKeepingThreads } from './kept-threads.js';
export { cardsCluster, cardsHere } from './cards.js';
export { RankFailure } from './failure.js';
export { keepThreads } from './kept-threads.js';
export { launchLocal, type LaunchOptions } from './launch-local.js';
export {
  cudaLauncher,
  emulatingLauncher,
  localLauncher,
  mpiLauncher,
  ncclLauncher,
  type Launcher,
  type MpiPlace,
  type NcclPlace,
} from './launcher.js';
export { leadMpirun } from './mpi-direct.js';
export { launchMpi, type MpiLaunchOptions } from './mpi-launch.js';
export { boundedLauncher, OutOfTime } from './bounded-launcher.js';
export type { CardLanes } from './nccl-place.js';
export { launchNccl, type NcclLaunchOptions } from './nccl-launch.js';
export { parseHosts, type MpiHost } from './mpi-options.js';
export { underMpirun } from './current-job.js';
export { leadStarted, type StartedOptions } from './started-ranks.js';
export { startedPlace, type Environment, type StartedPlace } from './started-place.js';
export { runRank, type DeviceKind } from './rank.js';
export type { RankContext } from './rank-context.js';
