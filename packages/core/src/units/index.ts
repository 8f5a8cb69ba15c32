export { InputError } from './errors.js';
export { didYouMean } from './nearest.js';
export { countUpTo, parseBytes, parseCount, parseSeconds } from './quantities.js';
export {
  formatBandwidth,
  formatBytes,
  formatCount,
  formatFlops,
  formatInteger,
  formatPercent,
  formatSeconds,
} from './format.js';
export { Random } from './random.js';
export { type PairedFigure, pairedDifference, pairedRatio } from './paired-ratio.js';
export { median, quantile } from './quantiles.js';
export { type Interval, lengthOf, overlapOf, unionOf } from './intervals.js';
export { greatestCommonDivisor } from './divisors.js';
export { isRecord } from './record.js';
export { limits } from './limits.js';
export { escapeControls, shortened, shownValue } from './presentable.js';
export { appendAll, maxOf, minOf, removeFrom } from './lists.js';
export { memoized, once } from './memoized.js';
export { Recent } from './recent.js';
export { countingSort } from './counting-sort.js';
