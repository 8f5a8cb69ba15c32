export * from './blocks.js';
export * from './router.js';
export * from './auxiliary-loss.js';
export * from './capacity.js';
export * from './permutation.js';
export * from './experts.js';
