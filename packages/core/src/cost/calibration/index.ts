export * from './measurement.js';
export * from './gpus.js';
export * from './nccl-tests.js';
export * from './csv.js';
export * from './curve.js';
