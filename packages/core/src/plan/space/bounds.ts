/** What a person fixes or bounds in a search: one value, a range, or a list of values for each degree. */
import { InputError } from '../../units/errors.js';
import { limits } from '../../units/limits.js';
import { maxOf, minOf } from '../../units/lists.js';

/** Degrees that a search varies; `edp` follows from the others. */
export const axisNames = [
  'tp',
  'cp',
  'pp',
  'dp',
  'etp',
  'ep',
  'virtualStages',
  'firstStageLayers',
  'lastStageLayers',
  'microBatch',
] as const;
export type AxisName = (typeof axisNames)[number];

/** A value of every axis. */
export type Degrees = Readonly<Record<AxisName, number>>;

/** Values that an axis may take. */
export interface Allowed {
  readonly min: number;
  readonly max: number;
  /** Only these, where they are listed. */
  readonly values?: readonly number[];
}

export type Bounds = Readonly<Partial<Record<AxisName, Allowed>>>;

export const isAllowed = (allowed: Allowed | undefined, value: number): boolean =>
  allowed === undefined ||
  (value >= allowed.min && value <= allowed.max && (allowed.values === undefined || allowed.values.includes(value)));

/** As people write it: `4`, `1..8`, `2,4,8`. */
export const allowedText = ({ min, max, values }: Allowed): string =>
  values === undefined ? (min === max ? String(min) : `${min}..${max}`) : values.join(',');

/** Reads `4`, `1..8`, `2..` (and above) or `2,4,8`, each at least `least`. Throws `InputError`. */
export function parseAllowed(text: string, least = 1): Allowed {
  const range = /^(\d+)\.\.(\d+)?$/u.exec(text);
  const values = range === null ? text.split(',').map((part) => (/^\d+$/u.test(part) ? Number(part) : Number.NaN)) : [];
  const [min, max] =
    range === null
      ? [minOf(values), maxOf(values)]
      : [Number(range[1]), range[2] === undefined ? limits.ranks : Number(range[2])];
  if (!(min >= least && min <= max && max <= limits.ranks))
    throw new InputError(`"${text}" bounds nothing`, {
      expected: `one value like 4, a range like 1..8, or values like 2,4,8, from ${least} on`,
    });
  return values.length > 1 ? { min, max, values } : { min, max };
}
