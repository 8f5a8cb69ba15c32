/**
 * Weights in 8-bit floats with a scale for each block of rows and columns (DeepSeek-V3's form, `quantization_config` of
 * quant_method fp8): the weight is the stored number times the `weight_scale_inv` of its block.
 */
import { InputError, isRecord, shownValue } from '@monta/core/units';
import { readDocument } from '@monta/core/units/documents';

/** Ending of the name of a weight's scales. */
const scaleEnding = '_scale_inv';

export const scalesOf = (tensor: string): string => `${tensor}${scaleEnding}`;

export interface BlockSize {
  readonly rows: number;
  readonly columns: number;
}

/**
 * Block size that a config states; undefined when it has no such quantization. Throws InputError for another kind of
 * quantization.
 */
export function blockSizeOf(config: string, file: string): BlockSize | undefined {
  const parsed = readDocument(config, file).value;
  const quantization = isRecord(parsed) ? parsed['quantization_config'] : undefined;
  if (!isRecord(quantization)) return undefined;
  const size = quantization['weight_block_size'];
  const [rows, columns] = Array.isArray(size) ? size : [];
  const counts = (value: unknown): value is number => typeof value === 'number' && Number.isInteger(value) && value > 0;
  if (quantization['quant_method'] === 'fp8' && counts(rows) && counts(columns)) return { rows, columns };
  throw new InputError(`weights are quantized by ${shownValue(quantization['quant_method'] ?? 'something')}`, {
    file,
    path: 'quantization_config',
    expected: 'fp8 with weight_block_size, or weights that are not quantized',
  });
}

/** Shape of the scales of a matrix. */
export const scaleShape = ([rows, columns]: readonly [number, number], block: BlockSize): [number, number] => [
  Math.ceil(rows / block.rows),
  Math.ceil(columns / block.columns),
];

/**
 * Multiplies elements of a matrix, from its element `first` on in row-major order, by the scales of their blocks
 * (row-major, as many columns as blocks lie beside each other).
 */
export function applyScales({
  values,
  first,
  width,
  scales,
  block,
}: {
  readonly values: Float32Array;
  readonly first: number;
  readonly width: number;
  readonly scales: Float32Array;
  readonly block: BlockSize;
}): void {
  const across = Math.ceil(width / block.columns);
  for (let i = 0; i < values.length; i++) {
    const row = Math.floor((first + i) / width);
    const column = (first + i) % width;
    values[i] *= scales[Math.floor(row / block.rows) * across + Math.floor(column / block.columns)];
  }
}
