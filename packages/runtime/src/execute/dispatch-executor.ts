/**
 * Dispatch and combine alone, on one rank: routing is drawn by the host, experts pass their rows through. Every token's result is then etp
 * times its kept weights times its row, and that is checked in every repetition.
 */
import {
  CountsBinding,
  dispatchProgram,
  InputError,
  sliceStart,
  type MoeShape,
  type Program,
  type ProgramNode,
  type Routing,
  type Span,
  type Strategy,
} from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';
import type { CpuMemory } from '../device/cpu/index.js';
import { moeRowKernels } from './kernels/moe-rows.js';
import { LayerRouting, RoutingBook, RoutingShape } from './routing.js';
import { ProgramRunner } from './runner.js';
import { samplePicks, type SampledPicks } from './sample-picks.js';
import type { Storage } from './storage.js';

export interface DispatchOptions {
  readonly shape: MoeShape;
  readonly strategy: Strategy;
  readonly passes: readonly ('forward' | 'backward')[];
  readonly routing: Routing;
  readonly seed: number;
  readonly endpoint: Endpoint;
  readonly memory: CpuMemory;
  /** Record spans; the job must have been launched with `trace`. */
  readonly trace?: boolean;
}

/** One pass of one repetition on one rank. */
export interface DispatchRun {
  readonly pass: 'forward' | 'backward';
  /** Seconds on the clock that all ranks share: after a barrier of all ranks, and when this rank was done. */
  readonly start: number;
  readonly end: number;
  /** Largest difference of an element from the closed form on this rank, divided by etp; row elements lie in [-1, 1). */
  readonly error: number;
}

/** A value that tells tokens and columns apart, in [-1, 1). */
const rowElement = (token: number, column: number): number =>
  (((token + 1) * 7919 + column * 104_729) % 2003) / 1001.5 - 1;

/** All ranks of the job make one for the same shape and call `run` in step. */
export class DispatchExecutor {
  /** [source][expert] rows that the expert group of this rank exchanges. */
  readonly counts: Int32Array;
  readonly program: Program;
  readonly #options: DispatchOptions;
  readonly #runner: ProgramRunner;
  readonly #routing: RoutingShape;
  readonly #picks: SampledPicks;
  readonly #book = new RoutingBook();
  /** First token of this rank's replica, counted over the job. */
  readonly #firstToken: number;
  #runs: DispatchRun[] = [];
  #start = 0;

  constructor(options: DispatchOptions) {
    const { shape, strategy, endpoint, memory } = options;
    const { layout } = shape;
    if (shape.dtype !== 'f32') throw new InputError(`the CPU sends f32, not ${shape.dtype}`, { path: 'dtype' });
    this.#options = options;
    this.program = dispatchProgram(shape, strategy, options.passes);
    this.#routing = new RoutingShape(shape, strategy, endpoint.rank);
    const replica = Math.floor(endpoint.rank / layout.tp);
    this.#firstToken = replica * shape.tokens;
    this.#picks = samplePicks(shape, options.routing, options.seed, replica);
    this.#runner = new ProgramRunner({
      layout,
      endpoint,
      memory,
      kernels: moeRowKernels({ routing: this.#routing, book: this.#book }),
      binding: new CountsBinding({ layout, experts: shape.experts, tokens: shape.tokens }, () => this.counts),
      hooks: {
        countsKnown: () => true,
        opened: (node, storage) => {
          this.#fill(node, storage);
          this.#barrier();
          this.#start = endpoint.now();
        },
        closing: (node, storage) => {
          const end = endpoint.now();
          const pass = node.pass === 'forward' ? 'forward' : 'backward';
          this.#runs.push({ pass, start: this.#start, end, error: this.#error(storage) });
        },
      },
      ...(options.trace === undefined ? {} : { trace: options.trace }),
    });
    this.counts = this.#exchangeCounts();
    const ids = this.#ofScope(this.#picks.ids, this.#routing.routing);
    this.#book.set(0, 0, new LayerRouting(this.#routing, this.counts, ids));
  }

