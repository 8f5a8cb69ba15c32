/**
 * Programs: a whole training step, the passes of a pipeline stage, and the MoE layer alone (for benchmarks and for
 * choosing a dispatcher).
 */
import { InputError } from '../units/errors.js';
import { appendAll } from '../units/lists.js';
import { memoized } from '../units/memoized.js';
import { besidePasses } from './beside-passes.js';
import { attentionBackward, attentionForward } from './attention-layer.js';
import { unsupportedStrategy, type Strategy } from './dispatchers/strategies.js';
import { embeddingBackward, embeddingForward, headBackward, headForward } from './ends.js';
import { mlpBackward, mlpForward } from './mlp-layer.js';
import { moeBackward } from './moe-backward.js';
import { moeForward } from './moe-forward.js';
import type { MoeModel } from '../model/model.js';
import type { MoeShape } from './moe-shape.js';
import { pipelineOrder, type PipelinePass } from './pipeline-order.js';
import type { ModelPart } from './parameters.js';
import { recomputed, type Recompute, type RecomputedTemplate } from './recompute.js';
import type { Pass, Program, ProgramNode, Template } from './schedule.js';
import { sharedStates } from './shared-states.js';
import { stageChunks, type Chunk } from './stages.js';
import { moeShape, type StepShape } from './step-shape.js';
import { isSend, transferTemplates } from './transfers.js';
import { reductionTemplates, updateTemplate } from './update.js';

const byName = (templates: readonly Template[]): Record<string, Template> =>
  Object.fromEntries(templates.map((template) => [template.name, template]));

function refuse(strategy: Strategy, shape: MoeShape): void {
  const why = unsupportedStrategy(strategy, shape);
  if (why !== undefined)
    throw new InputError(why, { hint: 'choose another dispatcher (scattered serves every layout), or another etp' });
}

/** What the passes of a stage are made of: layers' parts, and the ends of the model. */
export const passBlocks = ['ends', 'attention', 'moe', 'mlp'] as const;
export type PassBlock = (typeof passBlocks)[number];

interface Pair {
  readonly forward: Template;
  readonly backward: Template;
}

/** Whole templates of a layer's part. */
const layerBlocks: Readonly<Record<Exclude<PassBlock, 'ends'>, (step: StepShape) => Pair>> = {
  attention: (step) => ({ forward: attentionForward(step), backward: attentionBackward(step) }),
  moe: (step) => {
    const shape = moeShape(step);
    refuse(step.strategy, shape);
    return { forward: moeForward(shape, step.strategy), backward: moeBackward(shape, step.strategy) };
  },
  mlp: (step) => ({ forward: mlpForward(step), backward: mlpBackward(step) }),
};

/** The parts that a model's layers have. */
function layerBlocksOf({ moeLayers }: MoeModel): Exclude<PassBlock, 'ends'>[] {
  return [
    'attention',
    ...(moeLayers.includes(true) ? (['moe'] as const) : []),
    ...(moeLayers.includes(false) ? (['mlp'] as const) : []),
  ];
}

const endTemplates = (step: StepShape): Template[] => [
  embeddingForward(step),
  headForward(step),
  headBackward(step),
  embeddingBackward(step),
];

const splitTemplates = ({ forward, again }: RecomputedTemplate): Template[] => (again ? [forward, again] : [forward]);

/** Templates of one block that keep all they make: its backward and its forward, or those of both ends. */
export function wholeTemplates(step: StepShape, block: PassBlock): readonly Template[] {
  if (block === 'ends') return endTemplates(step);
  const { forward, backward } = layerBlocks[block](step);
  return [backward, forward];
}

/** The same with recomputation: what passes take of memory is the same for every stage. */
export function blockTemplates(
  whole: readonly Template[],
  block: PassBlock,
  recompute: Recompute,
): Record<string, Template> {
  if (block === 'ends') return byName(whole);
  return byName(
    whole.flatMap((template) =>
      template.of?.pass === 'forward' ? splitTemplates(recomputed(template, recompute)) : [template],
    ),
  );
}

