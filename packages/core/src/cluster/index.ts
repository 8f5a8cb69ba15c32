export { type Cluster, type Tier } from './cluster.js';
export { deviceCount, devicesPerUnit, portsOf, type Route, route, unitOf } from './ports.js';
export { devicesText, occupiedCluster } from './occupied.js';
export { clusterFrom, readCluster, toYaml } from './read.js';
export { clusterPresets, getCluster, presetOfNodes } from './presets.js';
export { scaledCluster } from './scale.js';
export { clusterSummary } from './summary.js';
export {
  type Ground,
  looksTopology,
  nearestNics,
  readTopology,
  type TierGround,
  type Topology,
  topologyCluster,
  topologyContradictions,
  type TopologyCluster,
} from './topology/index.js';
