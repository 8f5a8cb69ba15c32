/** The network as prices see it: numbered ports with capacities, and for each pair of ranks the ports that a message occupies. */

export interface FabricPort {
  /** Shown to people, as `node0/infiniband.2/out`. */
  readonly id: string;
  readonly bytesPerSecond: number;
  /** Tier that the port belongs to. */
  readonly tier: number;
}

export interface FabricRoute {
  /** Indices into `Fabric.ports`, each once. */
  readonly ports: readonly number[];
  readonly tier: number;
  readonly latencySeconds: number;
  /** A byte on this route takes the place of so many on its ports (cross-rail traffic); >= 1. */
  readonly slowdown: number;
}

export interface Fabric {
  readonly ranks: number;
  readonly ports: readonly FabricPort[];
  /** Route of a message between two different ranks. */
  route(from: number, to: number): FabricRoute;
  /** Unit of tier 0 (the node, or the NVLink domain) in which a rank sits. */
  nodeOf(rank: number): number;
}
