/** The layout of a run that names none. */
import { deviceCount, type Cluster } from '../cluster/index.js';
import { resolveLayout, type Layout } from '../layout/index.js';
import type { MoeModel } from '../model/index.js';
import { InputError } from '../units/index.js';

export interface LayoutRequest {
  readonly model: MoeModel;
  readonly cluster: Cluster;
  /** Sequences of a step, which the replicas share evenly. */
  readonly batch: number;
}

/**
 * TP inside a node as far as heads allow, data parallelism over the rest, experts over the replicas as far as they
 * divide. Throws `InputError` when nothing fits.
 */
export function automaticLayout({ model, cluster, batch }: LayoutRequest): Layout {
  const world = deviceCount(cluster);
  const node = cluster.tiers[0]?.size ?? world;
  const fits = (tp: number): boolean =>
    world % tp === 0 && model.attentionHeads % tp === 0 && model.expertFfn % tp === 0 && batch % (world / tp) === 0;
  for (let tp = Math.min(node, world); tp >= 1; tp--) {
    if (node % tp !== 0 || !fits(tp) || (model.keyValueHeads % tp !== 0 && tp % model.keyValueHeads !== 0)) continue;
    const dp = world / tp;
    for (let ep = dp; ep >= 1; ep--)
      if (dp % ep === 0 && model.experts % ep === 0) return resolveLayout({ tp, dp, ep }, world);
  }
  throw new InputError(`no layout of ${world} ranks fits ${model.name} with ${batch} sequences a step`, {
    path: 'layout',
    expected: 'tp that divides heads and expert width, and replicas that divide the batch',
    hint: 'give layout, or change batch',
  });
}
