export * from './routing.js';
export * from './successive.js';
