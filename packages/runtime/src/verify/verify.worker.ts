/** The module that ranks of a verification run. */
import { runRank } from '../launch/rank.js';
import { verifyRank, type VerifyJob } from './verify-rank.js';

runRank<readonly VerifyJob[]>((context) => context.data.map((job) => verifyRank({ ...context, data: job })));
