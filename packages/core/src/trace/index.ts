export * from './span.js';
export * from './laneTimes.js';
export * from './perfetto.js';
export * from './compare.js';
export * from './timelineSvg.js';
