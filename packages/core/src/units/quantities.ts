/**
 * Quantities as people write them: a number, an optional space, a unit. Prefixes are exact: k, M, G, T, P, E are powers
 * of 1000, Ki, Mi, Gi, Ti, Pi powers of 1024; `B` is a byte and `b` or `bit` a bit. A number without a unit is refused,
 * for nobody can tell what it meant; only 0 needs none.
 */
import { InputError } from './errors.js';
import { nearest } from './nearest.js';

/** One unit: value = number * 10^ten * two. `two` is a power of two (1/8 for bits), so that it rounds nothing. */
interface Unit {
  readonly ten: number;
  readonly two: number;
}

interface Quantity {
  /** As in "… is not a bandwidth". */
  readonly noun: string;
  readonly expected: string;
  readonly units: ReadonlyMap<string, Unit>;
  /** Spellings that the writer uses, largest first. */
  readonly written: readonly string[];
  /** More is a slip: far beyond any machine, so that products of a few stay finite. */
  readonly most: number;
}

const decimalPrefixes: readonly (readonly [string, number])[] = [
  ['', 0],
  ['k', 3],
  ['K', 3],
  ['M', 6],
  ['G', 9],
  ['T', 12],
  ['P', 15],
  ['E', 18],
];
const binaryPrefixes: readonly (readonly [string, number])[] = [
  ['Ki', 2 ** 10],
  ['Mi', 2 ** 20],
  ['Gi', 2 ** 30],
  ['Ti', 2 ** 40],
  ['Pi', 2 ** 50],
];

/** Every prefix before every spelling of the base unit. */
function prefixed(bases: readonly string[], two: number, withBinary: boolean): [string, Unit][] {
  return bases.flatMap((base) => [
    ...decimalPrefixes.map(([prefix, ten]): [string, Unit] => [prefix + base, { ten, two }]),
    ...(withBinary
      ? binaryPrefixes.map(([prefix, power]): [string, Unit] => [prefix + base, { ten: 0, two: power * two }])
      : []),
  ]);
}

const bytesQuantity: Quantity = {
  noun: 'a size in bytes',
  expected: 'a number with a unit of bytes, like 80 GiB (1024-based) or 512 MB (1000-based)',
  units: new Map([...prefixed(['B'], 1, true), ['byte', { ten: 0, two: 1 }], ['bytes', { ten: 0, two: 1 }]]),
  written: ['TiB', 'TB', 'GiB', 'GB', 'MiB', 'MB', 'KiB', 'kB', 'B'],
  most: 1e18,
};

const bandwidthQuantity: Quantity = {
  noun: 'a bandwidth',
  expected: 'a number with bytes or bits a second, like 25 GB/s or 200 Gbps',
  units: new Map([...prefixed(['B/s', 'Bps'], 1, true), ...prefixed(['bps', 'bit/s', 'b/s'], 1 / 8, true)]),
  written: ['TB/s', 'GB/s', 'MB/s', 'kB/s', 'B/s'],
  most: 1e18,
};

const secondsQuantity: Quantity = {
  noun: 'a time',
  expected: 'a number with a unit of time, like 3 us, 1.5 ms or 2 s',
  units: new Map([
    ['s', { ten: 0, two: 1 }],
    ['sec', { ten: 0, two: 1 }],
    ['ms', { ten: -3, two: 1 }],
    ['us', { ten: -6, two: 1 }],
    ['µs', { ten: -6, two: 1 }], // micro sign
    ['μs', { ten: -6, two: 1 }], // Greek mu
    ['ns', { ten: -9, two: 1 }],
  ]),
  written: ['s', 'ms', 'us', 'ns'],
  most: 1e9,
};

const flopsQuantity: Quantity = {
  noun: 'a FLOP rate',
  expected: 'a number of FLOP a second, like 312 TFLOPS',
  units: new Map(prefixed(['FLOPS', 'FLOP/s', 'FLOPs', 'FLOPs/s', 'Flops', 'Flop/s', 'flops', 'flop/s'], 1, false)),
  written: ['TFLOPS', 'GFLOPS', 'MFLOPS', 'FLOPS'],
  most: 1e21,
};

const countQuantity: Quantity = {
  noun: 'a count',
  expected: 'a whole number, like 4096, 4,096, 8Ki (8192) or 1.5 M',
  units: new Map([
    ['', { ten: 0, two: 1 }],
    ['Ki', { ten: 0, two: 2 ** 10 }],
    ['Mi', { ten: 0, two: 2 ** 20 }],
    ['Gi', { ten: 0, two: 2 ** 30 }],
    ['M', { ten: 6, two: 1 }],
    ['B', { ten: 9, two: 1 }],
    ['G', { ten: 9, two: 1 }],
    ['T', { ten: 12, two: 1 }],
  ]),
  written: [''],
  most: Infinity,
};

