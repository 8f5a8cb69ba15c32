export * from './flows.js';
export * from './fabric.js';
export { collectiveLoad, type CollectiveBody } from './load.js';
export * from './traffic.js';
