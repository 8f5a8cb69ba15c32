/**
 * Which ranks of a placed layout stand for each other. Ranks are numbers of mixed radix: device behind a NIC, NIC of a
 * node, node of a rail; index along tp, dp, ep. A *digit* is a run of such places that none of them cuts. Moving all
 * ranks one further along a digit, around its end, keeps every group and every shared port, so ranks that differ in
 * such digits alone are alike as far as place goes. What they send is asked elsewhere (`simulate/fold.ts`).
 */
import type { Cluster } from '../cluster/cluster.js';
import { devicesPerUnit, exitsOf, route } from '../cluster/ports.js';
import type { Layout } from '../layout/layout.js';
import { placedOn, worldSize } from '../layout/mesh.js';

/** Of a rank: floor(rank / stride) % radix. */
export interface Digit {
  readonly stride: number;
  readonly radix: number;
}

/** The rank that is one further along a digit, the first behind the last. */
export const moved = (rank: number, { stride, radix }: Digit): number => {
  const at = Math.floor(rank / stride) % radix;
  return rank + (at + 1 === radix ? stride - stride * radix : stride);
};

/** The rank with zeros for these digits. */
const standIn = (rank: number, digits: readonly Digit[]): number =>
  digits.reduce((left, { stride, radix }) => left - (Math.floor(rank / stride) % radix) * stride, rank);

/** Ranks where a layout or the cluster begins something new: all its products, and the devices of NICs and units. */
function cutsOf(layout: Layout, cluster: Cluster): { cuts: number[]; closed: number[] } {
  const { tp, cp, dp, etp, ep, edp } = layout;
  const cuts = [1, tp, tp * cp, tp * cp * dp, etp, etp * ep, etp * ep * edp, layout.ranksPerNode ?? 1];
  const closed: number[] = [];
  cluster.tiers.forEach(({ ports }, tier) => {
    cuts.push(devicesPerUnit(cluster, tier));
    if (tier === 0) return;
    const behind = devicesPerUnit(cluster, tier - 1);
    if (behind % ports === 0) cuts.push(behind / ports);
    // ports behind which not equally many devices stand
    else if (ports % behind !== 0) closed.push(behind);
  });
  return { cuts, closed };
}

/** Digits of the ranks of one pipeline stage. */
export function digitsOf(layout: Layout, cluster: Cluster): Digit[] {
  const ranks = worldSize(layout);
  const { cuts, closed } = cutsOf(layout, cluster);
  const all = [...new Set([...cuts, ranks])].filter((cut) => cut <= ranks).sort((a, b) => a - b);
  const comparable = all.filter((a) => all.every((b) => a % b === 0 || b % a === 0));
  const digits: Digit[] = [];
  comparable.forEach((end, index) => {
    const stride = comparable[index - 1];
    if (stride === undefined || end > ranks / layout.pp) return;
    if (all.some((cut) => cut > stride && cut < end) || closed.some((behind) => stride < behind)) return;
    const digit = { stride, radix: end / stride };
    if (keepsLinks(digit, ranks, cluster)) digits.push(digit);
  });
  return digits;
}

/** What becomes of things that are moved: the same of each, and of no two the same. */
class Moves {
  readonly #there = new Map<number, number>();
  readonly #back = new Map<number, number>();

