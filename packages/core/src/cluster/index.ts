export * from './cluster.js';
export * from './ports.js';
