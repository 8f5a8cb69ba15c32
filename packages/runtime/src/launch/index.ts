export { builtModule } from './built-module.js';
export { RankFailure } from './failure.js';
export { launchLocal, type LaunchOptions } from './launch-local.js';
export { localLauncher, mpiLauncher, type Launcher, type MpiPlace } from './launcher.js';
export { leadMpirun } from './mpi-direct.js';
export { launchMpi, type MpiLaunchOptions } from './mpi-launch.js';
export { parseHosts, type MpiHost } from './mpi-options.js';
export { underMpirun } from './mpi-rank.js';
export { runRank, type RankContext } from './rank.js';
