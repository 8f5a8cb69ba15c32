/** A rank of a contest of ways to dispatch. */
import { runRank } from '../launch/rank.js';
import { contestOnRank } from './contest-rank.js';
import type { ContestJob } from './dispatch-contest.js';

runRank<ContestJob>(contestOnRank);
