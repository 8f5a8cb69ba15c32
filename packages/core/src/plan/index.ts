export * from './workload.js';
export * from './choose.js';
export * from './explain.js';
export * from './flips.js';
export * from './judge.js';
export * from './trials.js';
export * from './predict-step.js';
