export { type TrainJob, type TrainReport } from './job.js';
export { train, type TrainResult } from './train.js';
export { type ByteText, readByteText, unigramCrossEntropy } from './data/byte-data.js';
export { prepareStart, type TrainStart } from './start.js';
export { tryStrategies, type StrategyTrial, type TryOptions } from './try-strategies.js';
