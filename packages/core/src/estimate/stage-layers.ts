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
 * Layers of each virtual stage where nothing else is said: even, and where they do not divide, one more on those that
 * hold neither the output layer nor the embedding, as Megatron-Core's layouts do.
 */
export function evenLayers(layers: number, stages: number): number[] {
  const least = Math.floor(layers / stages);
  const counts = Array.from({ length: stages }, () => least);
  const inner = Array.from({ length: stages }, (_, place) => place).filter((place) => place > 0 && place < stages - 1);
  const order = [...inner, 0, stages - 1];
  for (const place of order.slice(0, layers - least * stages)) counts[place] = least + 1;
  return counts;
}

export function stageKinds(
  { kinds, kindOf }: LayerKinds,
  pp: number,
  virtualStages: number,
  layersOfStages: readonly number[] = evenLayers(kindOf.length, pp * virtualStages),
): StageKind[] {
  const counts = Array.from({ length: pp }, () => kinds.map(() => 0));
  let layer = 0;
  layersOfStages.forEach((held, place) => {
    const stage = counts[place % pp] ?? [];
    for (const end = layer + held; layer < end; layer++) {
      const kind = kindOf[layer] ?? 0;
      stage[kind] = (stage[kind] ?? 0) + 1;
    }
  });
  const alike = new Map<string, StageKind>();
  counts.forEach((layers, stage) => {
    const [first, last] = [stage === 0, stage === pp - 1];
    const key = `${layers.join(' ')} ${first} ${last}`;
    alike.set(key, { layers, first, last, stages: (alike.get(key)?.stages ?? 0) + 1 });
  });
  return [...alike.values()];
}
