/** Weights on a rank of a stage. */
import type { MoeModel } from '../model/model.js';
import { countParameters, type Parameters } from '../model/parameters.js';
import type { Program, Template } from '../schedule/schedule.js';
import { stageChunks } from '../schedule/stages.js';
import type { StepShape } from '../schedule/step-shape.js';
import { minOf } from '../units/index.js';
import { partialLayers } from './setting.js';
import {
  addElements,
  countedElements,
  multiTokenElements,
  noElements,
  templateElements,
  type Elements,
} from './states.js';

export interface StageElements {
  readonly all: Elements;
  /** Of the largest layer. */
  readonly layer: Elements;
  /** Of one layer of each kind: attention, and either feed-forward. */
  readonly kinds: Elements;
}

const sizeOf = ({ dense, expert }: Elements): number => dense + expert;

const ends = new WeakMap<MoeModel, Pick<Parameters, 'embedding' | 'output'>>();

/** Counted once: searches ask for every stage. */
function knownEnds(model: MoeModel): Pick<Parameters, 'embedding' | 'output'> {
  const found = ends.get(model) ?? countParameters(model);
  ends.set(model, found);
  return found;
}

/** Weights on a rank of what stages are made of. */
export interface PartElements {
  /** Of one layer with experts, and of one without. */
  readonly moe: Elements;
  readonly mlp: Elements;
  /** What the first and the last stage hold besides, and a stage that is both: embedding and head may be one matrix. */
  readonly first: Elements;
  readonly last: Elements;
  readonly both: Elements;
  /** Of one layer of each kind: attention, and either feed-forward. */
  readonly kinds: Elements;
}

/** As the templates of a stage's passes name them. */
export function partElements(templates: Program['templates']): PartElements {
  const named = (...names: string[]): Template[] => names.flatMap((name) => templates[name] ?? []);
  const layerOf = (block: string): Template[] =>
    ['attention', block].flatMap((part) => named(`${part}.forward`, `${part}.backward`));
  return {
    moe: templateElements(layerOf('moe')),
    mlp: templateElements(layerOf('mlp')),
    first: templateElements(named('embedding.forward')),
    last: templateElements(named('head.forward')),
    both: templateElements(named('embedding.forward', 'head.forward')),
    kinds: templateElements([...layerOf('moe'), ...layerOf('mlp')]),
  };
}

/** Weights of the program's layers on a stage, and of embedding and head where it holds them. */
export function stageElements(step: StepShape, stage: number, parts: PartElements): StageElements {
  const { model, layout } = step;
  const partial = partialLayers(step);
  const chunks = stageChunks(step, stage);
  let all = noElements;
  let layer = noElements;
  for (const { firstLayer, endLayer } of chunks)
    for (let index = firstLayer; index < endLayer; index++) {
      const one = partial.has(index)
        ? countedElements(model, layout, index)
        : parts[model.moeLayers[index] ? 'moe' : 'mlp'];
      all = addElements(all, one);
      if (sizeOf(one) > sizeOf(layer)) layer = one;
    }
  const [first, last] = [chunks.some((chunk) => chunk.first), chunks.some((chunk) => chunk.last)];
  all = addElements(all, first && last ? parts.both : first ? parts.first : last ? parts.last : noElements);
  // Learned positions and biases of the output lie beside what the templates name.
  const { embedding, output } = knownEnds(model);
  const tokens = model.vocabSize * model.hiddenSize;
  const beside = (first ? embedding - tokens : 0) + (last ? output - (model.tieEmbeddings ? 0 : tokens) : 0);
  all = addElements(all, { dense: beside, expert: 0 });
  if (last) all = addElements(all, multiTokenElements(model, layout));
  return { all, layer, kinds: parts.kinds };
}

/**
 * The fewest elements that the fullest stage's layers can have on a rank, as the model counts them: cheap, for a first
 * sieve.
 */
export function fewestElements(step: StepShape): Elements {
  const { model, layout } = step;
  const [first, last] = [0, model.layers - 1].map((layer) => countedElements(model, layout, layer));
  const kinds = first !== undefined && last !== undefined ? [first, last] : [];
  const least = (part: keyof Elements): number => minOf(kinds.map((one) => one[part]));
  const layers = Math.floor(model.layers / layout.pp);
  return { dense: layers * least('dense'), expert: layers * least('expert') };
}
