/** Training steps and evaluation on one rank: what the training loop calls. */
import {
  CountsBinding,
  bucketGroups,
  evaluationStep,
  stepTokens,
  trainingStep,
  type Bucket,
  type Program,
  type ProgramNode,
  type Span,
  type StepShape,
} from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';
import type { CpuMemory } from '../device/cpu/index.js';
import type { Gemm } from '../device/gemm.js';
import type { View } from '../device/view.js';
import type { AdamWSettings } from '../transformer/index.js';
import { checkExecutable } from './check-model.js';
import { attentionKernels } from './kernels/attention.js';
import { TrainingContext } from './kernels/context.js';
import { endKernels, lossSlot } from './kernels/ends.js';
import { mlpKernels } from './kernels/mlp.js';
import { expertKernels } from './kernels/moe-experts.js';
import { moeRowKernels } from './kernels/moe-rows.js';
import { moeNormKernels, routerKernels } from './kernels/moe-routing.js';
import { updateKernels } from './kernels/update.js';
import type { ParameterStore } from './parameter-store.js';
import { LayerRouting } from './routing.js';
import { ProgramRunner } from './runner.js';
import type { Storage } from './storage.js';

/** Looks at the regions of a node that has just run. */
export type NodeObserver = (node: ProgramNode, storage: Storage) => void;

export interface ExecutorOptions {
  readonly step: StepShape;
  readonly endpoint: Endpoint;
  readonly memory: CpuMemory;
  readonly gemm: Gemm;
  /** Made for the same step and rank. */
  readonly parameters: ParameterStore;
  /** Token whose embedding takes no gradient (`pad_token_id`). */
  readonly paddingId?: number;
  /** Called after every node has run, while its memory still stands: for looking at what it computed. */
  readonly observe?: NodeObserver;
  /** Record spans; the job must have been launched with `trace`. */
  readonly trace?: boolean;
}

/** One micro-batch of this rank's replica: T ids, and T targets (already shifted; -100 does not count). TP peers pass the same. */
export interface MicroBatch {
  readonly ids: ArrayLike<number>;
  readonly targets: ArrayLike<number>;
}

export interface OptimizerSettings extends AdamWSettings {
  /** Global norm to which gradients are clipped; absent: not clipped. */
  readonly maxNorm?: number;
}

export interface StepOptions {
  /** Targets that count, over all replicas and micro-batches of the step. */
  readonly targets: number;
  /** Counts from 1; of AdamW's bias correction, and in spans. */
  readonly number: number;
  /** Absent: gradients are computed and reduced, weights stay. */
  readonly optimizer?: OptimizerSettings;
}

export interface EvaluationResult {
  /** Mean over counted targets of the whole batch, nats. */
  readonly crossEntropy: number;
  /** Not multiplied by its coefficient; the mean over micro-batches. */
  readonly auxiliaryLoss: number;
  /** crossEntropy + coefficient * auxiliaryLoss. */
  readonly loss: number;
  readonly targets: number;
}

export interface StepResult extends EvaluationResult {
  /** Of `loss`, over all parameters, before clipping. */
  readonly gradientNorm: number;
  /** False when the norm was not finite, or no optimizer was given. */
  readonly updated: boolean;
  /** Picks per expert over all layers and tokens of the last micro-batch, the whole job's. */
  readonly expertLoads: Float32Array;
}

const lossElements = 4;

/** Runs training steps of one shape on one rank. All ranks of the job call the same methods in the same order. */
export class TrainingExecutor {
  readonly step: StepShape;
  readonly parameters: ParameterStore;
  readonly #memory: CpuMemory;
  readonly #endpoint: Endpoint;
  readonly #context: TrainingContext;
  readonly #runner: ProgramRunner;
  readonly #training: Program;
  readonly #evaluation: Program;
  readonly #loss: View;
  readonly #statistics: View;
  #program: Program;
  #batches: readonly MicroBatch[] = [];