  /** Whether `to` may be what becomes of `from`, after all that was said before. */
  same(from: number, to: number): boolean {
    const [there, back] = [this.#there.get(from) ?? to, this.#back.get(to) ?? from];
    this.#there.set(from, there);
    this.#back.set(to, back);
    return there === to && back === from;
  }
}

/**
 * Whether links that pairs of ranks share are shared still when all ranks have moved along a digit. Rails and units
 * need no look: no digit cuts the devices of a NIC or of a unit, so that they move as a whole. Where nodes do, so do
 * the links in them; else all nodes are as the first.
 */
function keepsLinks(digit: Digit, ranks: number, cluster: Cluster): boolean {
  const perNode = devicesPerUnit(cluster, 0);
  if ((cluster.tiers[0]?.ports ?? 1) === 1 || digit.stride >= perNode) return true;
  const links = new Moves();
  for (let rank = 0; rank < Math.min(ranks, perNode); rank++)
    for (const peer of linkedPeers(rank, ranks, cluster)) {
      const [one, other] = [route(cluster, rank, peer), route(cluster, moved(rank, digit), moved(peer, digit))];
      if (!links.same(one.egress[0] ?? -1, other.egress[0] ?? -1)) return false;
      if (!links.same(one.ingress[0] ?? -1, other.ingress[0] ?? -1)) return false;
    }
  return true;
}

/** Peers in the node, where a device has a port for each of them. */
function linkedPeers(rank: number, ranks: number, cluster: Cluster): number[] {
  if ((cluster.tiers[0]?.ports ?? 1) === 1) return [];
  const perNode = devicesPerUnit(cluster, 0);
  const first = rank - (rank % perNode);
  return Array.from({ length: perNode }, (_, index) => first + index).filter((peer) => peer !== rank && peer < ranks);
}

/** Ports that stand for each other. */
export interface PortClass {
  /** The one that stands for them, as the fabric counts ports. */
  readonly port: number;
  readonly count: number;
}

/** One rank of every kind, and one port of every kind with the width of all of them. */
export interface World {
  /** Of all ranks. */
  readonly size: number;
  /** The ranks that stand for all. */
  readonly ranks: readonly number[];
  /** By rank, place in `ranks` of the one that stands for it. */
  readonly placeOf: Int32Array;
  readonly ports: readonly PortClass[];
  /** By port of the fabric, place in `ports`; -1 for ports that nobody uses. */
  readonly portPlace: Int32Array;
}

/** Every rank stands for itself. */
export function wholeWorld(ranks: number, ports: number): World {
  return {
    size: ranks,
    ranks: Array.from({ length: ranks }, (_, rank) => rank),
    placeOf: Int32Array.from({ length: ranks }, (_, rank) => rank),
    ports: Array.from({ length: ports }, (_, port) => ({ port, count: 1 })),
    portPlace: Int32Array.from({ length: ports }, (_, port) => port),
  };
}

/** Ranks that differ in these digits alone are one. */
function foldedWorld(ranks: number, cluster: Cluster, portCount: number, digits: readonly Digit[]): World {
  const stands: number[] = [];
  const placeOf = new Int32Array(ranks);
  const portPlace = new Int32Array(portCount).fill(-1);
  const ports: { port: number; count: number }[] = [];
  /** What a port is to a rank another is to who stands in for it, and so comes before it. */
  const note = (port: number, like: number): void => {
    if (portPlace[port] !== -1) return;
    const index = portPlace[like] ?? -1;
    const known = ports[index];
    if (known) known.count += 1;
    else ports.push({ port, count: 1 });
    portPlace[port] = known ? index : ports.length - 1;
  };
  const exits = exitsOf(cluster);
  for (let rank = 0; rank < ranks; rank++) {
    const stand = standIn(rank, digits);
    placeOf[rank] = stand === rank ? stands.push(rank) - 1 : (placeOf[stand] ?? 0);
    for (const exit of exits) note(exit(rank), exit(stand));
    for (const exit of exits) note(exit(rank) + 1, exit(stand) + 1);
    for (const peer of linkedPeers(rank, ranks, cluster)) {
      const [own, like] = [route(cluster, rank, peer), route(cluster, stand, movedBack(peer, rank, digits))];
      note(own.egress[0] ?? 0, like.egress[0] ?? 0);
      note(own.ingress[0] ?? 0, like.ingress[0] ?? 0);
    }
  }
  return { size: ranks, ranks: stands, placeOf, ports, portPlace };
}

/** A peer of a rank, moved as the rank has to be to become the one that stands for it. */
const movedBack = (peer: number, rank: number, digits: readonly Digit[]): number =>
  digits.reduce((at, { stride, radix }) => {
    const [back, digit] = [Math.floor(rank / stride) % radix, Math.floor(at / stride) % radix];
    return at + (((digit - back + radix) % radix) - digit) * stride;
  }, peer);

/** Digits of a layout on a cluster, and the worlds that follow from them; each is worked out once. */
export class Symmetry {
  readonly layout: Layout;
  /** Of all stages. */
  readonly ranks: number;
  readonly digits: readonly Digit[];
  readonly #cluster: Cluster;
  readonly #worlds = new Map<string, World>();
  readonly #portCount: number;

  constructor(layout: Layout, cluster: Cluster, portCount: number) {
    this.layout = placedOn(layout, cluster);
    this.ranks = worldSize(layout);
    this.#cluster = cluster;
    this.#portCount = portCount;
    this.digits = digitsOf(this.layout, cluster);
  }

  /** The world in which ranks that differ in these digits alone are one. */
  world(digits: readonly Digit[]): World {
    const key = digits.map(({ stride, radix }) => `${stride}x${radix}`).join();
    let world = this.#worlds.get(key);
    if (world === undefined) {
      const { ranks } = this;
      world =
        digits.length === 0
          ? wholeWorld(ranks, this.#portCount)
          : foldedWorld(ranks, this.#cluster, this.#portCount, digits);
      this.#worlds.set(key, world);
    }
    return world;
  }
}
