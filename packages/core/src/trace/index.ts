export * from './span.js';
export * from './lane-times.js';
export * from './perfetto.js';
export * from './compare.js';
