export { type Algorithm, algorithms } from './flows.js';
export { type Fabric, fabricOf } from './fabric.js';
export { collectiveLoad, type CollectiveBody } from './load.js';
export { type Traffic, traffic } from './traffic.js';
