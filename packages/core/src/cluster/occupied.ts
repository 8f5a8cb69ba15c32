/** The part of a cluster that a job of fewer ranks than devices occupies. */
import { InputError } from '../units/errors.js';
import { formatInteger } from '../units/index.js';
import type { Cluster, Tier } from './cluster.js';
import { deviceCount, devicesPerUnit } from './ports.js';

/**
 * Units taken at every tier, from the inside out, a multiple of `together` in the innermost; undefined where no equal
 * filling gives so many.
 */
function fillingOf(tiers: readonly Tier[], units: number, together = 1): number[] | undefined {
  const [tier, ...above] = tiers;
  if (tier === undefined) return units === 1 ? [] : undefined;
  // fewest units of this tier first: what is close together talks faster
  for (let joined = Math.ceil(units / tier.size); joined * together <= units; joined++) {
    if (units % (joined * together) !== 0) continue;
    const outer = fillingOf(above, joined);
    if (outer !== undefined) return [units / joined, ...outer];
  }
  return undefined;
}

/** Ports of a unit of `whole` devices of which the first `used` are at work, evenly shared. */
const portsOfPart = (ports: number, used: number, whole: number): number => Math.ceil((ports * used) / whole);

/** `0 to 3`, or `0 to 2 and 4 to 6`. */
function runsText(numbers: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const number of numbers) {
    const run = runs.at(-1);
    if (run?.[1] === number - 1) run[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first} to ${last}`)).join(' and ');
}

/** Devices of a node in the order of ranks: the first ones that spread evenly over the ports out of it. */
function devicesOfNode(cluster: Cluster, used: number): number[] {
  const [inner, outer] = cluster.tiers;
  const whole = inner?.size ?? 1;
  if (outer === undefined) return Array.from({ length: used }, (_, device) => device);
  const ports = portsOfPart(outer.ports, used, whole);
  const free = Array.from({ length: whole }, (_, device) => device);
  return Array.from({ length: used }, (_, rank) => {
    const port = Math.floor((rank * ports) / used);
    const at = free.findIndex((device) => Math.floor((device * outer.ports) / whole) >= port);
    return free.splice(Math.max(at, 0), 1)[0] ?? rank;
  });
}

/** Which devices of the cluster are used, in words. */
function usedText(cluster: Cluster, filling: readonly number[]): string {
  const nodes = deviceCount(cluster) / devicesPerUnit(cluster, 0);
  const [inNode = 1, ...outer] = filling;
  const size = cluster.tiers[0]?.size ?? 1;
  const taken = outer.reduce((product, count) => product * count, 1);
  const part =
    inNode === size
      ? `all ${size} devices`
      : `${inNode === 1 ? 'device' : 'devices'} ${runsText(devicesOfNode(cluster, inNode))} of the ` +
        formatInteger(size);
  if (nodes === 1) return `${part} of the one node`;
  const under = outer
    .slice(0, -1)
    .map((count, at) => `, ${count} of ${cluster.tiers[at + 1]?.size} under each ${cluster.tiers[at + 1]?.name}`)
    .join('');
  return `${formatInteger(taken)} of ${formatInteger(nodes)} nodes${under}; ${part} of each`;
}

/**
 * The cluster as a job of `ranks` ranks sees it: whole where all devices are taken, else what the ranks occupy, as few
 * nodes as are filled equally, as close together as they are. Blocks of `together` ranks share a node where that can
 * be. Tiers that no two ranks cross are gone, ports of idle devices too; `part` says which devices are used. Throws
 * `InputError` for more ranks than devices, and for a number that no equal filling of nodes gives.
 */
export function occupiedCluster(cluster: Cluster, ranks: number, together = 1): Cluster {
  const devices = deviceCount(cluster);
  if (ranks === devices) return cluster;
  const filling =
    ranks < devices ? (fillingOf(cluster.tiers, ranks, together) ?? fillingOf(cluster.tiers, ranks)) : undefined;
  if (filling === undefined)
    throw new InputError(
      ranks > devices
        ? `${ranks} ranks on the ${devices} devices of ${cluster.name}`
        : `${ranks} ranks do not fill nodes of ${cluster.name} equally`,
      {
        expected:
          ranks > devices
            ? `at most ${devices} ranks`
            : `a number of ranks that leaves as many on every node that is used, like ${lessRanks(cluster, ranks)}`,
      },
    );
  const crossed = Math.max(1, filling.findLastIndex((count) => count > 1) + 1);
  let below = 1;
  const tiers = cluster.tiers.slice(0, crossed).map((tier, at) => {
    const whole = devicesPerUnit(cluster, at - 1);
    const size = filling[at] ?? 1;
    const ports = at === 0 ? tier.ports : portsOfPart(tier.ports, below, whole);
    below *= size;
    return { ...tier, size, ports };
  });
  const used = usedText(cluster, filling);
  return { ...cluster, tiers, part: { ofDevices: cluster.part?.ofDevices ?? devices, used } };
}

/** The most ranks below so many that fill nodes equally. */
function lessRanks(cluster: Cluster, ranks: number): number {
  let less = ranks - 1;
  while (fillingOf(cluster.tiers, less) === undefined) less--;
  return less;
}

/** How many devices are at work: `72`, or `64 of 72`. */
export function devicesText(cluster: Cluster): string {
  const devices = formatInteger(deviceCount(cluster));
  return cluster.part === undefined ? devices : `${devices} of ${formatInteger(cluster.part.ofDevices)}`;
}
