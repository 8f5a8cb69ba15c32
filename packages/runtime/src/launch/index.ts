export { builtModule } from './built-module.js';
export { RankFailure } from './failure.js';
export { launchLocal, type LaunchOptions } from './launch-local.js';
export { runRank, type RankContext } from './rank.js';
