/** Programs: a whole training step, and the MoE layer alone (for benchmarks and for choosing a dispatcher). */
import { InputError } from '../units/errors.js';
import { attentionBackward, attentionForward } from './attention-layer.js';
import { unsupportedStrategy, type Strategy } from './dispatchers/strategies.js';
import { embeddingBackward, embeddingForward, headBackward, headForward } from './ends.js';
import { mlpBackward, mlpForward } from './mlp-layer.js';
import { moeBackward } from './moe-backward.js';
import { moeForward } from './moe-forward.js';
import type { MoeShape } from './moe-shape.js';
import type { Pass, Program, ProgramNode, Template } from './schedule.js';
import { moeShape, type StepShape } from './step-shape.js';
import { reductionTemplates, updateTemplate } from './update.js';

/** Nodes of a step. What each waits for follows from the regions that it uses. */
class Nodes {
  readonly list: ProgramNode[] = [];

  push(template: string, layer: number, microBatch: number, pass: Pass): void {
    this.list.push({ template, layer, microBatch, pass, after: [] });
  }
}

const byName = (templates: readonly Template[]): Record<string, Template> =>
  Object.fromEntries(templates.map((template) => [template.name, template]));

function refuse(strategy: Strategy, shape: MoeShape): void {
  const why = unsupportedStrategy(strategy, shape);
  if (why !== undefined)
    throw new InputError(why, { hint: 'choose another dispatcher (scattered serves every layout), or another etp' });
}

/**
 * One training step: forward and backward of every micro-batch, in this order of issue, then the update. The last micro-batch's gradients are
 * reduced beside its backward, each reduction issued behind the layer that completes it. Needs pp = cp = 1.
 */
export function trainingStep(step: StepShape): Program {
  const { model, layout } = step;
  if (layout.pp > 1 || layout.cp > 1)
    throw new InputError(`a step with pp ${layout.pp} and cp ${layout.cp} can't be scheduled`, {
      expected: 'pp = 1 and cp = 1',
    });
  const moe = moeShape(step);
  refuse(step.strategy, moe);
  const templates = [
    embeddingForward(step),
    attentionForward(step),
    ...(model.layers > 0 ? [moeForward(moe, step.strategy), moeBackward(moe, step.strategy)] : []),
    headForward(step),
    headBackward(step),
    attentionBackward(step),
    embeddingBackward(step),
    updateTemplate(step),
  ];
  const kind = Array.from({ length: model.layers }, (_, layer) => (model.moeLayers[layer] ? 'moe' : 'mlp'));
  if (kind.includes('mlp')) templates.push(mlpForward(step), mlpBackward(step));
  const reduced = reductionTemplates(step);
  templates.push(...reduced.map(({ template }) => template));
  const nodes = new Nodes();
  const reduce = (microBatch: number, stage: number): void => {
    if (microBatch < step.microBatches - 1) return;
    for (const { reduction, template } of reduced)
      if (reduction.stage === stage) nodes.push(template.name, -1, microBatch, 'reduce');
  };
  for (let microBatch = 0; microBatch < step.microBatches; microBatch++) {
    nodes.push('embedding.forward', -1, microBatch, 'forward');
    kind.forEach((block, layer) => {
      nodes.push('attention.forward', layer, microBatch, 'forward');
      nodes.push(`${block}.forward`, layer, microBatch, 'forward');
    });
    nodes.push('head.forward', -1, microBatch, 'forward');
    nodes.push('head.backward', -1, microBatch, 'backward');
    reduce(microBatch, model.layers);
    for (let layer = model.layers - 1; layer >= 0; layer--) {
      nodes.push(`${kind[layer]}.backward`, layer, microBatch, 'backward');
      nodes.push('attention.backward', layer, microBatch, 'backward');
      reduce(microBatch, layer);
    }
    nodes.push('embedding.backward', -1, microBatch, 'backward');
    reduce(microBatch, -1);
  }
  nodes.push('update', -1, 0, 'update');
  return { stage: 0, templates: byName(templates), nodes: nodes.list };
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
