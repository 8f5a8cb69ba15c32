export * from './cluster.js';
export * from './ports.js';
export * from './read.js';
export * from './presets.js';
export * from './scale.js';
