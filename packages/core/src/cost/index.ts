export * from './estimate.js';
export * from './pipeline.js';
export * from './inputs.js';
export * from './model.js';
export * from './collective.js';
export * from './calibration/index.js';
export * from './preset-collectives.js';
