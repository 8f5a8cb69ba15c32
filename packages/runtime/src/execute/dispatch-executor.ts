/**
 * Dispatch and combine alone, on one rank: routing is drawn by the host, experts pass their rows through. Every token's
 * result is then etp times its kept weights times its row, and that is checked in every repetition.
 */
import { coordinates } from '@monta/core/layout';
import { dispatchProgram, exchangesPicks, RoutingBinding, routingScope, sliceStart } from '@monta/core/schedule';
import type { MoeShape, Program, Routing, Scope, Span, Strategy } from '@monta/core';
import type { Endpoint } from '../comm/communicator.js';
import type { Device } from '../device/device.js';
import { emptyHostArray, readInts } from '../device/host-array.js';
import { elementBytes, part, type View } from '../device/view.js';
import { roundedRows } from '../moe/fp8-rows.js';
import { LayerRouting, RoutingBook, RoutingShape } from '../rows/layer-routing.js';
import { hostIds } from '../rows/pick-order.js';
import { ArgumentBinder } from './arguments.js';
import { ProgramRunner, type NodeObserver, type NodeRegions } from './runner.js';
import { groupPicks, samplePicks, type SampledPicks } from './sample-picks.js';
import { ZeroedRegions } from './zeroed-regions.js';
import { rowError, RowStore, rowType, type RowType, spreadRuns } from './sample-rows.js';

export interface DispatchOptions {
  readonly shape: MoeShape;
  readonly strategy: Strategy;
  readonly passes: readonly ('forward' | 'backward')[];
  readonly routing: Routing;
  readonly seed: number;
  readonly endpoint: Endpoint;
  readonly device: Device;
  /** Record spans; the job must have been launched with `trace`. */
  readonly trace?: boolean;
  /** Rows that executors of one shape share, closed by their owner; each makes its own unless given. */
  readonly rows?: RowStore;
}

/** One pass of one repetition on one rank. */
export interface DispatchRun {
  readonly pass: 'forward' | 'backward';
  /** Seconds on the clock that all ranks share: after a barrier of all ranks, and when this rank was done. */
  readonly start: number;
  readonly end: number;
  /**
   * Largest difference of an element from the closed form on this rank, divided by etp; row elements lie in [-1, 1).
   * Absent where it was not checked.
   */
  readonly error?: number;
}

