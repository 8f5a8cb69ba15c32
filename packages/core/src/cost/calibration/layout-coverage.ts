/**
 * What a calibration says of the groups of a layout on a cluster: which of their collectives were measured, carried, or
 * are priced without it.
 */
import { unitOf } from '../../cluster/ports.js';
import type { Cluster } from '../../cluster/cluster.js';
import { groupMembers } from '../../layout/mesh.js';
import type { Group, Layout } from '../../layout/layout.js';
import type { Coverage } from './coverage.js';
import type { CalibrationLookup } from './lookup.js';
import type { MeasuredOp } from './measurement.js';

export interface GroupCoverage {
  /** Ranks that hold the collective together. */
  readonly group: Group;
  readonly op: MeasuredOp;
  readonly ranks: number;
  readonly nodes: number;
  /** What of the calibration says it. */
  readonly coverage: Coverage;
}

/** Collectives of a layer of experts by the group that they run over, and those that sum the gradients of a step. */
const collectives: readonly (readonly [Group, readonly MeasuredOp[]])[] = [
  ['ep', ['all_to_all']],
  ['etp', ['all_gather', 'reduce_scatter', 'all_reduce']],
  ['tp', ['all_gather', 'reduce_scatter', 'all_reduce']],
  ['edp', ['all_reduce']],
  ['dense', ['all_reduce']],
];

/** One entry for every collective and shape of group (that of rank 0), groups of one left out. */
export function layoutCoverage(lookup: CalibrationLookup, cluster: Cluster, layout: Layout): GroupCoverage[] {
  const seen = new Set<string>();
  return collectives.flatMap(([group, ops]) => {
    const members = groupMembers(layout, group, 0);
    const ranks = members.length;
    const nodes = new Set(members.map((rank) => unitOf(cluster, 0, rank))).size;
    if (ranks < 2) return [];
    return ops.flatMap((op) => {
      const shape = [op, ranks, nodes].join('|');
      if (seen.has(shape)) return [];
      seen.add(shape);
      return [{ group, op, ranks, nodes, coverage: lookup.coverage(op, { ranks, nodes }) }];
    });
  });
}
