/** Which layers lie on which stage of the pipeline. */
import type { Layout } from '../layout/layout.js';
import type { MoeModel } from '../model/model.js';
import { InputError } from '../units/errors.js';
import { sliceStart } from './rows.js';

export interface StageShape {
  readonly model: Pick<MoeModel, 'layers'>;
  readonly layout: Pick<Layout, 'pp'>;
  /** Virtual stages (model chunks) that each stage of the pipeline holds; 1 when left out. */
  readonly virtualStages?: number;
  /** Layers of each virtual stage, in the order in which a token passes them; as even as can be when left out. */
  readonly layersOfStages?: readonly number[];
}

/** A run of layers on one device. */
export interface Chunk {
  /** Place among the virtual stages, in the order in which a token passes them. */
  readonly place: number;
  readonly firstLayer: number;
  readonly endLayer: number;
  /** Holds the embedding. */
  readonly first: boolean;
  /** Holds the head. */
  readonly last: boolean;
}

const known = new WeakMap<readonly number[], readonly number[]>();

/** By place, the layers in front of it; behind the last, all. Kept: who asks for one stage asks for all of them. */
function layersBefore(layersOfStages: readonly number[]): readonly number[] {
  const found = known.get(layersOfStages);
  if (found !== undefined) return found;
  const before = [0];
  let sum = 0;
  for (const layers of layersOfStages) before.push((sum += layers));
  known.set(layersOfStages, before);
  return before;
}

/**
 * Chunks of a stage, first to last. Chunk c of stage s is virtual stage c * pp + s. Throws `InputError` where they do
 * not add up.
 */
export function stageChunks({ model, layout, virtualStages = 1, layersOfStages }: StageShape, stage: number): Chunk[] {
  const { pp } = layout;
  const all = pp * virtualStages;
  if (all > model.layers)
    throw new InputError(`${all} virtual stages for ${model.layers} layers`, {
      path: 'pp',
      expected: 'a layer each at least',
    });
  const before = layersOfStages === undefined ? undefined : layersBefore(layersOfStages);
  if (layersOfStages !== undefined && (layersOfStages.length !== all || before?.at(-1) !== model.layers))
    throw new InputError(`stages of ${layersOfStages.join(', ')} layers`, {
      path: 'layersOfStages',
      expected: `${all} numbers with the sum ${model.layers}`,
    });
  const start = (place: number): number =>
    before === undefined ? sliceStart(model.layers, place, all) : (before[place] ?? 0);
  return Array.from({ length: virtualStages }, (_, chunk): Chunk => {
    const place = chunk * pp + stage;
    const [firstLayer, endLayer] = [start(place), start(place + 1)];
    return { place, firstLayer, endLayer, first: place === 0, last: place === all - 1 };
  });
}
