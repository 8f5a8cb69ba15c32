/** What a calibration says of the groups of a layout, in the words of a plan. */
import {
  CalibrationLookup,
  describeCoverage,
  layoutCoverage,
  type Cluster,
  type CollectiveCurves,
  type GroupCoverage,
  type Layout,
} from '@monta/core';

/** Coverage by group; undefined without a calibration. */
export const coverageOf = (
  curves: CollectiveCurves | undefined,
  cluster: Cluster,
  layout: Layout,
): readonly GroupCoverage[] | undefined =>
  curves instanceof CalibrationLookup ? layoutCoverage(curves, cluster, layout) : undefined;

/** `all_to_all of ep, 8 ranks on 1 node: the datasheet's latency and bandwidth (… was not measured …)`, a line each. */
export const coverageText = (coverage: readonly GroupCoverage[]): string =>
  coverage
    .map((one) => {
      const where = `${one.ranks} ranks on ${one.nodes} node${one.nodes === 1 ? '' : 's'}`;
      const says = describeCoverage(one.coverage);
      const basis = one.coverage.kind === 'none' ? `not calibrated, priced by the cluster file: ${says}` : says;
      return `${one.op} of ${one.group}, ${where}: ${basis}`;
    })
    .join('\n');
