/** What a calibration says of the groups of a layout, in the words of a plan. */
import type { Cluster, CollectiveBasis, CollectiveCurves, GroupCoverage, Layout } from '@monta/core';
import { formatPercent } from '@monta/core/units';
import { CalibrationLookup, describeCoverage, errorOf, layoutCoverage } from '@monta/core/cost';

/** Coverage by group; undefined without a calibration. */
export const coverageOf = (
  curves: CollectiveCurves | undefined,
  cluster: Cluster,
  layout: Layout,
): readonly GroupCoverage[] | undefined =>
  curves instanceof CalibrationLookup ? layoutCoverage(curves, cluster, layout) : undefined;

const shapeOf = ({ ranks, nodes }: { readonly ranks: number; readonly nodes: number }): string =>
  `${ranks} ranks on ${nodes} node${nodes === 1 ? '' : 's'}`;

/**
 * What priced collectives rest on, and the error to expect: `all_to_all of ep, 8 ranks on 1 node: fitted, within 7 %
 * (…)`, a line each.
 */
export function collectiveLines(collectives: readonly CollectiveBasis[]): string[] {
  const lines = collectives.map((one) => {
    const assumed = one.expectedError === undefined ? ' assumed' : '';
    const error = `within ${formatPercent(errorOf(one))}${assumed}`;
    return `${one.name} of ${one.group}, ${shapeOf(one)}: ${one.basis}, ${error} (${one.detail})`;
  });
  return [...new Set(lines)];
}

/** `all_to_all of ep, 8 ranks on 1 node: the datasheet's latency and bandwidth (… was not measured …)`, a line each. */
export const coverageText = (coverage: readonly GroupCoverage[]): string =>
  coverage
    .map((one) => {
      const says = describeCoverage(one.coverage);
      const basis = one.coverage.kind === 'none' ? `not calibrated, priced by the cluster file: ${says}` : says;
      return `${one.op} of ${one.group}, ${shapeOf(one)}: ${basis}`;
    })
    .join('\n');
