export { onTwoNodes, verifiedLayouts, verifiedStrategies } from './matrix.js';
export { type Verification, type VerifyCase, verify, verifyAll, verifyRankBytes } from './verify.js';
export { verifyRank, type RankComputation, type VerifyJob } from './verify-rank.js';