/** Templates of the passes, recomputation included. */
interface PassTemplates {
  readonly all: readonly Template[];
  /** By name of a forward template, whether a part of it runs again before the backward. */
  readonly again: ReadonlySet<string>;
}

/** Of all stages, which share them. */
const passTemplates = memoized((step: StepShape): PassTemplates => {
  const { recompute = 'none' } = step;
  const pairs = layerBlocksOf(step.model).map((block) => layerBlocks[block](step));
  const split = pairs.map(({ forward }): RecomputedTemplate => recomputed(forward, recompute));
  return {
    all: [...endTemplates(step), ...pairs.map(({ backward }) => backward), ...split.flatMap(splitTemplates)],
    again: new Set(split.flatMap(({ again }) => (again ? [again.name] : []))),
  };
});

type Behind = (microBatch: number, layer: number) => void;

/** Nodes of the passes of a stage. What each waits for follows from the regions that it uses. */
class Nodes {
  readonly list: ProgramNode[] = [];
  readonly #step: StepShape;
  readonly #again: ReadonlySet<string>;
  /**
   * Called where the backward of a layer has ended (the head counts as the layer behind the last, the embedding as -1).
   */
  readonly #behind: Behind;

  constructor(step: StepShape, again: ReadonlySet<string>, behind: Behind = () => undefined) {
    this.#step = step;
    this.#again = again;
    this.#behind = behind;
  }

  push(template: string, layer: number, microBatch: number, pass: Pass): void {
    this.list.push({ template, layer, microBatch, pass, after: [] });
  }

  /**
   * A receive is issued once what was computed before it has ended: it would hold multiprocessors while it waits
   * (Megatron-Core's `send_forward_recv_backward` and kin). Interleaved stages issue it ahead, beside the pass before.
   */
  #receive(microBatch: number, pass: 'forward' | 'backward'): void {
    const computed = this.list.findLastIndex(({ template }) => !isSend(template));
    const ahead = (this.#step.virtualStages ?? 1) > 1;
    const after = ahead || computed < 0 ? [] : [computed];
    this.list.push({ template: `receive.${pass}`, layer: -1, microBatch, pass, after });
  }

  /** Behind the end of the last node of another pass. */
  pushBehind(template: string, microBatch: number, pass: Pass): void {
    const last = this.list.findLastIndex((node) => node.pass !== pass);
    this.list.push({ template, layer: -1, microBatch, pass, after: last < 0 ? [] : [last] });
  }

  forward({ first, last, firstLayer, endLayer }: Chunk, microBatch: number): void {
    if (first) this.push('embedding.forward', -1, microBatch, 'forward');
    else this.#receive(microBatch, 'forward');
    for (let layer = firstLayer; layer < endLayer; layer++) {
      this.push('attention.forward', layer, microBatch, 'forward');
      this.push(`${this.#block(layer)}.forward`, layer, microBatch, 'forward');
    }
    this.push(last ? 'head.forward' : 'send.forward', -1, microBatch, 'forward');
  }

  backward({ first, last, firstLayer, endLayer }: Chunk, microBatch: number): void {
    if (last) this.push('head.backward', -1, microBatch, 'backward');
    else this.#receive(microBatch, 'backward');
    if (last) this.#behind(microBatch, this.#step.model.layers);
    for (let layer = endLayer - 1; layer >= firstLayer; layer--) {
      this.#layerBackward(layer, microBatch);
      this.#behind(microBatch, layer);
    }
    this.push(first ? 'embedding.backward' : 'send.backward', -1, microBatch, 'backward');
    if (first) this.#behind(microBatch, -1);
  }

  /** The backward of one micro-batch and the forward of another, in turns. */
  beside(
    chunk: Chunk,
    microBatch: Readonly<Record<'backward' | 'forward', number>>,
    templates: readonly Template[],
  ): void {
    const start = this.list.length;
    this.backward(chunk, microBatch.backward);
    const ours = this.list.splice(start);
    this.forward(chunk, microBatch.forward);
    const theirs = this.list.splice(start);
    appendAll(this.list, besidePasses(ours, theirs, new Map(templates.map((one) => [one.name, one]))));
  }

