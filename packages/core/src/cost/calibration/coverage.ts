/** Which series of a calibration an answer about one collective and group rests on, or that none does. */
import { formatBytes, formatPercent } from '../../units/index.js';
import { describeKey } from './series.js';
import type { SeriesKey } from './series.js';

export type Coverage =
  /** This very collective was measured over a group of this shape. */
  | {
      readonly kind: 'measured';
      readonly series: SeriesKey;
      /** Smallest and largest measured size (total buffer); beyond them times are extrapolated. */
      readonly bytes: readonly [smallest: number, largest: number];
      readonly sources: readonly string[];
    }
  /** Carried from other series: another rank count, collective or GPU. */
  | {
      readonly kind: 'carried';
      readonly from: readonly SeriesKey[];
      /** The formulas, in words. */
      readonly methods: readonly string[];
      /** Expected relative error of carrying, as a share. */
      readonly expectedError: number;
    }
  /** The calibration says nothing of it. */
  | { readonly kind: 'none'; readonly why: string };

/**
 * For people: `measured from 1 MiB to 1 GiB (log.txt:20-30)`, `carried from ..., within 16 %`, or why nothing is known.
 */
export function describeCoverage(coverage: Coverage): string {
  switch (coverage.kind) {
    case 'measured': {
      const [smallest, largest] = coverage.bytes;
      const together = coverage.series.groups === undefined ? '' : `, ${coverage.series.groups} such groups at once`;
      return (
        `measured from ${formatBytes(smallest)} to ${formatBytes(largest)}${together} ` +
        `(${coverage.sources.join(', ')})`
      );
    }
    case 'carried':
      return (
        `carried from ${coverage.from.map(describeKey).join(' and ')}, within ` + formatPercent(coverage.expectedError)
      );
    case 'none':
      return coverage.why;
  }
}
