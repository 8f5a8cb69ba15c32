export { type Algorithm, algorithms } from './flows.js';
export { type Fabric, fabricOf } from './fabric.js';
export { collectiveLoad, type CollectiveBody, evenLoad } from './load.js';
export { type Traffic, traffic } from './traffic.js';
export { type Digit, moved, Symmetry, type World, wholeWorld } from './symmetry.js';