  #layerBackward(layer: number, microBatch: number): void {
    const block = this.#block(layer);
    const again = (name: string): void => {
      if (this.#again.has(`${name}.recompute`)) this.push(`${name}.recompute`, layer, microBatch, 'recompute');
    };
    // A whole layer is computed again from its input; parts of it only when they are needed.
    if (this.#step.recompute === 'full') again('attention');
    again(block);
    this.push(`${block}.backward`, layer, microBatch, 'backward');
    if (this.#step.recompute !== 'full') again('attention');
    this.push('attention.backward', layer, microBatch, 'backward');
  }

  #block(layer: number): string {
    return this.#step.model.moeLayers[layer] ? 'moe' : 'mlp';
  }
}

/**
 * One training step: forward and backward of every micro-batch, so many in flight as the step says, then the update.
 * The last micro-batch's gradients are reduced beside its backward, each reduction issued behind the layer that
 * completes it, unless the step puts them behind. Needs pp = cp = 1.
 */
export function trainingStep(step: StepShape): Program {
  const { layout, microBatches, reductions = 'beside' } = step;
  if (layout.pp > 1 || layout.cp > 1)
    throw new InputError(`a step with pp ${layout.pp} and cp ${layout.cp} can't be scheduled`, {
      expected: 'pp = 1 and cp = 1',
    });
  const { all, again } = passTemplates(step);
  const reduced = reductionTemplates(step);
  const nodes = new Nodes(step, again, (microBatch, stage) => {
    if (microBatch < microBatches - 1 || reductions === 'behind') return;
    for (const { reduction, template } of reduced)
      if (reduction.stage === stage) nodes.push(template.name, -1, microBatch, 'reduce');
  });
  pushWhole(nodes, step, all);
  if (reductions === 'behind')
    for (const { template } of reduced) nodes.pushBehind(template.name, microBatches - 1, 'reduce');
  nodes.push('update', -1, 0, 'update');
  const templates = [...all, ...reduced.map(({ template }) => template), updateTemplate(step)];
  return sharedStates({ stage: 0, templates: byName(templates), nodes: nodes.list }, step);
}

/**
 * Forward and backward passes of one stage of a pipeline, in the order of 1F1B, interleaved over virtual stages where
 * there are any, and of a step without a pipeline in the order that it says; with transfers between stages, and without
 * reductions and update. Micro-batches of later chunks are numbered behind those of the first, so that each pass has
 * regions of its own. Throws `InputError` for stages or micro-batches that do not divide, and for an order of its own
 * beside a pipeline's.
 */
export function stagePasses(step: StepShape, stage: number): Program {
  const { all, again } = passTemplates(step);
  const nodes = new Nodes(step, again);
  if (step.layout.pp === 1 && (step.virtualStages ?? 1) === 1) pushWhole(nodes, step, all);
  else pushPasses(nodes, step, stage);
  return sharedStates({ stage, templates: byName([...all, ...transferTemplates(step)]), nodes: nodes.list }, step);
}

/** What a stage holds of the model. */
function stagePart(step: StepShape, stage: number): ModelPart {
  const chunks = stageChunks(step, stage);
  return {
    layers: chunks.flatMap(({ firstLayer, endLayer }) =>
      Array.from({ length: endLayer - firstLayer }, (_, index) => firstLayer + index),
    ),
    embedding: chunks.some(({ first }) => first),
    head: chunks.some(({ last }) => last),
  };
}

/**
 * A whole step of one stage of a pipeline: its passes, the reductions of its gradients beside the last backward of each
 * of its chunks, and the update, which waits for the norm over all stages. With one stage, `trainingStep`.
 */
export function stageStep(step: StepShape, stage: number): Program {
  const { layout, microBatches, reductions = 'beside' } = step;
  if (layout.pp === 1) return trainingStep(step);
  const { all, again } = passTemplates(step);
  const part = stagePart(step, stage);
  const reduced = reductionTemplates(step, part);
  const issued = new Set<Template>();
  const nodes = new Nodes(step, again, (microBatch, layer) => {
    if ((microBatch + 1) % microBatches !== 0 || reductions === 'behind') return;
    for (const { reduction, template } of reduced) {
      if (reduction.stage !== layer || issued.has(template)) continue;
      issued.add(template);
      nodes.push(template.name, -1, microBatch, 'reduce');
    }
  });
  pushPasses(nodes, step, stage);
  // and those of layers whose backward did not come last among the stage's
  for (const { template } of reduced)
    if (!issued.has(template)) nodes.pushBehind(template.name, microBatches - 1, 'reduce');
  nodes.push('update', -1, 0, 'update');
  const templates = [...all, ...transferTemplates(step), ...reduced.map(({ template }) => template)];
  const program = { stage, templates: byName([...templates, updateTemplate(step, part)]), nodes: nodes.list };
  return sharedStates(program, step);
}

/** The programs of all stages. */
export const pipelineStep = (step: StepShape): Program[] =>
  Array.from({ length: step.layout.pp }, (_, stage) => stageStep(step, stage));

/** Passes of all layers, so many micro-batches in flight as the step says, and beside each other where it says so. */
function pushWhole(nodes: Nodes, step: StepShape, templates: readonly Template[]): void {
  const { microBatches, passes = 'behind', inFlight = 1 } = step;
  if (!Number.isInteger(inFlight) || inFlight < 1)
    throw new InputError(`${inFlight} micro-batches in flight`, { expected: 'a whole number from 1 on' });
  const [whole] = stageChunks(step, 0);
  if (whole === undefined) return;
  for (let ahead = 0; ahead < Math.min(inFlight, microBatches); ahead++) nodes.forward(whole, ahead);
  for (let microBatch = 0; microBatch < microBatches; microBatch++) {
    const next = microBatch + inFlight;
    if (next < microBatches && passes === 'beside') {
      nodes.beside(whole, { backward: microBatch, forward: next }, templates);
      continue;
    }
    nodes.backward(whole, microBatch);
    if (next < microBatches) nodes.forward(whole, next);
  }
}

function pushPasses(nodes: Nodes, step: StepShape, stage: number): void {
  const { layout, microBatches, virtualStages = 1, passes } = step;
  if (passes === 'beside')
    throw new InputError(`the forward beside another micro-batch's backward with pp ${layout.pp}`, {
      expected: 'pp = 1: a pipeline orders its passes itself',
    });
  const chunks = stageChunks(step, stage);
  const number = ({ chunk, microBatch }: PipelinePass): number => chunk * microBatches + microBatch;
  for (const one of pipelineOrder({ stages: layout.pp, virtual: virtualStages, microBatches }, stage)) {
    const chunk = chunks[one.chunk];
    if (chunk !== undefined) nodes[one.pass](chunk, number(one));
  }
}

/** The forward part of a step: for evaluation. */
export function evaluationStep(step: StepShape): Program {
  const program = trainingStep({ ...step, microBatches: 1 });
  const nodes = program.nodes.filter((node) => node.pass === 'forward');
  return { ...program, nodes };
}

/** One MoE layer, forward and then backward: between them stands, in a whole model, everything behind the layer. */
export function moeLayerProgram(shape: MoeShape, strategy: Strategy): Program {
  refuse(strategy, shape);
  const templates = [moeForward(shape, strategy), moeBackward(shape, strategy)];
  return {
    stage: 0,
    templates: byName(templates),
    nodes: (['forward', 'backward'] as const).map((pass, index) => ({
      template: `moe.${pass}`,
      layer: 0,
      microBatch: 0,
      pass,
      after: index === 0 ? [] : [0],
    })),
  };
}
