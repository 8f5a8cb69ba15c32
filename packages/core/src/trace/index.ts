export * from './span.js';
export * from './laneTimes.js';
