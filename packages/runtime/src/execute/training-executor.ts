/** Training steps and evaluation on one rank: what the training loop calls. */
import { worldSize } from '@monta/core/layout';
import { evaluationStep, isTrained, moeShape, RoutingBinding, stepTokens, trainingStep } from '@monta/core/schedule';
import type { GroupRouting, Program, ProgramNode, Span, StepShape } from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';
import type { Device, Operand } from '../device/device.js';
import { readFloats, readInts } from '../device/host-array.js';
import type { OptimizerArguments } from '../device/kernel-arguments.js';
import { lossSlot } from '../device/loss-slots.js';
import type { View } from '../device/view.js';
import { LayerRouting, RoutingBook, RoutingShape } from '../rows/layer-routing.js';
import { hostIds, type RoutedIds } from '../rows/pick-order.js';
import { ArgumentBinder } from './arguments.js';
import { checkExecutable } from './check-model.js';
import type { ParameterStore } from './parameter-store.js';
import { ProgramRunner, type NodeObserver } from './runner.js';

export interface ExecutorOptions {
  readonly step: StepShape;
  readonly endpoint: Endpoint;
  readonly device: Device;
  /** Made for the same step and rank. */
  readonly parameters: ParameterStore;
  /** Token whose embedding takes no gradient (`pad_token_id`). */
  readonly paddingId?: number;
  /** Record spans; the job must have been launched with `trace`. */
  readonly trace?: boolean;
}

/**
 * One micro-batch of this rank's replica: T ids, and T targets (already shifted; -100 does not count). TP peers pass
 * the same.
 */
export interface MicroBatch {
  readonly ids: ArrayLike<number>;
  readonly targets: ArrayLike<number>;
}

export type OptimizerSettings = OptimizerArguments;

export interface StepOptions {
  /** Targets that count, over all replicas and micro-batches of the step. */
  readonly targets: number;
  /** Counts from 1; of AdamW's bias correction, and in spans. */
  readonly number: number;
  /** Absent: gradients are computed and reduced, weights stay. */
  readonly optimizer?: OptimizerSettings;
  /**
   * Called after every node has run, while its memory still stands: for looking at what it computed. Nodes then run one
   * after another.
   */
  readonly observe?: NodeObserver;
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

const lossElements = Object.keys(lossSlot).length;

/** Runs training steps of one shape on one rank. All ranks of the job call the same methods in the same order. */
export class TrainingExecutor {
  readonly step: StepShape;
  readonly parameters: ParameterStore;
  readonly #device: Device;
  readonly #runner: ProgramRunner;
  readonly #arguments: ArgumentBinder;
  readonly #routing: RoutingShape;
  readonly #book = new RoutingBook();
  readonly #training: Program;
  #evaluation: Program | undefined;
  readonly #paddingId: number | undefined;
  readonly #loss: View;
  readonly #loads: View;
  /** Token ids and targets of every micro-batch. */
  readonly #tokens: readonly View[];
  #program: Program;

