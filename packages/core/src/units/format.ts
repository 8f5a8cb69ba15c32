/**
 * Quantities for people: three significant digits, fewer when the value is whole in its unit (`25 GB/s`, `4.31 ms`).
 */

/** Three significant digits of a number in [1, 1000), or of anything when no larger unit is left. */
function significant(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1000) return String(value);
  const rounded = Number(value.toPrecision(3));
  const magnitude = Math.abs(rounded);
  if (magnitude >= 100) return Math.round(rounded).toLocaleString('en-US');
  return rounded.toFixed(magnitude >= 10 ? 1 : magnitude >= 1 ? 2 : 3);
}

type Scale = readonly (readonly [name: string, size: number])[];

/** In the largest unit in which the rounded value is at least one, so that 999.9 MB reads 1.00 GB. */
function inScale(value: number, scale: Scale, gap = ' '): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? '?' : value > 0 ? '∞' : '-∞';
  const smallest = scale.at(-1)?.[1] ?? 1;
  // what three decimals of the smallest unit do not show, as differences of equal sums leave it
  const magnitude = Math.abs(value) < smallest / 2000 ? 0 : Math.abs(value);
  const [name, size] =
    scale.find(([, size]) => (magnitude === 0 ? size === 1 : Number((magnitude / size).toPrecision(3)) >= 1)) ??
    scale.at(-1) ??
    (['', 1] as const);
  const digits = significant(magnitude === 0 ? 0 : value / size);
  return name === '' ? digits : `${digits}${gap}${name}`;
}

const decimal = (unit: string): Scale => [
  [`P${unit}`, 1e15],
  [`T${unit}`, 1e12],
  [`G${unit}`, 1e9],
  [`M${unit}`, 1e6],
  [`k${unit}`, 1e3],
  [unit, 1],
];
const decimalBytes = decimal('B');
const binaryBytes: Scale = [
  ['PiB', 2 ** 50],
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
  ['B', 1],
];
const bandwidths = decimal('B/s');
const flopRates = decimal('FLOP/s');
const times: Scale = [
  ['s', 1],
  ['ms', 1e-3],
  ['µs', 1e-6],
  ['ns', 1e-9],
];
const counts: Scale = [
  ['T', 1e12],
  ['B', 1e9],
  ['M', 1e6],
  ['k', 1e3],
  ['', 1],
];

/** `33.6 MB`; with `binary`, as for device memory, `80 GiB`. */
export function formatBytes(bytes: number, base: 'decimal' | 'binary' = 'decimal'): string {
  return inScale(bytes, base === 'binary' ? binaryBytes : decimalBytes);
}

/** `25 GB/s`, always in bytes, from bytes a second. */
export const formatBandwidth = (bytesPerSecond: number): string => inScale(bytesPerSecond, bandwidths);

/** `312 TFLOP/s`. */
export const formatFlops = (flopsPerSecond: number): string => inScale(flopsPerSecond, flopRates);

const twoDigits = (n: number): string => String(n).padStart(2, '0');

/** `4.31 ms`; from a minute on `2:05` minutes or `1:02:05` hours. */
export function formatSeconds(seconds: number): string {
  if (Number.isFinite(seconds) && Math.abs(seconds) >= 59.95) {
    const total = Math.round(Math.abs(seconds));
    const [hours, minutes, rest] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
    const sign = seconds < 0 ? '-' : '';
    return sign + (hours > 0 ? `${hours}:${twoDigits(minutes)}:${twoDigits(rest)}` : `${minutes}:${twoDigits(rest)}`);
  }
  return inScale(seconds, times);
}

/** `46.7B`, `11.4k`, `512`: three significant digits with a suffix. */
export const formatCount = (count: number): string => inScale(count, counts, '');

/** Whole number with thousands separated, all digits: `8,192`. */
export const formatInteger = (count: number): string => Math.round(count).toLocaleString('en-US');

/** `38 %`, `9.4 %`: a share of one as per cent; `0 %` for what rounding errors leave. */
export function formatPercent(share: number): string {
  const percent = Math.abs(share) < 1e-9 ? 0 : share * 100;
  return `${Math.abs(percent) >= 10 || percent === 0 ? Math.round(percent) : Number(percent.toPrecision(2))} %`;
}