const numberThenUnit = /^([+-]?(?:\d+(?:[_,]\d{3})*|\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*(.*)$/u;

/**
 * Decimal text times a unit, rounded once: the decimal prefix moves the point in the text, the binary factor is exact.
 */
function scaled(digits: string, unit: Unit): number {
  const [mantissa = '', exponent = '0'] = digits.toLowerCase().split('e');
  return Number(`${mantissa}e${Number(exponent) + unit.ten}`) * unit.two;
}

function parse(quantity: Quantity, text: string | number): number {
  const shown = typeof text === 'number' ? String(text) : `"${text}"`;
  const wrong = (hint?: string): InputError =>
    new InputError(`${shown} is not ${quantity.noun}`, { expected: quantity.expected, hint });
  const [, written = '', name = ''] = numberThenUnit.exec(String(text).trim()) ?? [];
  const digits = written.replaceAll(/[_,]/gu, '');
  if (digits === '' || Number.isNaN(Number(digits))) throw wrong();
  const unit = quantity.units.get(name);
  if (unit === undefined) {
    if (name === '' && Number(digits) === 0) return 0;
    if (name === '') throw wrong('add the unit');
    const match = nearest(name, quantity.units.keys());
    throw wrong(match === undefined ? undefined : `did you mean ${written} ${match}?`);
  }
  const value = scaled(digits, unit);
  if (!Number.isFinite(value)) throw wrong();
  if (value < 0) throw new InputError(`${shown} is negative`, { expected: quantity.expected });
  if (value > quantity.most)
    throw new InputError(`${shown} is out of range`, {
      expected: `at most ${quantity.most}${quantity.written.at(-1) === '' ? '' : ` ${quantity.written.at(-1)}`}`,
    });
  return value;
}

/** Bytes from `80 GiB`, `512 MB`, `4096 B`. Throws InputError; so do all parsers here. */
export const parseBytes = (text: string | number): number => parse(bytesQuantity, text);

/** Bytes a second from `25 GB/s`, `200 Gbps`, `400 Gbit/s`. */
export const parseBandwidth = (text: string | number): number => parse(bandwidthQuantity, text);

/** Seconds from `3 us`, `1.5 ms`, `2 s`. */
export const parseSeconds = (text: string | number): number => parse(secondsQuantity, text);

/** FLOP/s from `312 TFLOPS`; a multiply-add counts two. */
export const parseFlops = (text: string | number): number => parse(flopsQuantity, text);

/**
 * A whole number from `4096`, `4,096`, `8Ki`, `1.5 M`, `70B`. `8k` is refused: of a sequence it commonly means 8192, of
 * anything else 8000.
 */
export function parseCount(text: string | number): number {
  const kilo = /^([\d.]+)\s*k$/iu.exec(String(text).trim());
  if (kilo !== null) {
    const n = Number(kilo[1]);
    throw new InputError(`"${text}" is ambiguous`, {
      expected: countQuantity.expected,
      hint: `did you mean ${n * 1024} (${n}Ki) or ${n * 1000}?`,
    });
  }
  const value = parse(countQuantity, text);
  if (!Number.isSafeInteger(value)) {
    throw new InputError(`"${text}" is not a whole number`, { expected: countQuantity.expected });
  }
  return value;
}

/** A parser of counts from `min` (1 unless told otherwise) to `max`. */
export const countUpTo =
  (max: number, min = 1) =>
  (text: string | number): number => {
    const value = parseCount(text);
    if (value >= min && value <= max) return value;
    throw new InputError(`"${text}" is out of range`, { expected: `a whole number from ${min} to ${max}` });
  };

/** Digits that a person takes in at a glance; a larger unit with no more of them is preferred to a shorter text. */
const fewDigits = 6;

/**
 * Text that parses back to exactly `value`: in the largest unit that makes it short, else in the one that makes it
 * shortest.
 */
function write(quantity: Quantity, value: number): string {
  let best: string | undefined;
  for (const name of quantity.written) {
    const unit = quantity.units.get(name);
    if (unit === undefined) continue;
    const digits = value / unit.two / 10 ** unit.ten;
    // A unit that makes the number tiny would win by length alone with a bare "e-7".
    if (value !== 0 && digits < 1) continue;
    for (const candidate of [String(Number(digits.toPrecision(12))), String(digits)]) {
      if (scaled(candidate, unit) !== value) continue;
      const text = `${candidate} ${name}`;
      if (candidate.length <= fewDigits) return text;
      if (best === undefined || text.length < best.length) best = text;
    }
  }
  return best ?? `${value} ${quantity.written.at(-1) ?? ''}`;
}

/** Text that `parseBytes` reads back exactly, for files. */
export const writeBytes = (bytes: number): string => write(bytesQuantity, bytes);
/** Text that `parseBandwidth` reads back exactly. */
export const writeBandwidth = (bytesPerSecond: number): string => write(bandwidthQuantity, bytesPerSecond);
/** Text that `parseSeconds` reads back exactly. */
export const writeSeconds = (seconds: number): string => {
  const text = write(secondsQuantity, seconds);
  // Below the smallest unit, or not exact in any: seconds in full precision always are.
  return parseSeconds(text) === seconds ? text : `${seconds} s`;
};
/** Text that `parseFlops` reads back exactly. */
export const writeFlops = (flopsPerSecond: number): string => write(flopsQuantity, flopsPerSecond);
