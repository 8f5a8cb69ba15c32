/**
 * Flows of a collective as the network takes them: equal flows over the same ports are one bundle. In a folded world a
 * collective stands for those of all groups of its kind, and a port for all of its kind.
 */
import type { ExchangeGrid, PricedFlow } from '../cost/index.js';
import type { World } from '../traffic/index.js';
import type { Channel } from './groups.js';

/** Equal flows over the same ports. Bytes and work are those of the collective's flows, before any scale. */
export interface FlowBundle {
  readonly count: number;
  readonly bytes: number;
  readonly work: number;
  /** Places among the world's ports, each once. */
  readonly ports: readonly number[];
  /** Hosts whose threads move the bytes, where they do; and whether between hosts. */
  readonly hosts: readonly number[];
  readonly crosses: boolean;
  /** Places among the channel's members that send or receive in it. */
  readonly touches: readonly number[];
}

export interface Bundled {
  readonly bundles: readonly FlowBundle[];
  /** Bytes that each member sends, before any scale. */
  readonly sent: Float64Array;
  /** Of all flows and all collectives that this one stands for, before any scale. */
  readonly totalBytes: number;
}

interface Growing extends FlowBundle {
  count: number;
  readonly touched: Set<number>;
}

/**
 * Those of a grid that stand for all, where its units are one in the world and those who stand for the others are in
 * the first; undefined elsewhere.
 */
export function gridFlows({ placeOf, ranks }: World, channel: Channel, grid: ExchangeGrid): WeighedFlow[] | undefined {
  const { own, units, flows } = grid;
  const alike = channel.ranks.every((rank, index) => placeOf[rank] === placeOf[own[index % own.length] ?? 0]);
  if (!alike || !channel.members.every((place) => own.includes(ranks[place] ?? -1))) return undefined;
  return flows.map((flow) => ({ ...flow, times: units * flow.peers }));
}

/** A flow that stands for others: so many of its sender, so many in all; 1 where left out. */
export interface WeighedFlow extends PricedFlow {
  readonly peers?: number;
  readonly times?: number;
}

/** `hostOf`: where threads of hosts move the bytes, the host of a rank. */
export function bundle(
  world: World,
  channel: Channel,
  flows: readonly WeighedFlow[],
  hostOf?: (rank: number) => number,
): Bundled {
  const sent = new Float64Array(channel.members.length);
  const memberOf = new Map(channel.members.map((place, index) => [place, index]));
  const place = (rank: number): number => memberOf.get(world.placeOf[rank] ?? -1) ?? 0;
  const alike = new Map<string, Growing[]>();
  const all: Growing[] = [];
  let totalBytes = 0;
  for (const { from, to, bytes, work, route, peers = 1, times = 1 } of flows) {
    const [sender, receiver] = [place(from), place(to)];
    totalBytes += bytes * times * channel.times;
    // of the ranks that a member stands for, the member itself: all of them send alike
    if (world.ranks[channel.members[sender] ?? -1] === from) sent[sender] = (sent[sender] ?? 0) + bytes * peers;
    const hosts = hostOf ? [...new Set([hostOf(from), hostOf(to)])] : [];
    const ports = route.ports.map((port) => world.portPlace[port] ?? -1);
    const key = hosts.length > 0 ? `${ports.join()} ${hosts.join()}` : ports.join();
    let list = alike.get(key);
    if (list === undefined) alike.set(key, (list = []));
    let found = list.find((other) => other.work === work);
    if (found === undefined) {
      const touched = new Set<number>();
      found = { count: 0, bytes, work, ports, hosts, crosses: route.tier > 0, touches: [], touched };
      list.push(found);
      all.push(found);
    }
    found.count += times * channel.times;
    found.touched.add(sender).add(receiver);
  }
  return { bundles: all.map(({ touched, ...one }) => ({ ...one, touches: [...touched] })), sent, totalBytes };
}
