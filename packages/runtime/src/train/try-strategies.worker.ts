/** The module that ranks run which time strategies. */
import { runRank } from '../launch/rank.js';
import { tryOnRank, type RankTrial } from './try-strategies.js';

runRank<RankTrial>(tryOnRank);
