export * from './routing.js';
export * from './successive.js';
export * from './group-routing.js';
