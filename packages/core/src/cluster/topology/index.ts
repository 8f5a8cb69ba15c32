export { topologyContradictions } from './contradictions.js';
export { looksTopology, readTopology } from './read-topology.js';
export { type Ground, nearestNics, type Topology, type TopologyGpu, type TopologyNic } from './topology.js';
export { type TierGround, topologyCluster, type TopologyCluster } from './topology-cluster.js';
