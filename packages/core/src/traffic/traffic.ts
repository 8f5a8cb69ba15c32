/**
 * Counts a program's bytes: what every rank sends over every tier, what every port carries, operation by operation.
 * Exact, no times.
 */
import type { Cluster } from '../cluster/cluster.js';
import type { Layout } from '../layout/layout.js';
import { coordinates, groupMembers, placedOn, worldSize } from '../layout/mesh.js';
import { operationsOf, type Binding, type CollectiveName, type Pass, type Program } from '../schedule/schedule.js';
import { peerOf } from '../schedule/transfers.js';
import { decompose, type Algorithm, type CollectiveLoad } from './flows.js';
import { fabricOf } from './fabric.js';
import { collectiveLoad, type CollectiveBody } from './load.js';

export interface OperationTraffic {
  /** Template and operation, as `moe.forward/all_to_all.0`. */
  readonly operation: string;
  /** Node of the program. */
  readonly node: number;
  /** Bytes sent by all ranks, by the tier that joins sender and receiver. */
  readonly byTier: Float64Array;
}

export interface Traffic {
  /** Bytes that a rank sends, [rank][tier joining it and the receiver]. */
  readonly sent: readonly Float64Array[];
  /** Bytes that a port carries, in the order of `fabricOf(cluster).ports`; a message counts on each of its ports. */
  readonly ports: Float64Array;
  readonly operations: readonly OperationTraffic[];
}

export interface TrafficRequest {
  readonly program: Program;
  readonly layout: Layout;
  readonly cluster: Cluster;
  readonly binding: Binding;
  /** How collectives move, or what says it of each; `direct` unless given. */
  readonly algorithm?: Algorithm | AlgorithmOf;
}

/** How a collective over `members` moves. */
export type AlgorithmOf = (name: CollectiveName, members: readonly number[], load: CollectiveLoad) => Algorithm;

/** Who meets a rank: its group, or sender and receiver of a transfer, which the sender counts. */
function membersOf(layout: Layout, { name, group }: CollectiveBody, rank: number, pass: Pass): readonly number[] {
  const members = groupMembers(layout, group, rank);
  if (name === 'receive') return [];
  return name === 'send' ? [rank, peerOf(members, rank, { name, pass })] : members;
}

/**
 * Counts all collectives of a program, on the ranks of its stage. Throws `InputError` for counts that do not fit
 * their group.
 */
export function traffic({ program, layout, cluster, binding, algorithm = 'direct' }: TrafficRequest): Traffic {
  const fabric = fabricOf(cluster);
  const ranks = worldSize(layout);
  const placed = placedOn(layout, cluster);
  const tiers = cluster.tiers.length;
  const sent = Array.from({ length: ranks }, () => new Float64Array(tiers));
  const ports = new Float64Array(fabric.ports.length);
  const operations: OperationTraffic[] = [];
  program.nodes.forEach((one, node) => {
    const { template: name, pass } = one;
    const template = program.templates[name];
    for (const operation of operationsOf(program, one)) {
      const { body } = operation;
      if (!template || body.kind !== 'collective') continue;
      const byTier = new Float64Array(tiers);
      for (let rank = 0; rank < ranks; rank++) {
        if (layout.pp > 1 && coordinates(layout, rank).pp !== program.stage) continue;
        const members = membersOf(placed, body, rank, pass);
        if (members[0] !== rank) continue;
        const load = collectiveLoad({ template, operation, body, members, node, binding });
        const way = typeof algorithm === 'string' ? algorithm : algorithm(body.name, members, load);
        for (const { from, to, bytes } of decompose({
          name: body.name,
          members,
          load,
          algorithm: way,
          nodeOf: (one) => fabric.nodeOf(one),
        }).flows) {
          const route = fabric.route(from, to);
          byTier[route.tier] = (byTier[route.tier] ?? 0) + bytes;
          const row = sent[from];
          if (row) row[route.tier] = (row[route.tier] ?? 0) + bytes;
          for (const port of route.ports) ports[port] = (ports[port] ?? 0) + bytes;
        }
      }
      operations.push({ operation: `${name}/${operation.id}`, node, byTier });
    }
  });
  return { sent, ports, operations };
}
