export * from './job.js';
export * from './train.js';
export * from './rank-trainer.js';
export * from './data/byte-data.js';
export * from './data/brown-corpus.js';
export { prepareStart, type TrainStart } from './start.js';
export { tryStrategies, type StrategyTrial, type TryOptions } from './try-strategies.js';
