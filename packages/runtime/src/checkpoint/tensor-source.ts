/**
 * Where the tensors of a model come from: a Hugging Face folder or a training state, read block by block, so that a
 * rank takes its shards and a converter a few rows at a time.
 */
import { parameters, shardRange } from '@monta/core/schedule';
import type { Layout, MoeModel, Parameter } from '@monta/core';
import type { ParameterData, ParameterStore } from '../execute/index.js';

/** What a checkpoint can hold of a parameter: the float32 weight and AdamW's moments. */
export type StateKind = Exclude<ParameterData, 'gradient'>;
export const stateKinds: readonly StateKind[] = ['weight', 'firstMoment', 'secondMoment'];

/** Rows and columns [first, end) of a parameter; one of a single axis has rows of one column. */
export interface Block {
  readonly firstRow: number;
  readonly endRow: number;
  readonly firstColumn: number;
  readonly endColumn: number;
}

export interface TensorSource {
  readonly model: MoeModel;
  /** States besides the weights are absent in a model folder; they start as zeros. */
  readonly kinds: readonly StateKind[];
  /**
   * Fills `out` with a block of a parameter, row-major. `parameter` is one of `parameters(model, …)`. Throws
   * InputError.
   */
  readBlock(parameter: Parameter, kind: StateKind, block: Block, out: Float32Array): void;
  close(): void;
}

/** One rank. */
export const loneLayout: Layout = { tp: 1, cp: 1, dp: 1, pp: 1, ep: 1, etp: 1, edp: 1, sequenceParallel: false };

/** All parameters of a model in checkpoint order, sharded as a layout does. */
export const modelParameters = (model: MoeModel, layout: Layout = loneLayout): Parameter[] => parameters(model, layout);

/** Conversions go through pieces of about this many elements. */
export const pieceElements = 1 << 18;

export const parameterRows = ({ shape }: Parameter): number => shape[0];
export const parameterColumns = ({ shape }: Parameter): number => shape[1] ?? 1;
export const parameterElements = (parameter: Parameter): number =>
  parameterRows(parameter) * parameterColumns(parameter);

export const blockElements = ({ firstRow, endRow, firstColumn, endColumn }: Block): number =>
  (endRow - firstRow) * (endColumn - firstColumn);

/** The block of a parameter that a rank holds. */
export function shardBlock(parameter: Parameter, layout: Layout, rank: number): Block {
  const { axis, start, end } = shardRange(parameter, layout, rank);
  const [rows, columns] = [parameterRows(parameter), parameterColumns(parameter)];
  return axis === 0
    ? { firstRow: start, endRow: end, firstColumn: 0, endColumn: columns }
    : { firstRow: 0, endRow: rows, firstColumn: start, endColumn: end };
}

/** Cuts a block into runs of whole rows of about `pieceElements` elements (at least one row). */
export function* rowPieces(block: Block): Generator<Block> {
  const step = Math.max(1, Math.floor(pieceElements / Math.max(1, block.endColumn - block.firstColumn)));
  for (let row = block.firstRow; row < block.endRow; row += step)
    yield { ...block, firstRow: row, endRow: Math.min(block.endRow, row + step) };
}

/**
 * Fills `out` with a block of a row-major matrix `width` columns wide, of which `read` gives any run of elements. Whole
 * rows are read in one go, part of the columns through pieces of whole rows.
 */
export function readMatrixBlock(
  read: (out: Float32Array, first: number) => void,
  width: number,
  block: Block,
  out: Float32Array,
): void {
  const columns = block.endColumn - block.firstColumn;
  if (columns === width) {
    read(out, block.firstRow * width);
    return;
  }
  for (const piece of rowPieces({ ...block, firstColumn: 0, endColumn: width })) {
    const rows = new Float32Array(blockElements(piece));
    read(rows, piece.firstRow * width);
    for (let row = piece.firstRow; row < piece.endRow; row++) {
      const from = (row - piece.firstRow) * width + block.firstColumn;
      out.set(rows.subarray(from, from + columns), (row - block.firstRow) * columns);
    }
  }
}

/** Fills a rank's weights, and moments where the source has them, with its shards of a source of the same model. */
export function loadShards(store: ParameterStore, source: TensorSource): void {
  for (const { parameter } of store.held())
    for (const kind of source.kinds) {
      const block = shardBlock(parameter, store.step.layout, store.rank);
      const columns = block.endColumn - block.firstColumn;
      for (const piece of rowPieces(block)) {
        const values = new Float32Array(blockElements(piece));
        source.readBlock(parameter, kind, piece, values);
        store.write(parameter.name, kind, values, (piece.firstRow - block.firstRow) * columns);
      }
    }
}
