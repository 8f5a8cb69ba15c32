/** The module that ranks of a training job run. */
import { runRank } from '../launch/index.js';
import { trainRank, type RankTrainJob } from './rank-trainer.js';

runRank<RankTrainJob>(trainRank);