  /** One repetition. Each pass starts after a barrier; filling and checking are outside its time. */
  run(repetition = 0): DispatchRun[] {
    this.#runs = [];
    this.#runner.run(this.program, repetition);
    return this.#runs;
  }

  /** Spans of the last run; empty unless tracing. */
  takeSpans(): Span[] {
    return this.#runner.takeSpans();
  }

  /** Bytes of buffers at the highest point. */
  get peakBytes(): number {
    return this.#runner.peakBytes;
  }

  /** Gives the buffers back to the arena. */
  close(): void {
    this.#runner.storage.close();
  }

  #barrier(): void {
    const { endpoint } = this.#options;
    if (endpoint.size > 1) endpoint.wait(this.#runner.collectives.communicator('world', 'inter').barrier());
  }

  /** Kept picks of this rank's slice by expert, gathered over the expert group. */
  #exchangeCounts(): Int32Array {
    const { memory, endpoint, shape } = this.#options;
    const own = new Int32Array(shape.experts);
    for (const id of this.#ofScope(this.#picks.ids, 'slice')) if (id >= 0) own[id]++;
    if (this.#runner.collectives.groupSize('expert') === 1) return own;
    const communicator = this.#runner.collectives.communicator('expert', 'inter');
    const mark = memory.mark();
    const send = memory.allocateView('i32', shape.experts);
    const receive = memory.allocateView('i32', shape.experts * communicator.size);
    memory.i32(send).set(own);
    endpoint.wait(communicator.allGather(send, receive, { label: 'counts' }));
    const counts = memory.i32(receive).slice();
    memory.release(mark);
    return counts;
  }

  #ofScope<T extends Int32Array | Float32Array>(all: T, scope: 'slice' | 'replica'): T {
    const { start, end } = this.#routing.slice;
    const k = this.#options.shape.topK;
    return scope === 'replica' ? all : (all.subarray(start * k, end * k) as T);
  }

  /** Rows of the stream, or of its gradient, and the routing. */
  #fill(node: ProgramNode, storage: Storage): void {
    const { memory, shape } = this.#options;
    const h = shape.hiddenSize;
    const scope = this.#routing.routing;
    memory.i32(storage.view('route.ids')).set(this.#ofScope(this.#picks.ids, scope));
    memory.f32(storage.view('route.weights')).set(this.#ofScope(this.#picks.weights, scope));
    const region = node.pass === 'forward' ? 'stream' : 'gradient';
    const rows = memory.f32(storage.view(region));
    const first = this.#firstTokenOf(rows.length / h);
    for (let i = 0; i < rows.length; i++) rows[i] = rowElement(first + Math.floor(i / h), i % h);
  }

  #error(storage: Storage): number {
    let largest = 0;
    const { memory, shape } = this.#options;
    const { hiddenSize: h, topK: k, layout } = shape;
    const id = storage.has('combined.all') ? 'combined.all' : 'combined';
    const rows = memory.f32(storage.view(id));
    const first = this.#firstTokenOf(rows.length / h);
    for (let row = 0; row < rows.length / h; row++) {
      const token = first + row;
      let kept = 0;
      for (let j = 0; j < k; j++) kept += this.#picks.weights[(token - this.#firstToken) * k + j];
      for (let column = 0; column < h; column++) {
        const expected = kept * rowElement(token, column);
        const error = Math.abs(rows[row * h + column] / layout.etp - expected);
        // NaN counts as an error.
        if (!(error <= largest)) largest = error;
      }
    }
    return largest;
  }

  /** Number, over the job, of the first token of a region of T rows or of this rank's slice. */
  #firstTokenOf(rows: number): number {
    const { tokens, layout } = this.#options.shape;
    const whole = rows === tokens || layout.tp === 1;
    return this.#firstToken + (whole ? 0 : sliceStart(tokens, this.#routing.tpIndex, layout.tp));
  }
}
