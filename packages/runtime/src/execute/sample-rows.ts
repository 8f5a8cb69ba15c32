/**
 * Rows of a benchmark's tokens: their elements tell tokens and columns apart, so that a row that comes back is known to
 * be the one that was sent.
 */
import { InputError } from '@monta/core/units';
import type { Device, HostArray } from '../device/device.js';
import { fromBfloat16, toBfloat16 } from '../device/half.js';
import type { View } from '../device/view.js';

/** Elements are multiples of 2 / period in [-1, 1), in an order that repeats after `period`. */
const period = 2003;
const [tokenStep, columnStep] = [7919 % period, 104_729 % period];

/** Types in which rows travel. */
export type RowType = 'f32' | 'bf16';

/** The element of each place in the period, as a type holds it. */
const tables: { readonly [Type in RowType]: Float64Array } = {
  f32: Float64Array.from({ length: period }, (_, place) => Math.fround((2 * place) / period - 1)),
  bf16: Float64Array.from({ length: period }, (_, place) => fromBfloat16(toBfloat16((2 * place) / period - 1))),
};
const halfTable = Uint16Array.from(tables.bf16, toBfloat16);

/** Relative rounding of the type, beside elements of [-1, 1): a result that differs by more is wrong. */
export const rowTolerance: Readonly<Record<RowType, number>> = { f32: 1e-4, bf16: 2e-2 };

/** Throws `InputError` for a type in which no rows travel on a device. */
export function rowType(type: string, device: Device): RowType {
  if (type === 'f32' || (type === 'bf16' && device.kind === 'cuda')) return type;
  throw new InputError(`${device.kind === 'cpu' ? 'the CPU' : 'the card'} does not send ${type} here`, {
    path: 'dtype',
    expected: device.kind === 'cuda' ? 'f32 or bf16' : 'f32',
  });
}

/** Tokens, counted over the job, and the width of their rows. */
export interface RowRange {
  readonly first: number;
  readonly rows: number;
  readonly width: number;
}

/** Place in the period of a row's first element. */
const rowPlace = (token: number): number => ((token + 1) * tokenStep) % period;

/** Rows of tokens from `first` on, on the host. */
export function sampleRows(type: RowType, { first, rows, width }: RowRange): HostArray {
  const [values, table] =
    type === 'f32' ? [new Float32Array(rows * width), tables.f32] : [new Uint16Array(rows * width), halfTable];
  for (let row = 0, at = 0; row < rows; row++)
    for (let column = 0, place = rowPlace(first + row); column < width; column++) {
      values[at++] = table[place];
      place += columnStep;
      if (place >= period) place -= period;
    }
  return values;
}

/** Runs of rows that `spreadRuns` takes. */
const mostRuns = 16;

/** So many of some rows, in runs spread evenly from the first to the last; all where there are no more. */
export function spreadRuns(rows: number, wanted: number): { readonly start: number; readonly count: number }[] {
  if (rows <= wanted) return [{ start: 0, count: rows }];
  const runs = Math.max(1, Math.min(mostRuns, Math.floor(wanted)));
  const count = Math.max(1, Math.floor(wanted / runs));
  if (runs === 1) return [{ start: 0, count }];
  return Array.from({ length: runs }, (_, run) => ({
    start: Math.round((run * (rows - count)) / (runs - 1)),
    count,
  }));
}

/** What a row should be, beside the token's own. */
export interface ExpectedRow {
  readonly factor: (row: number) => number;
  /** The token's own row as it arrives; as it was sent when left out. */
  readonly arrived?: (row: Float32Array) => Float32Array;
}

/** Largest difference of an element of `found` from the row's factor times the token's own; NaN counts as an error. */
export function rowError(
  type: RowType,
  range: RowRange,
  found: HostArray,
  { factor, arrived = (row) => row }: ExpectedRow,
): number {
  const { first, rows, width } = range;
  const table = tables[type];
  const values = type === 'bf16' ? fromBfloat16Array(found) : found;
  const sent = new Float32Array(width);
  let largest = 0;
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0, place = rowPlace(first + row); column < width; column++) {
      sent[column] = table[place];
      place += columnStep;
      if (place >= period) place -= period;
    }
    const own = arrived(sent);
    const times = factor(row);
    for (let column = 0; column < width; column++) {
      const error = Math.abs(values[at++] - times * own[column]);
      if (!(error <= largest)) largest = error;
    }
  }
  return largest;
}

/** bfloat16 bits as float32, whose upper halves they are. */
function fromBfloat16Array(bits: ArrayLike<number>): Float32Array {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < words.length; i++) words[i] = bits[i] << 16;
  return new Float32Array(words.buffer);
}

/** Keeps the rows that it made last: many executors of one shape share them. */
export class RowStore {
  readonly #device: Device;
  #key = '';
  #view: View | undefined;

  constructor(device: Device) {
    this.#device = device;
  }

  rows(type: RowType, range: RowRange): View {
    const key = [type, range.first, range.rows, range.width].join(' ');
    if (this.#view !== undefined && this.#key === key) return this.#view;
    this.close();
    const view = this.#device.allocate(type, range.rows * range.width);
    this.#device.write(view, sampleRows(type, range));
    [this.#key, this.#view] = [key, view];
    return view;
  }

  close(): void {
    if (this.#view !== undefined) this.#device.free(this.#view);
    this.#view = undefined;
  }
}
