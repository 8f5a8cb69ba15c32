export * from './layout.js';
export * from './mesh.js';
export * from './resolve.js';
export * from './check.js';
