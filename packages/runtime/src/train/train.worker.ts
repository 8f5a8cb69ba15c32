/** The module that ranks of a training job run. */
import { runRank } from '../launch/index.js';
import type { TrainJob } from './job.js';
import { trainRank } from './rank-trainer.js';

runRank<TrainJob>(trainRank);
