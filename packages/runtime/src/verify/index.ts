export * from './expected.js';
export * from './verify.js';
export { verifyRank, type RankComputation, type VerifyJob } from './verify-rank.js';
