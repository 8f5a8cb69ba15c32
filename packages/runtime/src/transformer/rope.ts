/**
 * Rotary position embedding. In Hugging Face's rotate-half convention element i of a head is paired with i + headDim /
 * 2; interleaved, 2i with 2i + 1.
 */
import type { RopeScaling } from '@monta/core';
import { ropeFrequencies } from './rope-frequencies.js';

export interface RopeTable {
  /** Elements of a head that turn. */
  readonly headDim: number;
  readonly positions: number;
  /** positions x headDim / 2 each. */
  readonly cosine: Float32Array;
  readonly sine: Float32Array;
}

/**
 * Angles position * frequency, for positions 0 to `positions` - 1; frequencies theta^(-2i / headDim), rescaled where
 * `scaling` says so. They and the angles are rounded to float32 as Hugging Face does.
 */
export function ropeTable(positions: number, headDim: number, theta: number, scaling?: RopeScaling): RopeTable {
  const { frequencies, attentionFactor } = ropeFrequencies(headDim, theta, scaling);
  const half = headDim / 2;
  const cosine = new Float32Array(positions * half);
  const sine = new Float32Array(positions * half);
  for (let i = 0; i < half; i++)
    for (let position = 0; position < positions; position++) {
      const angle = Math.fround(position * frequencies[i]);
      cosine[position * half + i] = Math.cos(angle) * attentionFactor;
      sine[position * half + i] = Math.sin(angle) * attentionFactor;
    }
  return { headDim, positions, cosine, sine };
}

/** How rows lie in a plane, and how many of them are a sequence. */
export interface RopeRows {
  readonly rows: number;
  readonly heads: number;
  readonly sequence: number;
  /** Elements from one head to the next, of which those from `offset` on turn; absent: all of a head turn. */
  readonly stride?: number;
  readonly offset?: number;
  readonly interleaved?: boolean | undefined;
}

function rotate({
  table,
  x,
  of: { rows, heads, sequence, stride = table.headDim, offset = 0, interleaved = false },
  direction,
}: {
  readonly table: RopeTable;
  readonly x: Float32Array;
  readonly of: RopeRows;
  readonly direction: 1 | -1;
}): void {
  const { headDim, cosine, sine } = table;
  if (sequence > table.positions)
    throw new RangeError(`rope table holds ${table.positions} positions, the sequence has ${sequence}`);
  const half = headDim / 2;
  const [step, apart] = interleaved ? [2, 1] : [1, half];
  for (let row = 0; row < rows; row++) {
    const angle = (row % sequence) * half;
    for (let head = 0; head < heads; head++) {
      const from = (row * heads + head) * stride + offset;
      for (let i = 0; i < half; i++) {
        const c = cosine[angle + i];
        const s = direction * sine[angle + i];
        const lowAt = from + i * step;
        const highAt = lowAt + apart;
        const low = x[lowAt];
        const high = x[highAt];
        x[lowAt] = low * c - high * s;
        x[highAt] = high * c + low * s;
      }
    }
  }
}

/** In place on x: rows x heads x headDim; row r has position r mod `sequence`. */
export function ropeForward(table: RopeTable, x: Float32Array, of: RopeRows): void {
  rotate({ table, x, of, direction: 1 });
}

/** In place on the gradient: the transpose, which is the inverse rotation (scaled as the rotation is). */
export function ropeBackward(table: RopeTable, dx: Float32Array, of: RopeRows): void {
  rotate({ table, x: dx, of, direction: -1 });
}
