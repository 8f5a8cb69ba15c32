export * from './model.js';
export * from './parameters.js';
export * from './flops.js';
export * from './rope-scaling.js';
export * from './presets.js';
export * from './names.js';
export * from './huggingface.js';
export * from './read.js';
