export { type Verification, verify } from './verify.js';
export { verifyRank, type RankComputation, type VerifyJob } from './verify-rank.js';
