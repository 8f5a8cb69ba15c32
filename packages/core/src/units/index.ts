export * from './errors.js';
export * from './nearest.js';
export * from './quantities.js';
export * from './format.js';
export * from './random.js';
export * from './paired-ratio.js';
export * from './quantiles.js';
export * from './document.js';
