/**
 * The network as prices see it: numbered ports with capacities, and for each pair of ranks the ports that a message
 * occupies.
 */
import { deviceCount, devicesPerUnit, portId, portsOf, route, unitOf } from '../cluster/ports.js';
import type { Port } from '../cluster/ports.js';
import type { Cluster } from '../cluster/cluster.js';

export interface FabricPort {
  /** Shown to people, as `node0/infiniband.2/out`. */
  readonly id: string;
  readonly bytesPerSecond: number;
  /** Tier that the port belongs to. */
  readonly tier: number;
  readonly tierName: string;
  readonly direction: Port['direction'];
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
  /** Bytes a second and direction of a device whose switch reduces and multicasts; absent where switches do not. */
  readonly reducingBytesPerSecond?: number;
  /** Unit of tier 0 (the node, or the NVLink domain) in which a rank sits. */
  nodeOf(rank: number): number;
  /** Ranks after which the network is the same again: those below its outermost tier. */
  readonly repeats: number;
  /** The port that is to other ranks what `port` is to those so many before, a multiple of `repeats`. */
  moved(port: number, ranks: number): number;
}

const known = new WeakMap<Cluster, Fabric>();

/**
 * The fabric of a cluster on which rank r runs on device r, one for each cluster. Ports keep the ids of `portsOf`;
 * routes are worked out once per pair.
 */
export function fabricOf(cluster: Cluster): Fabric {
  let fabric = known.get(cluster);
  if (fabric === undefined) known.set(cluster, (fabric = newFabric(cluster)));
  return fabric;
}

function newFabric(cluster: Cluster): Fabric {
  const ranks = deviceCount(cluster);
  const routes = new Map<number, FabricRoute>();
  const ports = portsOf(cluster);
  return {
    ranks,
    ports: ports.map((port) => new NamedPort(cluster, port)),
    route(from, to) {
      const key = from * ranks + to;
      let found = routes.get(key);
      if (!found) {
        const { tier, egress, ingress, latencySeconds, slowdown } = route(cluster, from, to);
        found = { tier, ports: [...egress, ...ingress], latencySeconds, slowdown };
        routes.set(key, found);
      }
      return found;
    },
    ...(cluster.tiers[0]?.reducingBytesPerSecond === undefined
      ? {}
      : { reducingBytesPerSecond: cluster.tiers[0].reducingBytesPerSecond }),
    nodeOf: (rank) => unitOf(cluster, 0, rank),
    repeats: cluster.tiers.length < 2 ? ranks : devicesPerUnit(cluster, cluster.tiers.length - 2),
    moved(port, by) {
      const own = ports[port];
      if (own === undefined) throw new RangeError(`there is no port ${port}`);
      return portId({
        cluster,
        ...own,
        unit: own.unit + by / (own.tier === 0 ? 1 : devicesPerUnit(cluster, own.tier - 1)),
      });
    },
  };
}

/** Named when it is shown: of thousands few are. */
class NamedPort implements FabricPort {
  readonly bytesPerSecond: number;
  readonly tier: number;
  readonly direction: Port['direction'];
  readonly #cluster: Cluster;
  readonly #port: Port;

  constructor(cluster: Cluster, port: Port) {
    this.#cluster = cluster;
    this.#port = port;
    this.bytesPerSecond = port.bytesPerSecond;
    this.tier = port.tier;
    this.direction = port.direction;
  }

  get id(): string {
    return portName(this.#cluster, this.#port);
  }

  get tierName(): string {
    return this.#cluster.tiers[this.tier]?.name ?? `tier ${this.tier}`;
  }
}

function portName(cluster: Cluster, port: Port): string {
  const tier = cluster.tiers[port.tier];
  const owner = port.tier === 0 ? 'device' : port.tier === 1 ? 'node' : (cluster.tiers[port.tier - 1]?.name ?? 'unit');
  const number = (tier?.ports ?? 1) > 1 ? `.${port.port}` : '';
  return `${owner}${port.unit}/${tier?.name ?? ''}${number}/${port.direction === 'egress' ? 'out' : 'in'}`;
}
