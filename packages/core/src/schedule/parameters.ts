/**
 * Every trainable tensor under its Hugging Face name: its full shape, how a layout shards it, and over which ranks its
 * gradient is summed. The loss is scaled by the whole batch's tokens, so gradients are plain sums; nothing is averaged.
 */
import { coordinates, holdsExpert } from '../layout/mesh.js';
import type { Layout } from '../layout/layout.js';
import type { MoeModel } from '../model/model.js';
import { layerParameters, sharing } from './layer-parameters.js';
import type { Parameter } from './parameter.js';
import { sliceStart } from './rows.js';

/** The layers of a part of a model, and whether it has the ends. */
export interface ModelPart {
  readonly layers: readonly number[];
  readonly embedding: boolean;
  readonly head: boolean;
}

/** Parameters of a model, or of a part of it, in checkpoint order; only those that a rank holds, where one is given. */
export function parameters(model: MoeModel, layout: Layout, part?: ModelPart, rank?: number): Parameter[] {
  const { hiddenSize: h, vocabSize } = model;
  const matrix = { shape: [vocabSize, h], shard: { axis: 0, over: 'tp' }, bucket: 'dense', layer: -1 } as const;
  const { layers, embedding, head } = part ?? {
    layers: Array.from({ length: model.layers }, (_, layer) => layer),
    embedding: true,
    head: true,
  };
  const held = (expert: number): boolean => rank === undefined || holdsExpert(layout, model.experts, rank, expert);
  const tied = model.tieEmbeddings;
  const norms = sharing(layout).norms;
  return [
    ...(embedding || (head && tied)
      ? [{ name: 'model.embed_tokens.weight', ...matrix, slot: 'embedding' } as const]
      : []),
    ...layers.flatMap((layer) => layerParameters(model, layout, layer, held)),
    ...(head ? [{ name: 'model.norm.weight', shape: [h], bucket: norms, layer: -1, slot: 'final.norm' } as const] : []),
    ...(head && !tied ? [{ name: 'lm_head.weight', ...matrix, slot: 'head' } as const] : []),
  ];
}

/** Whether a rank holds (a shard of) a parameter: experts live on one EP index. */
export function holdsParameter(parameter: Parameter, model: MoeModel, layout: Layout, rank: number): boolean {
  return parameter.expert === undefined || holdsExpert(layout, model.experts, rank, parameter.expert);
}

/** A rank's piece along the sharded axis: [start, end) of the full axis; the whole axis where it is not sharded. */
export function shardRange(
  parameter: Parameter,
  layout: Layout,
  rank: number,
): { axis: number; start: number; end: number } {
  if (!parameter.shard) return { axis: 0, start: 0, end: parameter.shape[0] ?? 1 };
  const { axis, over } = parameter.shard;
  const length = parameter.shape[axis] ?? 1;
  const index = coordinates(layout, rank)[over];
  return { axis, start: sliceStart(length, index, layout[over]), end: sliceStart(length, index + 1, layout[over]) };
}

/** Elements of a rank's piece. */
export function shardElements(parameter: Parameter, layout: Layout, rank: number): number {
  const { axis, start, end } = shardRange(parameter, layout, rank);
  return parameter.shape.reduce((product, length, i) => product * (i === axis ? end - start : length), 1);
}

/** How many ranks hold the same element, all of one stage: what a global norm divides each rank's contribution by. */
export function parameterCopies(parameter: Parameter, layout: Layout): number {
  if (parameter.bucket === 'expert') return layout.edp * (parameter.shard ? 1 : layout.etp);
  return layout.dp * layout.cp * (parameter.shard ? 1 : layout.tp);
}
