/** Weights on a rank of a stage. */
import type { MoeModel } from '../model/model.js';
import { countParameters, type Parameters } from '../model/parameters.js';
import type { Program } from '../schedule/schedule.js';
import { stageChunks, type Chunk } from '../schedule/stages.js';
import type { StepShape } from '../schedule/step-shape.js';
import { minOf } from '../units/index.js';
import { partialLayers } from './setting.js';
import { noElements, templateElements, type Elements } from '../schedule/template-elements.js';
import { addElements, countedElements, multiTokenElements } from './states.js';

export interface StageElements {
  readonly all: Elements;
  /** Of one layer of each kind that it holds: attention, and either feed-forward. */
  readonly kinds: Elements;
}

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
  /** Of layers that the program does not compute whole, by layer. */
  readonly partial: ReadonlyMap<number, Elements>;
  /** What the first and the last stage hold besides, and a stage that is both: embedding and head may be one matrix. */
  readonly first: Elements;
  readonly last: Elements;
  readonly both: Elements;
  /** What the passes of the ends use: embedding and head may be one matrix. */
  readonly ends: Readonly<Record<'embedding' | 'head', Elements>>;
  /** Of one layer of each kind, where a stage holds both: attention, and either feed-forward. */
  readonly mixed: Elements;
}

/** As the templates of a stage's passes name them, and as the model counts what these do not name. */
export function partElements(step: StepShape, templates: Program['templates']): PartElements {
  const { model, layout } = step;
  const named = (...names: string[]): Elements => templateElements(names.flatMap((name) => templates[name] ?? []));
  const passesOf = (...blocks: string[]): string[] =>
    blocks.flatMap((block) => [`${block}.forward`, `${block}.backward`]);
  // Learned positions and biases of the output lie beside what the templates name.
  const { embedding, output } = knownEnds(model);
  const tokens = model.vocabSize * model.hiddenSize;
  const behindFirst = { dense: embedding - tokens, expert: 0 };
  const modules = multiTokenElements(model, layout);
  const behindLast = addElements({ dense: output - (model.tieEmbeddings ? 0 : tokens), expert: 0 }, modules);
  const counted = [...partialLayers(step)].map((layer) => [layer, countedElements(model, layout, layer)] as const);
  return {
    moe: named(...passesOf('attention', 'moe')),
    mlp: named(...passesOf('attention', 'mlp')),
    partial: new Map(counted),
    first: addElements(named('embedding.forward'), behindFirst),
    last: addElements(named('head.forward'), behindLast),
    both: addElements(addElements(named('embedding.forward', 'head.forward'), behindFirst), behindLast),
    ends: { embedding: named('embedding.forward'), head: named('head.forward') },
    mixed: named(...passesOf('attention', 'moe', 'mlp')),
  };
}

/** The same where experts are split over so many times fewer ranks. */
export function withExperts(parts: PartElements, times: number): PartElements {
  const scaled = ({ dense, expert }: Elements): Elements => ({ dense, expert: expert * times });
  return {
    moe: scaled(parts.moe),
    mlp: scaled(parts.mlp),
    partial: new Map([...parts.partial].map(([layer, elements]) => [layer, scaled(elements)])),
    first: scaled(parts.first),
    last: scaled(parts.last),
    both: scaled(parts.both),
    ends: parts.ends,
    mixed: scaled(parts.mixed),
  };
}

/** What a stage holds of the model. */
export interface StageHolding {
  /** Layers with experts, and without, that the program computes whole. */
  readonly moe: number;
  readonly mlp: number;
  /** The others. */
  readonly partial: readonly number[];
  readonly first: boolean;
  readonly last: boolean;
}

export const stageHolding = (step: StepShape, stage: number): StageHolding =>
  chunksHolding(step, stageChunks(step, stage));

/** Of a device with stages as far from either end (DualPipeV). */
export function foldedHolding(step: StepShape, device: number): StageHolding {
  const all = 2 * step.layout.pp;
  const pipeline = { ...step, layout: { ...step.layout, pp: all }, virtualStages: 1 };
  return chunksHolding(
    step,
    [device, all - 1 - device].flatMap((place) => stageChunks(pipeline, place)),
  );
}

/**
 * Stages among which the fullest is: the first, the second and the last, and of those between the first of each sort
 * that holds more of anything than the second. Passes in flight grow fewer from stage to stage.
 */
export function fullStages(step: StepShape, holding = stageHolding): number[] {
  const { pp } = step.layout;
  const stages = [...new Set([0, Math.min(1, pp - 1), pp - 1])];
  const seen: StageHolding[] = [holding(step, Math.min(1, pp - 1))];
  for (let stage = 2; stage < pp - 1; stage++) {
    const held = holding(step, stage);
    if (seen.some((one) => holdsAsMuch(one, held))) continue;
    seen.push(held);
    stages.push(stage);
  }
  return stages;
}

/** Whether a stage between the ends holds as many layers of every sort. */
const holdsAsMuch = (one: StageHolding, other: StageHolding): boolean =>
  one.moe >= other.moe && one.mlp >= other.mlp && other.partial.length <= one.partial.length;

function chunksHolding(step: StepShape, chunks: readonly Chunk[]): StageHolding {
  const known = partialLayers(step);
  const { moeLayers } = step.model;
  const partial: number[] = [];
  let [moe, mlp, first, last] = [0, 0, false, false];
  for (const chunk of chunks) {
    for (let layer = chunk.firstLayer; layer < chunk.endLayer; layer++)
      if (known.has(layer)) partial.push(layer);
      else if (moeLayers[layer]) moe += 1;
      else mlp += 1;
    first ||= chunk.first;
    last ||= chunk.last;
  }
  return { moe, mlp, partial, first, last };
}

/** Which kinds of layers a stage holds; of those that are not computed whole either may be. */
export const kindsHeld = ({
  moe,
  mlp,
  partial,
}: Pick<StageHolding, 'moe' | 'mlp' | 'partial'>): 'moe' | 'mlp' | 'mixed' =>
  partial.length > 0 || (moe > 0 && mlp > 0) ? 'mixed' : mlp > 0 ? 'mlp' : 'moe';

/** Weights of the layers on a stage, and of embedding and head where it holds them. */
export function stageElements({ moe, mlp, partial, first, last }: StageHolding, parts: PartElements): StageElements {
  const end = first && last ? parts.both : first ? parts.first : last ? parts.last : noElements;
  let dense = end.dense + moe * parts.moe.dense + mlp * parts.mlp.dense;
  let expert = end.expert + moe * parts.moe.expert + mlp * parts.mlp.expert;
  for (const index of partial) {
    const one = parts.partial.get(index) ?? noElements;
    dense += one.dense;
    expert += one.expert;
  }
  return { all: { dense, expert }, kinds: parts[kindsHeld({ moe, mlp, partial })] };
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
