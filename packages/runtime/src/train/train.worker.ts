/** The module that ranks of a training job run. */
import { runRank } from '../launch/rank.js';
import type { RankTrainJob } from './rank-job.js';
import { trainRank } from './rank-trainer.js';

runRank<RankTrainJob>(trainRank);
