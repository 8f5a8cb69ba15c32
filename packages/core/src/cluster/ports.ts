/**
 * Which ports a message occupies, with the meaning that `cluster.ts` gives to tiers. Ports have dense integer ids, tier
 * by tier from the inside out: within a tier by owning unit, then port, then direction (egress before ingress).
 */
import { reachedBytesPerSecond, type Cluster } from './cluster.js';
import { minOf } from '../units/index.js';

export type Direction = 'egress' | 'ingress';

export interface Port {
  readonly id: number;
  readonly tier: number;
  /** Owner: the device for tier 0, the unit of tier - 1 above. */
  readonly unit: number;
  /** Number among the owner's ports into this tier. */
  readonly port: number;
  readonly direction: Direction;
  /** What long messages reach. */
  readonly bytesPerSecond: number;
}

export interface Route {
  /** The lowest tier that joins the two devices; -1 for a device with itself, which occupies no port. */
  readonly tier: number;
  /** Ids of the sender's side, from the inside out. */
  readonly egress: readonly number[];
  /** Ids of the receiver's side, from the inside out. */
  readonly ingress: readonly number[];
  /** One-way latency of the tier that is crossed, seconds. */
  readonly latencySeconds: number;
  /** Factor >= 1 that divides the ports' bandwidth for this message: above 1 when it changes rails. */
  readonly slowdown: number;
}

/** What a cluster's ports are, worked out once. */
interface PortMap {
  /** Devices in one unit of each tier. */
  readonly devicesPerUnit: readonly number[];
  /** Id of each tier's first port. */
  readonly first: readonly number[];
  readonly ports: readonly Port[];
}

const known = new WeakMap<Cluster, PortMap>();

function portMap(cluster: Cluster): PortMap {
  const cached = known.get(cluster);
  if (cached !== undefined) return cached;
  const devicesPerUnit: number[] = [];
  for (const tier of cluster.tiers) devicesPerUnit.push((devicesPerUnit.at(-1) ?? 1) * tier.size);
  const devices = deviceCount(cluster);
  const first: number[] = [];
  const ports: Port[] = [];
  for (const [t, tier] of cluster.tiers.entries()) {
    // Read files are checked where they are read; these may be measured. Senseless figures would come to light far away
    // from here.
    if (!(tier.bytesPerSecond > 0 && tier.latencySeconds >= 0)) {
      throw new RangeError(
        `${cluster.name}: tier ${tier.name} has ${tier.bytesPerSecond} bytes/s and a latency of ` +
          `${tier.latencySeconds} s`,
      );
    }
    first.push(ports.length);
    const units = devices / (t === 0 ? 1 : (devicesPerUnit[t - 1] ?? 1));
    const bytesPerSecond = reachedBytesPerSecond(tier);
    for (let unit = 0; unit < units; unit++) {
      for (let port = 0; port < tier.ports; port++) {
        for (const direction of ['egress', 'ingress'] as const) {
          ports.push({ id: ports.length, tier: t, unit, port, direction, bytesPerSecond });
        }
      }
    }
  }
  const map = { devicesPerUnit, first, ports };
  known.set(cluster, map);
  return map;
}

/** Number of devices in the whole cluster: the product of the tiers' sizes. */
export function deviceCount({ tiers }: Pick<Cluster, 'tiers'>): number {
  let devices = 1;
  for (const { size } of tiers) devices *= size;
  return devices;
}

/** Number of devices in one unit of tier `tier` (tier 0: devices of a node); 1 for tier -1. */
export const devicesPerUnit = (cluster: Cluster, tier: number): number => portMap(cluster).devicesPerUnit[tier] ?? 1;

/** Which unit of tier `tier` holds the device. */
export const unitOf = (cluster: Cluster, tier: number, device: number): number =>
  Math.floor(device / devicesPerUnit(cluster, tier));

/** All ports; a port's place in the list is its id. */
export const portsOf = (cluster: Cluster): readonly Port[] => portMap(cluster).ports;

