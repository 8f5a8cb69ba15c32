/**
 * Which layers the stages of a pipeline may hold: as balanced as they can be, or fewer on the first and the last stage,
 * which hold embedding, output layer and multi-token prediction besides (Megatron-Core's
 * `--decoder-first-pipeline-num-layers` and `--decoder-last-pipeline-num-layers`).
 */
import { evenLayers } from '../../estimate/index.js';
import type { MoeModel } from '../../model/model.js';

export interface StageSplit {
  /** Layers of the first virtual stage, and of the last. */
  readonly first: number;
  readonly last: number;
  /** Of each virtual stage; left out where they are balanced. */
  readonly layersOfStages?: readonly number[];
}

/** Stages of a pipeline, and virtual ones of each. */
interface Shape {
  readonly pp: number;
  readonly virtualStages: number;
}

/**
 * Layers that an end may hold less than those between: what stands on it takes no longer than so many layers. A module
 * of multi-token prediction is a layer and an output layer.
 */
const [leastFewer, fewerOfModule] = [4, 2];

const known = new WeakMap<MoeModel, Map<number, readonly StageSplit[]>>();

/** The balanced split first; of others all stages between the ends hold the same. */
export function stageSplits(model: MoeModel, { pp, virtualStages }: Shape): readonly StageSplit[] {
  const ofModel = known.get(model) ?? new Map<number, readonly StageSplit[]>();
  known.set(model, ofModel);
  // Of the same product, chunks lie on other stages: arrays are kept apart.
  const key = pp * 2 ** 12 + virtualStages;
  const found = ofModel.get(key) ?? splitsOf(model, pp * virtualStages);
  ofModel.set(key, found);
  return found;
}

function splitsOf({ layers, multiTokenLayers }: MoeModel, stages: number): StageSplit[] {
  if (stages === 1) return [{ first: layers, last: layers }];
  const even = evenLayers(layers, stages, multiTokenLayers);
  const evenFirst = even[0] ?? 0;
  const evenLast = even.at(-1) ?? 0;
  const splits: StageSplit[] = [{ first: evenFirst, last: evenLast }];
  const between = stages - 2;
  const fewer = { first: leastFewer, last: leastFewer + fewerOfModule * multiTokenLayers };
  for (let each = Math.floor(layers / stages); ; each++) {
    const ends = layers - between * each;
    if (ends < 2 * each - fewer.first - fewer.last || ends < 1) break;
    for (let first = Math.max(1, each - fewer.first); first <= Math.min(each, ends); first++) {
      const last = ends - first;
      if (last > each || last < each - fewer.last) continue;
      if (first === evenFirst && last === evenLast) continue;
      // Two stages have nothing between them: `each` is then the fuller one.
      if (between === 0 && Math.max(first, last) < each) continue;
      splits.push({ first, last, layersOfStages: [first, ...Array.from({ length: between }, () => each), last] });
    }
  }
  return splits;
}

/** The split that degrees name, or undefined. */
export const splitOf = (
  model: MoeModel,
  { firstStageLayers, lastStageLayers, ...shape }: Shape & Record<'firstStageLayers' | 'lastStageLayers', number>,
): StageSplit | undefined =>
  stageSplits(model, shape).find(({ first, last }) => first === firstStageLayers && last === lastStageLayers);
