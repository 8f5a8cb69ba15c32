export { looksTopology, readTopology } from './read-topology.js';
export { nearestNics, type Topology, type TopologyGpu, type TopologyNic } from './topology.js';
export { type Ground, type TierGround, topologyCluster, type TopologyCluster } from './topology-cluster.js';
