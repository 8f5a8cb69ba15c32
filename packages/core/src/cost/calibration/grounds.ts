/** What the bandwidth of each tier of a cluster rests on. */
import { type Cluster, devicesPerUnit, type TierGround } from '../../cluster/index.js';
import type { Calibration } from './calibration.js';
import { gpuKey } from './gpus.js';
import type { Series } from './series.js';

/**
 * Curves of the cluster's device inside a node (tier 0) or across nodes (the others). Where a log does not say its
 * nodes, there are as many as its ranks fill.
 */
export function seriesOfTier({ series }: Calibration, cluster: Cluster, tier: number): Series[] {
  const inNode = devicesPerUnit(cluster, 0);
  return series.filter(
    ({ gpu, nodes, ranks }) =>
      gpuKey(gpu) === gpuKey(cluster.device.name) && (nodes ?? Math.ceil(ranks / inNode)) > 1 === tier > 0,
  );
}

/**
 * Grounds of the tiers: those of a topology, and `measured` where a calibration has curves of this device inside a node
 * (innermost tier) or across nodes (the others). Empty where neither is there.
 */
export function groundsOf({
  cluster,
  written,
  calibration,
  calibrationFile,
}: {
  readonly cluster: Cluster;
  readonly written: readonly TierGround[];
  readonly calibration: Calibration | undefined;
  readonly calibrationFile: string;
}): TierGround[] {
  if (calibration === undefined) return [...written];
  return cluster.tiers.map(({ name }, index) => {
    const operations = [...new Set(seriesOfTier(calibration, cluster, index).map(({ op }) => op))].sort();
    if (operations.length > 0)
      return { tier: name, ground: 'measured', because: `${operations.join(', ')} in ${calibrationFile}` };
    return (
      written[index] ?? {
        tier: name,
        ground: 'given',
        because: `${calibrationFile} has no curve of it: the figures of the cluster, with their sources`,
      }
    );
  });
}
