/**
 * Even exchanges of all pairs in a group that has the same members in several like units of the network. What its ranks
 * send in the first unit, and from there to the second, stands for all that they send: one row of units for the square
 * of them.
 */
import type { Fabric } from '../traffic/fabric.js';
import { peerSeconds } from './nccl.js';
import type { PricedFlow } from './priced-flow.js';

/** A flow from the first unit, and how many like it its sender has. */
export interface GridFlow extends PricedFlow {
  readonly peers: number;
}

export interface ExchangeGrid {
  /** The group's ranks in the first unit; those of others follow, as far from one another. */
  readonly own: readonly number[];
  readonly units: number;
  readonly flows: readonly GridFlow[];
}

/** Places of members in their units, where those are the same in all of at least three units; else undefined. */
function ownOf({ repeats }: Fabric, members: readonly number[]): readonly number[] | undefined {
  const unitOf = (rank = 0): number => Math.floor(rank / repeats);
  const each = members.findIndex((rank) => unitOf(rank) !== unitOf(members[0]));
  if (each < 1 || members.length % each !== 0 || members.length < 3 * each) return undefined;
  const seen = new Set<number>();
  for (let first = 0; first < members.length; first += each) {
    const unit = unitOf(members[first]);
    if (seen.has(unit)) return undefined;
    seen.add(unit);
    const by = (unit - unitOf(members[0])) * repeats;
    for (let index = 0; index < each; index++)
      if ((members[first + index] ?? 0) - (members[index] ?? 0) !== by) return undefined;
  }
  return members.slice(0, each);
}

/** One byte from every member to every other; undefined for groups that are no grid. */
export function exchangeGrid(fabric: Fabric, members: readonly number[]): ExchangeGrid | undefined {
  const own = ownOf(fabric, members);
  if (own === undefined) return undefined;
  const units = members.length / own.length;
  const flows = own.flatMap((from) =>
    members.slice(0, 2 * own.length).flatMap((to, index): GridFlow[] => {
      if (to === from) return [];
      const route = fabric.route(from, to);
      return [{ from, to, bytes: 1, route, work: route.slowdown, peers: index < own.length ? 1 : units - 1 }];
    }),
  );
  return { own, units, flows };
}

/** What the busiest port needs: those of the second unit are those of the first. */
export function gridPortSeconds(fabric: Fabric, { flows }: ExchangeGrid): number {
  const work = new Map<number, number>();
  for (const { from, to, route, work: each, peers } of flows) {
    const apart = (Math.floor(to / fabric.repeats) - Math.floor(from / fabric.repeats)) * fabric.repeats;
    for (const port of route.ports) {
      const entered = apart !== 0 && fabric.ports[port]?.direction === 'ingress';
      const like = entered ? fabric.moved(port, -apart) : port;
      work.set(like, (work.get(like) ?? 0) + each * peers);
    }
  }
  let most = 0;
  for (const [port, amount] of work) most = Math.max(most, amount / (fabric.ports[port]?.bytesPerSecond ?? NaN));
  return most;
}

/** Latencies by member: the farthest peer's; `pairwise`: and something for every peer. */
export function gridLatencies({ own, units, flows }: ExchangeGrid, pairwise: boolean): Float64Array {
  const place = new Map(own.map((rank, index) => [rank, index]));
  const farthest = new Float64Array(own.length);
  const sums = new Float64Array(own.length);
  for (const { from, route, peers } of flows) {
    const at = place.get(from) ?? 0;
    farthest[at] = Math.max(farthest[at] ?? 0, route.latencySeconds);
    sums[at] = (sums[at] ?? 0) + peers * peerSeconds(route.tier);
  }
  return Float64Array.from({ length: own.length * units }, (_, index) => {
    const at = index % own.length;
    return (farthest[at] ?? 0) + (pairwise ? (sums[at] ?? 0) : 0);
  });
}