function concatenated<T extends Int32Array | Float32Array>(pieces: readonly T[]): T {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const all = (pieces[0] instanceof Int32Array ? new Int32Array(length) : new Float32Array(length)) as T;
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** One pass as a program of its own, so that it can be timed. */
interface Pass {
  readonly pass: 'forward' | 'backward';
  readonly program: Program;
}

/** The only layer and micro-batch that there are. */
const layer = { layer: 0, microBatch: 0 };

/** All ranks of the job make one for the same shape and call `run` in step. */
export class DispatchExecutor {
  /** [source][expert] rows that the expert group of this rank exchanges. */
  readonly counts: Int32Array;
  readonly #options: DispatchOptions;
  readonly #passes: readonly Pass[];
  readonly #runner: ProgramRunner;
  readonly #routing: RoutingShape;
  readonly #picks: SampledPicks;
  readonly #book = new RoutingBook();
  /** First token of this rank's replica, counted over the job. */
  readonly #firstToken: number;
  readonly #type: RowType;
  readonly #store: RowStore;
  /** Rows of the stream or of its gradient, and weights of picks; they stay as they are. */
  readonly #rows: View;
  /** Weights and what is kept of them, where the dispatch computes too. */
  readonly #zeroed: ZeroedRegions;
  readonly #weights: View;
  /** Weights of all tokens of the expert group, where they are known. */
  #groupWeights: View | undefined;
  #error: number | undefined;
  /** Rows of a result that are looked at. */
  #checkedRows = Infinity;
  /** The pass under way. */
  #pass: 'forward' | 'backward' = 'forward';
  #end = 0;

  constructor(options: DispatchOptions) {
    const { shape, strategy, passes, endpoint, device } = options;
    const { layout, tokens, hiddenSize } = shape;
    this.#type = rowType(shape.dtype, device);
    this.#options = options;
    this.#store = options.rows ?? new RowStore(device);
    this.#passes = passes.map((pass) => ({ pass, program: dispatchProgram(shape, strategy, [pass]) }));
    this.#zeroed = new ZeroedRegions(
      device,
      this.#passes.map(({ program }) => program),
    );
    this.#routing = new RoutingShape(shape, endpoint.rank);
    const { dp } = coordinates(layout, endpoint.rank);
    this.#firstToken = dp * tokens;
    this.#picks = samplePicks(shape, options.routing, options.seed, dp);
    const binder = new ArgumentBinder({
      layout,
      rank: endpoint.rank,
      routing: this.#routing,
      book: this.#book,
      tensors: [],
      selectionBiases: [],
    });
    this.#runner = new ProgramRunner({
      layout,
      endpoint,
      device,
      binding: new RoutingBinding(layout, () => this.#book.get(layer).group),
      slice: this.#routing.slice,
      parameters: (id) => this.#zeroed.parameter(id, this.#runner.regions),
      bind: (body, node) => binder.bind(body, node),
      ...(options.trace === undefined ? {} : { trace: options.trace }),
    });
    this.counts = this.#exchangeCounts();
    const scope = routingScope(strategy, shape);
    this.#book.set(layer, this.#layerRouting(this.#ofScope(this.#picks.ids, scope)));
    const sliced = layout.sequenceParallel && layout.tp > 1;
    const { start, end } = this.#routing.slice;
    const rows = sliced ? end - start : tokens;
    this.#rows = this.#store.rows(this.#type, { first: this.#firstTokenOf(rows), rows, width: hiddenSize });
    const weights = this.#ofScope(this.#picks.weights, scope);
    this.#weights = device.allocate('f32', weights.length);
    device.write(this.#weights, weights);
    const { regions } = this.#runner;
    regions.place('stream', this.#rows);
    regions.place('gradient', this.#rows);
    if (shape.computes !== undefined) {
      regions.place('moe.normed', this.#rows);
      this.#zeroed.place(regions);
    }
    regions.place('route.weights', this.#weights);
    if (exchangesPicks(strategy)) {
      const groupWeights = this.#ofGroup(({ weights }) => weights);
      this.#groupWeights = device.allocate('f32', groupWeights.length);
      device.write(this.#groupWeights, groupWeights);
      regions.place('route.weights.group', this.#groupWeights);
    }
  }

  /** Of the counts that were exchanged, or of the picks of the whole group, which every rank can draw. */
  #layerRouting(ids: Int32Array): LayerRouting {
    const own = hostIds(ids);
    if (!exchangesPicks(this.#options.strategy)) return LayerRouting.ofCounts(this.#routing, this.counts, own);
    return LayerRouting.ofPicks(
      this.#routing,
      this.#ofGroup((picks) => picks.ids),
      own,
    );
  }

  /** What was drawn for each slice of the expert group, one slice after the other. */
  #ofGroup<T extends Int32Array | Float32Array>(what: (picks: SampledPicks) => T): T {
    const { shape, routing, seed, endpoint } = this.#options;
    return concatenated(groupPicks(shape, routing, seed, endpoint.rank).map(what));
  }

  /**
   * One repetition, whose results are checked unless told otherwise, as a whole or so many rows of them. Each pass
   * starts after a barrier; filling and checking are outside its time.
   */
  run(
    repetition = 0,
    { checked = true, checkedRows = Infinity }: { readonly checked?: boolean; readonly checkedRows?: number } = {},
  ): DispatchRun[] {
    const { endpoint } = this.#options;
    this.#checkedRows = checked ? checkedRows : 0;
    return this.#passes.map(({ pass, program }, node) => {
      this.#barrier();
      this.#pass = pass;
      const start = endpoint.now();
      const observe: NodeObserver = (_node, regions) => {
        this.#end = endpoint.now();
        this.#error = this.#checkedRows > 0 ? this.#errorOf(regions) : undefined;
      };
      this.#runner.run(program, { step: repetition, firstNode: node, observe });
      const error = this.#error;
      return { pass, start, end: this.#end, ...(error === undefined ? {} : { error }) };
    });
  }

  /** Spans since the last call; empty unless tracing. */
  takeSpans(): Span[] {
    return this.#runner.takeSpans();
  }

  /** Bytes of buffers at the highest point, the tokens' rows among them. */
  get peakBytes(): number {
    const own = [this.#rows, this.#weights].map(({ type, length }) => length * elementBytes[type]);
    return own.reduce((sum, bytes) => sum + bytes, this.#runner.regions.peakBytes);
  }

  /** Gives the buffers back. */
  close(): void {
    this.#book.clear();
    for (const view of [this.#weights, this.#groupWeights]) if (view !== undefined) this.#options.device.free(view);
    this.#zeroed.close();
    if (this.#options.rows === undefined) this.#store.close();
  }

  #barrier(): void {
    const { endpoint, device } = this.#options;
    if (endpoint.size > 1) device.wait(this.#runner.collectives.communicator('world', 'inter world').barrier());
  }

  /** Kept picks of this rank's slice by expert, gathered over the expert group. */
  #exchangeCounts(): Int32Array {
    const { device, shape } = this.#options;
    const own = new Int32Array(shape.experts);
    for (const id of this.#ofScope(this.#picks.ids, 'slice')) if (id >= 0) own[id]++;
    if (this.#runner.collectives.members('expert').length === 1) return own;
    const communicator = this.#runner.collectives.communicator('expert', 'inter expert');
    const send = device.allocate('i32', shape.experts);
    const receive = device.allocate('i32', shape.experts * communicator.size);
    device.write(send, own);
    device.wait(communicator.allGather(send, receive, { label: 'counts' }));
    const counts = readInts(device, receive);
    for (const view of [send, receive]) device.free(view);
    return counts;
  }

  #ofScope<T extends Int32Array | Float32Array>(all: T, scope: Scope): T {
    const { start, end } = this.#routing.slice;
    const k = this.#options.shape.topK;
    return scope === 'replica' ? all : (all.subarray(start * k, end * k) as T);
  }

  #errorOf(regions: NodeRegions): number {
    const { device, shape } = this.#options;
    const { hiddenSize: width, topK: k, layout } = shape;
    const id = ['combined.all', 'summed.all', 'combined', 'summed'].find((one) => regions.has(one));
    if (id === undefined) throw new Error('the dispatch has no result');
    const view = regions.view(id);
    const rows = view.length / width;
    const first = this.#firstTokenOf(rows);
    const weights = this.#picks.weights.subarray((first - this.#firstToken) * k);
    const rounded = shape.payload === 'fp8' && this.#pass === 'forward';
    const errors = spreadRuns(rows, this.#checkedRows).map(({ start, count }) => {
      const looked = part(view, start * width, count * width);
      const found = emptyHostArray(looked);
      device.read(looked, found);
      return rowError(this.#type, { first: first + start, rows: count, width }, found, {
        factor: (row) => {
          let kept = 0;
          for (let j = 0; j < k; j++) kept += weights[(start + row) * k + j];
          return layout.etp * kept;
        },
        // What arrives where the pass sends rows in fp8.
        ...(rounded ? { arrived: (row: Float32Array) => roundedRows(row, width) } : {}),
      });
    });
    // NaN is an error: a comparison with it would lose it.
    return errors.reduce((worst, error) => (error <= worst ? worst : error), 0) / layout.etp;
  }

  /** Number, over the job, of the first token of a region of T rows or of this rank's slice. */
  #firstTokenOf(rows: number): number {
    const { tokens, layout } = this.#options.shape;
    const whole = rows === tokens || layout.tp === 1;
    return this.#firstToken + (whole ? 0 : sliceStart(tokens, this.#routing.place.tp, layout.tp));
  }
}