/** Id of a port from its parts. */
export function portId({
  cluster,
  tier,
  unit,
  port,
  direction,
}: {
  readonly cluster: Cluster;
  readonly tier: number;
  readonly unit: number;
  readonly port: number;
  readonly direction: Direction;
}): number {
  const base = portMap(cluster).first[tier] ?? 0;
  return base + 2 * (unit * (cluster.tiers[tier]?.ports ?? 1) + port) + (direction === 'egress' ? 0 : 1);
}

/**
 * The lowest tier whose unit holds both devices; -1 when they are the same. Throws RangeError for a device that is not
 * there.
 */
export function tierBetween(cluster: Cluster, a: number, b: number): number {
  const { devicesPerUnit } = portMap(cluster);
  const devices = deviceCount(cluster);
  for (const device of [a, b]) {
    if (!Number.isInteger(device) || device < 0 || device >= devices) {
      throw new RangeError(`device ${device} is not in ${cluster.name}, which has ${devices}`);
    }
  }
  if (a === b) return -1;
  return devicesPerUnit.findIndex((n) => Math.floor(a / n) === Math.floor(b / n));
}

/** Port number, among those of its unit of tier - 1, through which a device enters tier `tier` >= 1. */
export function portNumber(cluster: Cluster, tier: number, device: number): number {
  const n = devicesPerUnit(cluster, tier - 1);
  return Math.floor(((device % n) * (cluster.tiers[tier]?.ports ?? 1)) / n);
}

/**
 * Ids of the ports by which devices leave for the tiers, tier by tier; those by which they are entered come right
 * behind them. Of tier 0 a device's own, where it has but one.
 */
export function exitsOf(cluster: Cluster): ((device: number) => number)[] {
  const { first, devicesPerUnit: devices } = portMap(cluster);
  return cluster.tiers.flatMap(({ ports }, tier) => {
    if (tier === 0 && ports > 1) return [];
    const base = first[tier] ?? 0;
    const behind = tier === 0 ? 1 : (devices[tier - 1] ?? 1);
    // unit * ports + the number of the device's port among those of its unit
    return (device: number): number => {
      const unit = Math.floor(device / behind);
      return base + 2 * (unit * ports + Math.floor(((device - unit * behind) * ports) / behind));
    };
  });
}

/**
 * The way of a message from device `a` to device `b`. Inside tier 0 it takes a port of each device (with several, the
 * one that belongs to the peer: peer index modulo ports); across tier t >= 1 one port of every tier 1..t on both sides.
 */
export function route(cluster: Cluster, a: number, b: number): Route {
  const tier = tierBetween(cluster, a, b);
  const crossed = cluster.tiers[tier];
  if (crossed === undefined) return { tier, egress: [], ingress: [], latencySeconds: 0, slowdown: 1 };
  const { latencySeconds } = crossed;
  if (tier === 0) {
    const ports = crossed.ports;
    const egress = portId({ cluster, tier: 0, unit: a, port: (b % crossed.size) % ports, direction: 'egress' });
    const ingress = portId({ cluster, tier: 0, unit: b, port: (a % crossed.size) % ports, direction: 'ingress' });
    return { tier, egress: [egress], ingress: [ingress], latencySeconds, slowdown: 1 };
  }
  const egress: number[] = [];
  const ingress: number[] = [];
  let slowdown = 1;
  for (let t = 1; t <= tier; t++) {
    const [from, to] = [portNumber(cluster, t, a), portNumber(cluster, t, b)];
    egress.push(portId({ cluster, tier: t, unit: unitOf(cluster, t - 1, a), port: from, direction: 'egress' }));
    ingress.push(portId({ cluster, tier: t, unit: unitOf(cluster, t - 1, b), port: to, direction: 'ingress' }));
    const rails = cluster.tiers[t];
    if (rails.railAligned && from !== to) slowdown = Math.max(slowdown, rails.crossRailSlowdown);
  }
  return { tier, egress, ingress, latencySeconds, slowdown };
}

/**
 * Bandwidth of one message alone on its way, bytes/s: its narrowest port over the slowdown; Infinity within a device.
 */
export function routeBytesPerSecond(cluster: Cluster, way: Route): number {
  const ports = portsOf(cluster);
  const widths = [...way.egress, ...way.ingress].map((id) => ports[id]?.bytesPerSecond ?? Infinity);
  return Math.min(Infinity, minOf(widths)) / way.slowdown;
}