  constructor(options: ExecutorOptions) {
    const { step, endpoint, memory, gemm, parameters } = options;
    checkExecutable(step);
    this.step = step;
    this.parameters = parameters;
    this.#memory = memory;
    this.#endpoint = endpoint;
    this.#context = new TrainingContext(step, gemm, parameters, options.paddingId);
    this.#training = trainingStep(step);
    this.#evaluation = evaluationStep(step);
    this.#program = this.#training;
    const { book } = this.#context;
    const { model, layout } = step;
    const context = this.#context;
    this.#runner = new ProgramRunner({
      layout,
      endpoint,
      memory,
      kernels: {
        ...attentionKernels(context),
        ...mlpKernels(context),
        ...endKernels(context),
        ...updateKernels(context),
        ...moeNormKernels(context),
        ...routerKernels(context),
        ...moeRowKernels(context),
        ...expertKernels(context),
      },
      binding: new CountsBinding(
        { layout, experts: model.experts, tokens: stepTokens(step) },
        (_rank, node) => book.get(this.#program.nodes[node]).counts,
      ),
      hooks: {
        countsKnown: (node) => book.has(node),
        opened: (node, storage) => this.#opened(node, storage),
        bind: (node, storage) => this.#bind(node, storage),
        closing: (node, storage) => {
          options.observe?.(node, storage);
          if (node.pass === 'backward' && node.template.startsWith('moe')) book.delete(node);
        },
      },
      ...(options.trace === undefined ? {} : { trace: options.trace }),
    });
    this.#loss = memory.allocateView('f32', lossElements);
    this.#statistics = memory.allocateView('f32', 2 * model.experts);
    this.#runner.storage.placeStep('loss', this.#loss);
    this.#runner.storage.placeStep('router.statistics', this.#statistics);
    for (const bucket of Object.keys(bucketGroups) as Bucket[])
      this.#runner.storage.placeStep(`gradients.${bucket}`, parameters.gradientView(bucket));
  }

  /** Bytes of activations and buffers at the highest point so far (weights, gradients and moments are beside). */
  get peakBytes(): number {
    return this.#runner.peakBytes;
  }

  /** Forward, backward and update of `step.microBatches` micro-batches. Gradients stay readable until the next call. */
  trainStep(batches: readonly MicroBatch[], options: StepOptions): StepResult {
    this.parameters.zeroGradients();
    Object.assign(this.#context.inputs, {
      targets: options.targets,
      number: options.number,
      optimizer: options.optimizer,
    });
    this.#run(this.#training, batches, this.step.microBatches, options.number);
    const loss = this.#memory.f32(this.#loss);
    const gradientNorm = Math.sqrt(loss[lossSlot.squares]);
    return {
      ...this.#result(loss),
      gradientNorm,
      updated: options.optimizer !== undefined && Number.isFinite(gradientNorm),
      expertLoads: this.#memory.f32(this.#statistics).slice(0, this.step.model.experts),
    };
  }

  /** Loss of one micro-batch per replica, without gradients. */
  evaluate(batch: MicroBatch): EvaluationResult {
    this.#run(this.#evaluation, [batch], 1, 0);
    if (this.#context.world > 1) {
      const world = this.#runner.collectives.communicator('world', 'inter');
      this.#endpoint.wait(world.allReduce(this.#loss, { label: 'evaluation loss' }));
    }
    return this.#result(this.#memory.f32(this.#loss));
  }

  /** Spans since the last call; empty unless tracing. */
  takeSpans(): Span[] {
    return this.#runner.takeSpans();
  }

  #run(program: Program, batches: readonly MicroBatch[], expected: number, number: number): void {
    const tokens = stepTokens(this.step);
    if (batches.length !== expected)
      throw new RangeError(`${batches.length} micro-batches given, expected ${expected}`);
    for (const { ids, targets } of batches)
      if (ids.length !== tokens || targets.length !== tokens)
        throw new RangeError(`a micro-batch has ${ids.length} ids and ${targets.length} targets, expected ${tokens}`);
    this.#program = program;
    this.#batches = batches;
    this.#context.microBatches = expected;
    this.#context.book.clear();
    this.#memory.f32(this.#loss).fill(0);
    this.#runner.run(program, number);
    this.#batches = [];
  }

  #opened(node: ProgramNode, storage: Storage): void {
    if (node.template !== 'embedding.forward') return;
    const { ids, targets } = this.#batches[node.microBatch];
    const tokens = this.#memory.i32(storage.view('tokens'));
    tokens.set(ids);
    tokens.set(targets, ids.length);
  }

  #bind(node: ProgramNode, storage: Storage): void {
    const counts = this.#memory.i32(storage.view('counts')).slice();
    const ids = this.#memory.i32(storage.view('route.ids')).slice();
    const { book, routing } = this.#context;
    book.set(node.layer, node.microBatch, new LayerRouting(routing, counts, ids));
  }

  #result(loss: Float32Array): EvaluationResult {
    const targets = Math.round(loss[lossSlot.targets]);
    const crossEntropy = targets === 0 ? 0 : loss[lossSlot.crossEntropy] / targets;
    const auxiliaryLoss = loss[lossSlot.auxiliary];
    const total = crossEntropy + this.step.model.auxLossCoefficient * auxiliaryLoss;
    return { crossEntropy, auxiliaryLoss, loss: total, targets };
  }
}