  constructor(options: ExecutorOptions) {
    const { step, endpoint, device, parameters } = options;
    checkExecutable(step, device.kind);
    const { layout, model } = step;
    this.step = step;
    this.parameters = parameters;
    this.#device = device;
    this.#paddingId = options.paddingId;
    this.#training = trainingStep(step);
    this.#program = this.#training;
    this.#routing = new RoutingShape(moeShape(step), parameters.rank);
    const held = parameters.held();
    this.#arguments = new ArgumentBinder({
      layout,
      rank: endpoint.rank,
      routing: this.#routing,
      book: this.#book,
      tensors: held.filter(({ parameter }) => isTrained(parameter)),
      selectionBiases: held.filter(({ parameter: { slot } }) => slot === 'selectionBias'),
    });
    this.#runner = new ProgramRunner({
      layout,
      endpoint,
      device,
      binding: new RoutingBinding(layout, (_rank, node) => this.#book.get(this.#program.nodes[node]).group),
      slice: this.#routing.slice,
      parameters: (region, layer) => parameters.view(region, layer),
      bind: (body, node) => this.#arguments.bind(body, node),
      bound: (node, operands) => this.#bound(node, operands),
      ...(options.trace === undefined ? {} : { trace: options.trace }),
    });
    this.#loss = device.allocate('f32', lossElements);
    this.#loads = device.allocate('f32', 2 * model.experts);
    this.#tokens = Array.from({ length: step.microBatches }, () => device.allocate('i32', 2 * stepTokens(step)));
    const { regions } = this.#runner;
    regions.place('loss', this.#loss);
    regions.place('expert.loads', this.#loads);
    this.#tokens.forEach((view, microBatch) => regions.place('tokens', view, microBatch));
  }

  /**
   * Bytes of activations and buffers at the highest point so far (weights, gradients and moments are beside, and what
   * kernels take for themselves).
   */
  get peakBytes(): number {
    return this.#runner.regions.peakBytes;
  }

  /** Forward, backward and update of `step.microBatches` micro-batches. Gradients stay readable until the next call. */
  trainStep(batches: readonly MicroBatch[], options: StepOptions): StepResult {
    this.parameters.zeroGradients();
    this.#arguments.step = {
      targets: options.targets,
      number: options.number,
      optimizer: options.optimizer,
      paddingId: this.#paddingId,
    };
    const { number, observe } = options;
    this.#run(this.#training, batches, { expected: this.step.microBatches, number, observe });
    const loss = readFloats(this.#device, this.#loss);
    const gradientNorm = Math.sqrt(loss[lossSlot.squares]);
    return {
      ...this.#result(loss),
      gradientNorm,
      updated: options.optimizer !== undefined && Number.isFinite(gradientNorm),
      expertLoads: readFloats(this.#device, this.#loads).slice(0, this.step.model.experts),
    };
  }

  /** Loss of one micro-batch per replica, without gradients. */
  evaluate(batch: MicroBatch): EvaluationResult {
    this.#evaluation ??= evaluationStep(this.step);
    this.#run(this.#evaluation, [batch], { expected: 1, number: 0 });
    if (worldSize(this.step.layout) > 1) {
      const world = this.#runner.collectives.communicator('world', 'inter world');
      this.#device.wait(world.allReduce(this.#loss, { label: 'evaluation loss' }));
    }
    return this.#result(readFloats(this.#device, this.#loss));
  }

  /** What a layer's expert group routed in a micro-batch of the last step. */
  routing(at: Pick<ProgramNode, 'layer' | 'microBatch'>): GroupRouting {
    return this.#book.get(at).group;
  }

  /** Spans since the last call; empty unless tracing. */
  takeSpans(): Span[] {
    return this.#runner.takeSpans();
  }

  /** Gives its memory back; parameters keep theirs. */
  close(): void {
    this.#book.clear();
    for (const view of [this.#loss, this.#loads, ...this.#tokens]) this.#device.free(view);
  }

  #run(
    program: Program,
    batches: readonly MicroBatch[],
    { expected, number, observe }: Pick<StepOptions, 'number' | 'observe'> & { readonly expected: number },
  ): void {
    const tokens = stepTokens(this.step);
    if (batches.length !== expected)
      throw new RangeError(`${batches.length} micro-batches given, expected ${expected}`);
    batches.forEach(({ ids, targets }, microBatch) => {
      if (ids.length !== tokens || targets.length !== tokens)
        throw new RangeError(`a micro-batch has ${ids.length} ids and ${targets.length} targets, expected ${tokens}`);
      const both = new Int32Array(2 * tokens);
      both.set(ids);
      both.set(targets, tokens);
      this.#device.write(this.#tokens[microBatch], both);
    });
    this.#program = program;
    this.#book.clear();
    this.#device.fill(this.#loss, 0);
    this.#runner.run(program, { step: number, observe });
  }

  /** Ids stay where the device orders them for itself: they lie there until the layer's backward pass has used them. */
  #routedIds({ view }: Operand): RoutedIds {
    const device = this.#device;
    if (device.ordersPicks?.(this.step.model.experts) !== true) return hostIds(readInts(device, view));
    return { length: view.length, view, read: () => readInts(device, view) };
  }

  #bound(node: ProgramNode, { ids, ...known }: Readonly<Record<string, Operand>>): void {
    const own = this.#routedIds(ids);
    const [name, { view }] = Object.entries(known)[0];
    const exchanged = readInts(this.#device, view);
    const routing =
      name === 'picks'
        ? LayerRouting.ofPicks(this.#routing, exchanged, own)
        : LayerRouting.ofCounts(this.#routing, exchanged, own);
    this.#book.set(node, routing);
  }

  #result(loss: Float32Array): EvaluationResult {
    const targets = Math.round(loss[lossSlot.targets]);
    const crossEntropy = targets === 0 ? 0 : loss[lossSlot.crossEntropy] / targets;
    const auxiliaryLoss = loss[lossSlot.auxiliary];
    const total = crossEntropy + this.step.model.auxLossCoefficient * auxiliaryLoss;
    return { crossEntropy, auxiliaryLoss, loss: total, targets };
  }
}
