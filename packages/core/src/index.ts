/** @module Monta's core: from a cluster, a model and a workload to a plan. Data flows one way: each folder imports only from those above it here. */
export * from './units/index.js';
export * from './cluster/index.js';
export * from './model/index.js';
export * from './layout/index.js';
export * from './routing/index.js';
export * from './schedule/index.js';
export * from './traffic/index.js';
export * from './cost/index.js';
export * from './memory/index.js';
export * from './trace/index.js';
export * from './profiles/index.js';
export * from './simulate/index.js';
export * from './plan/index.js';
export * from './frameworks/index.js';
