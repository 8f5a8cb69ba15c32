/** Weights and gradients as regions of templates: one of each for every slot of a layer (see `parameters.ts`). */
import type { MoeModel } from '../model/model.js';
import type { Layout } from '../layout/layout.js';
import type { Slot } from './parameter.js';
import { tpShare, type Size } from './rows.js';
import type { DType, Region } from './schedule.js';
import { add, read, type Operand, type TemplateBuilder } from './template-builder.js';

/** A rank's share of one slot, row-major. */
export interface SlotShape {
  readonly slot: Slot;
  readonly rows: Size;
  readonly columns: number;
}

export const weightId = (slot: Slot): string => `weights/${slot}`;
export const gradientId = (slot: Slot): string => `gradients/${slot}`;

const parameterRegion = (what: 'weights' | 'gradients', { slot, rows, columns }: SlotShape, dtype: DType): Region => ({
  id: what === 'weights' ? weightId(slot) : gradientId(slot),
  dtype,
  rows,
  columns,
  order: 'rows',
  life: 'parameter',
  parameter: { what, slot },
});

/** Declares a slot's weights and reads them. */
export const weight = (builder: TemplateBuilder, dtype: DType, { slot, rows, columns }: SlotShape): Operand =>
  read(builder.region(parameterRegion('weights', { slot, rows, columns }, dtype)));

/** Declares a slot's gradient, in f32, and adds to it. */
export const gradient = (builder: TemplateBuilder, { slot, rows, columns }: SlotShape): Operand =>
  add(builder.region(parameterRegion('gradients', { slot, rows, columns }, 'f32')));

/** Weights of an RMS norm over `width` columns. */
export const normShape = (slot: Slot, width: number): SlotShape => ({ slot, rows: 1, columns: width });

/** Embedding or output matrix: TP rank i holds vocabulary rows floor(V*i/tp)..floor(V*(i+1)/tp). */
export const vocabularyShape = (slot: Slot, { vocabSize, hiddenSize }: MoeModel, { tp }: Layout): SlotShape => ({
  slot,
  rows: tpShare('vocabulary', vocabSize, tp),
  columns: hiddenSize,
});

/** Slot of the output matrix. */
export const outputSlot = ({ tieEmbeddings }: MoeModel): Slot => (tieEmbeddings ? 'embedding' : 'head');
