/** Reads parameters out of tensors in which they lie as `TensorPlace` says. */
import type { Parameter } from '@monta/core';
import type { TensorPlace } from './hugging-face-names.js';

/** Fills `out` with elements of a tensor from `first` on. */
export type ReadElements = (tensor: string, out: Float32Array, first: number) => void;

/**
 * A whole parameter, row-major. One with strides is picked out of the span of the tensor that it lies in, which is read
 * in one go: at most twice its own elements (gates and ups in turn).
 */
export function readPlaced(
  read: ReadElements,
  { tensor, first, strides }: TensorPlace,
  parameter: Parameter,
): Float32Array {
  const [rows, columns = 1] = parameter.shape;
  const out = new Float32Array(rows * columns);
  if (strides === undefined) {
    read(tensor, out, first);
    return out;
  }
  const span = new Float32Array((rows - 1) * strides.row + (columns - 1) * strides.column + 1);
  read(tensor, span, first);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      out[row * columns + column] = span[row * strides.row + column * strides.column];
  return out;
}
