/** How many layers of each kind the stages of a pipeline hold, stages that are alike counted once. */
import type { LayerKinds } from './layer-amounts.js';

/** Stages that hold the same. */
export interface StageKind {
  /** Layers by kind. */
  readonly layers: readonly number[];
  /** Holds the embedding. */
  readonly first: boolean;
  /** Holds the output layer, and multi-token prediction. */
  readonly last: boolean;
  /** How many stages. */
  readonly stages: number;
}

/**
 * Layers of each virtual stage where nothing else is said: even; and where they do not divide, embedding, output layer
 * and every module of multi-token prediction stand in the place of a layer, as in Megatron-Core's
 * `account_for_embedding_in_pipeline_split` and in published layouts (`Et|(tt|)*30L` is 61 layers on 32 stages).
 */
export function evenLayers(layers: number, stages: number, multiTokenLayers = 0): number[] {
  if (layers % stages === 0) return Array.from({ length: stages }, () => layers / stages);
  const most = Math.ceil((layers + 2 + multiTokenLayers) / stages);
  const counts = Array.from({ length: stages }, () => most);
  const last = stages - 1;
  counts[0] = most - 1;
  // A module of multi-token prediction is a layer and an output layer.
  counts[last] = Math.max(0, most - 1 - 2 * multiTokenLayers);
  let over = counts.reduce((a, b) => a + b, 0) - layers;
  // What is too many comes off the stages in turn, behind the first; what lacks goes to the first and those behind it.
  for (let turn = 0; over > 0; turn++) {
    const place = 1 + (turn % last);
    if ((counts[place] ?? 0) === 0) continue;
    counts[place] = (counts[place] ?? 0) - 1;
    over--;
  }
  for (let place = 0; over < 0; place = (place + 1) % stages, over++) counts[place] = (counts[place] ?? 0) + 1;
  return counts;
}

/** `folded`: stages lie in a V, so that a device holds those as far from either end. */
function stageKinds(
  { kinds, kindOf }: LayerKinds,
  pp: number,
  layersOfStages: readonly number[],
  folded = false,
): StageKind[] {
  const counts = Array.from({ length: pp }, () => kinds.map(() => 0));
  let layer = 0;
  layersOfStages.forEach((held, place) => {
    const stage = counts[folded && place >= pp ? 2 * pp - 1 - place : place % pp] ?? [];
    for (const end = layer + held; layer < end; layer++) {
      const kind = kindOf[layer] ?? 0;
      stage[kind] = (stage[kind] ?? 0) + 1;
    }
  });
  const alike = new Map<string, StageKind>();
  counts.forEach((layers, stage) => {
    const [first, last] = [stage === 0, stage === (folded ? 0 : pp - 1)];
    const key = `${layers.join(' ')} ${first} ${last}`;
    alike.set(key, { layers, first, last, stages: (alike.get(key)?.stages ?? 0) + 1 });
  });
  return [...alike.values()];
}

const known = new WeakMap<LayerKinds, Map<string, readonly StageKind[]>>();

/** A pipeline's shape: what decides which layers lie where. */
export interface PipelineShape {
  readonly pp: number;
  readonly virtualStages: number;
  readonly layersOfStages?: readonly number[];
  readonly multiTokenLayers: number;
  /** As `stageKinds`. */
  readonly folded?: boolean;
}

/** `stageKinds`, kept. */
export function knownStages(kinds: LayerKinds, shape: PipelineShape): readonly StageKind[] {
  const { pp, virtualStages, layersOfStages, multiTokenLayers, folded = false } = shape;
  const ofModel = known.get(kinds) ?? new Map<string, readonly StageKind[]>();
  known.set(kinds, ofModel);
  const key = `${pp} ${virtualStages} ${folded} ${layersOfStages?.join(' ') ?? multiTokenLayers}`;
  const found = ofModel.get(key);
  if (found !== undefined) return found;
  const layers = layersOfStages ?? evenLayers(kinds.kindOf.length, pp * virtualStages, multiTokenLayers);
  const stages = stageKinds(kinds, pp, layers, folded);
  ofModel.set(key, stages);
  return stages;
}
