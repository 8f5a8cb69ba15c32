/** The module that ranks of a verification run. */
import { runRank } from '../launch/index.js';
import { verifyRank, type VerifyJob } from './verify-rank.js';

runRank<VerifyJob>(verifyRank);
