/** Rates of the links that a group of ranks communicates over, by how many of them a domain of links joins. */
import { reachedBytesPerSecond, type Cluster } from '../cluster/cluster.js';
import { binaryLogarithm } from '../units/same-everywhere.js';

/** Two levels: links inside a domain (NVLink), and one device's share of the network between domains. */
export interface Links {
  /** Devices of a domain. */
  readonly domain: number;
  readonly innerBytesPerSecond: number;
  readonly outerBytesPerSecond: number;
  readonly innerLatency: number;
  readonly outerLatency: number;
}

/** Of a cluster; tiers above the second count where they are the slowest. */
export function linksOfCluster({ tiers }: Cluster): Links {
  const [inner, ...outer] = tiers;
  if (inner === undefined) throw new RangeError('a cluster without tiers');
  let devices = inner.size;
  let outerBytesPerSecond = Number.POSITIVE_INFINITY;
  let outerLatency = 0;
  for (const tier of outer) {
    outerBytesPerSecond = Math.min(outerBytesPerSecond, (reachedBytesPerSecond(tier) * tier.ports) / devices);
    outerLatency = Math.max(outerLatency, tier.latencySeconds);
    devices *= tier.size;
  }
  return {
    domain: inner.size,
    innerBytesPerSecond: reachedBytesPerSecond(inner),
    outerBytesPerSecond: outer.length === 0 ? reachedBytesPerSecond(inner) : outerBytesPerSecond,
    innerLatency: inner.latencySeconds,
    outerLatency,
  };
}

/** Ranks of a group in one domain, where neighbours of the group are `stride` devices apart. */
export const ranksInDomain = (links: Links, ranks: number, stride: number): number =>
  Math.max(1, Math.min(ranks, Math.floor(links.domain / stride)));

/**
 * Seconds of an all_gather or a reduce_scatter whose whole buffer is `bytes`: a ring moves (n-1)/n of it over every
 * link. Between domains it leaves through the NICs of all ranks that the domain holds of the group (NCCL's channels).
 */
export const ringSeconds = (links: Links, ranks: number, stride: number, bytes: number): number =>
  ringWithin(links, ranks, ranksInDomain(links, ranks, stride), bytes);

/** A time that is straight in what moves. */
export interface Line {
  readonly fixed: number;
  readonly slope: number;
}

const noTime: Line = { fixed: 0, slope: 0 };

/** Of a ring of a group of which a domain holds `inside`: seconds whatever it moves, and by the byte. */
export function ringLine(links: Links, ranks: number, inside: number): Line {
  if (ranks <= 1) return noTime;
  const share = (ranks - 1) / ranks;
  if (inside >= ranks) return { fixed: (ranks - 1) * links.innerLatency, slope: share / links.innerBytesPerSecond };
  const rate = Math.min(links.innerBytesPerSecond, inside * links.outerBytesPerSecond);
  return { fixed: binaryLogarithm(ranks) * links.outerLatency, slope: share / rate };
}

/** Seconds of such a ring. */
export function ringWithin(links: Links, ranks: number, inside: number, bytes: number): number {
  const { fixed, slope } = ringLine(links, ranks, inside);
  return fixed + slope * bytes;
}

/** Seconds a byte of such a ring where it leaves a domain; 0 of one that stays inside. */
export const crossingSlope = (links: Links, ranks: number, inside: number): number =>
  inside >= ranks ? 0 : ringLine(links, ranks, inside).slope;
