/**
 * How fast a collective can be at most, whatever the library: what datasheets say of the links that its bytes must
 * cross.
 */
import { fastestLink, linksOf } from './gpus.js';
import type { GpuLinks } from './gpus.js';
import { busFactor } from './measurement.js';
import type { MeasuredOp } from './measurement.js';

/** A group of ranks on one kind of device. */
interface Place {
  readonly gpu: string;
  readonly op: MeasuredOp;
  readonly ranks: number;
  /** Null: not known; then only what holds anywhere counts. */
  readonly nodes: number | null;
}

export interface LinkBound {
  /** No collective takes less than this for each byte of the total buffer. */
  readonly secondsPerByte: number;
  /** The links that set the bound, and what says so. */
  readonly links: string;
  readonly source: string;
}

/**
 * Bytes that a node must exchange with the others in one direction, per byte of total buffer, on nodes of equally many
 * ranks.
 */
function crossingNode({ op, ranks }: Place, nodes: number): number {
  switch (op) {
    case 'all_to_all':
      return (ranks / nodes) * ((nodes - 1) / nodes);
    case 'all_gather':
    case 'reduce_scatter':
      return (nodes - 1) / nodes;
    // where switches add up, a node sends its part once and gets the sum once
    case 'all_reduce':
    case 'broadcast':
    case 'send':
      return 1;
  }
}

/**
 * Bytes that a rank must send or take in, per byte of total buffer; an all_reduce in switches moves the buffer once.
 */
const throughRank = ({ op, ranks }: Place): number => (op === 'all_reduce' ? 1 : busFactor(op, ranks));

/**
 * The least time per byte by the datasheet; undefined for a device that is not listed. Inside a node a rank's bytes
 * cross its own links. Over nodes they may use its host port too, and what enters or leaves a node goes through the
 * host ports of its devices, unless the links themselves span nodes (NVL72).
 */
export function linkBound(place: Place): LinkBound | undefined {
  const links = linksOf(place.gpu);
  return links === undefined ? undefined : boundBy(links, place);
}

/** The same for any device: of one that is not listed, what the fastest link of all would allow. */
export const leastSecondsPerByte = (place: Place): number =>
  linkBound(place)?.secondsPerByte ?? throughRank(place) / fastestLink.bytesPerSecond;

function boundBy(links: GpuLinks, place: Place): LinkBound {
  const { name, bytesPerSecond, hostBytesPerSecond, hostSource, source } = links;
  const nodes = place.nodes ?? 1;
  if (nodes < 2 || hostBytesPerSecond === undefined) {
    return { secondsPerByte: throughRank(place) / bytesPerSecond, links: `the links of ${name}`, source };
  }
  const rank = throughRank(place) / (bytesPerSecond + hostBytesPerSecond);
  const node = crossingNode(place, nodes) / ((place.ranks / nodes) * hostBytesPerSecond);
  return node > rank
    ? {
        secondsPerByte: node,
        links: `the host ports of ${place.ranks / nodes} ${name} a node`,
        source: hostSource ?? source,
      }
    : { secondsPerByte: rank, links: `links and host port of ${name}`, source };
}
