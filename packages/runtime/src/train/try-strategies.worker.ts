/** The module that ranks run which time strategies. */
import { runRank } from '../launch/index.js';
import { tryOnRank, type RankTrial } from './try-strategies.js';

runRank<RankTrial>(tryOnRank);
