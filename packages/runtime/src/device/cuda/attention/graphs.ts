/**
 * Causal attention as cuDNN's engines for Hopper recognise it: the composite graph of matmuls, pointwise operations and
 * reductions, forward with statistics and backward. No buffer of sequence squared: everything of that size is virtual.
 */
import type { Dimensions, Graph, Tensor } from './graph.js';

export interface CudaAttentionShape {
  readonly batch: number;
  readonly sequence: number;
  /** Query heads; head j reads key/value head floor(j * kvHeads / heads). */
  readonly heads: number;
  readonly kvHeads: number;
  /** Size of a head of queries and keys, and of values (latent attention has them differ). */
  readonly headDim: number;
  readonly valueDim: number;
}

export interface ForwardTensors {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly o: Tensor;
  /** fp32 [batch, heads, sequence]: the logarithm of each row's sum, scale included. */
  readonly statistics: Tensor;
}

export interface BackwardTensors extends ForwardTensors {
  readonly dO: Tensor;
  readonly dQ: Tensor;
  readonly dK: Tensor;
  readonly dV: Tensor;
  /** Scratch, fp32: [batch, heads, sequence] and [batch, heads, sequence, headDim]. */
  readonly sums: Tensor;
  readonly accumulator: Tensor;
}

/** Tensors of rows [batch, sequence, heads, width], as cuDNN wants them: dimensions [batch, heads, sequence, width]. */
function rows(sequence: number, heads: number, width: number, batch: number) {
  const dimensions: Dimensions = [batch, heads, sequence, width];
  const strides: Dimensions = [sequence * heads * width, width, heads * width, 1];
  return { type: 'bf16', dimensions, strides } as const;
}

/** The same memory with the last two dimensions exchanged. */
function transposed(sequence: number, heads: number, width: number, batch: number) {
  const dimensions: Dimensions = [batch, heads, width, sequence];
  const strides: Dimensions = [sequence * heads * width, width, 1, heads * width];
  return { type: 'bf16', dimensions, strides } as const;
}

/** Virtual tensors of a shape: scores [batch, heads, sequence, sequence] and one number a row. */
class Intermediates {
  readonly #graph: Graph;
  readonly #square: Dimensions;
  readonly #column: Dimensions;

  constructor(graph: Graph, { batch, heads, sequence }: CudaAttentionShape) {
    this.#graph = graph;
    this.#square = [batch, heads, sequence, sequence];
    this.#column = [batch, heads, sequence, 1];
  }

  square(type: 'f32' | 'i32' | 'bf16' | 'boolean' = 'f32'): Tensor {
    return this.#graph.virtual({ type, dimensions: this.#square });
  }

  /** Scores with rows and columns exchanged in memory. */
  turned(): Tensor {
    const [batch, heads, sequence] = this.#square;
    const strides: Dimensions = [heads * sequence * sequence, sequence * sequence, 1, sequence];
    return this.#graph.virtual({ type: 'bf16', dimensions: [batch, heads, sequence, sequence], strides });
  }

  column(): Tensor {
    return this.#graph.virtual({ type: 'f32', dimensions: this.#column });
  }
}

/** Scaled scores, with -infinity where a key comes after its query. */
function maskedScores({
  graph,
  virtual,
  q,
  kT,
  scale,
}: {
  readonly graph: Graph;
  readonly virtual: Intermediates;
  readonly q: Tensor;
  readonly kT: Tensor;
  readonly scale: Tensor;
}): Tensor {
  const scores = graph.matmul(q, kT, virtual.square());
  const scaled = graph.pointwise('mul', { x: scores, b: scale }, virtual.square());
  const row = graph.index(2, scaled, virtual.square('i32'));
  const column = graph.index(3, scaled, virtual.square('i32'));
  const mask = graph.pointwise('greaterEqual', { x: row, b: column }, virtual.square('boolean'));
  return graph.pointwise('select', { x: scaled, b: graph.scalar(-Infinity), t: mask }, virtual.square());
}

export function forwardGraph(graph: Graph, shape: CudaAttentionShape): ForwardTensors {
  const { batch, sequence, heads, kvHeads, headDim, valueDim } = shape;
  const virtual = new Intermediates(graph, shape);
  const q = graph.input(rows(sequence, heads, headDim, batch));
  const k = graph.input(transposed(sequence, kvHeads, headDim, batch));
  const v = graph.input(rows(sequence, kvHeads, valueDim, batch));
  const o = graph.input(rows(sequence, heads, valueDim, batch));
  const statistics = graph.input({ type: 'f32', dimensions: [batch, heads, sequence, 1] });
  const scores = maskedScores({ graph, virtual, q, kT: k, scale: graph.scalar(1 / Math.sqrt(headDim)) });
  const largest = graph.reduce('max', scores, virtual.column());
  const shifted = graph.pointwise('sub', { x: scores, b: largest }, virtual.square());
  const exponentials = graph.pointwise('exp', { x: shifted }, virtual.square());
  const sum = graph.reduce('add', exponentials, virtual.column());
  const logarithm = graph.pointwise('log', { x: sum }, virtual.column());
  graph.pointwise('add', { x: largest, b: logarithm }, statistics);
  const probabilities = graph.pointwise('div', { x: exponentials, b: sum }, virtual.square('bf16'));
  graph.matmul(probabilities, v, o);
  return { q, k, v, o, statistics };
}

export function backwardGraph(graph: Graph, shape: CudaAttentionShape): BackwardTensors {
  const { batch, sequence, heads, kvHeads, headDim, valueDim } = shape;
  const virtual = new Intermediates(graph, shape);
  const q = graph.input(rows(sequence, heads, headDim, batch));
  const k = graph.input(transposed(sequence, kvHeads, headDim, batch));
  const v = graph.input(transposed(sequence, kvHeads, valueDim, batch));
  const o = graph.input(rows(sequence, heads, valueDim, batch));
  const dO = graph.input(rows(sequence, heads, valueDim, batch));
  const dQ = graph.input(rows(sequence, heads, headDim, batch));
  const dK = graph.input(rows(sequence, kvHeads, headDim, batch));
  const dV = graph.input(rows(sequence, kvHeads, valueDim, batch));
  const statistics = graph.input({ type: 'f32', dimensions: [batch, heads, sequence, 1] });
  const sums = graph.input({ type: 'f32', dimensions: [batch, heads, sequence, 1] });
  const accumulator = graph.input({ type: 'f32', dimensions: [batch, heads, sequence, headDim] });
  /** to = a * b, summed over the query heads of each key/value head where they are several. */
  const shared = (a: Tensor, b: Tensor, to: Tensor, width: number): void => {
    if (heads === kvHeads) graph.matmul(a, b, to);
    else {
      const each = graph.virtual({ type: 'bf16', dimensions: [batch, heads, sequence, width] });
      graph.reduce('add', graph.matmul(a, b, each), to);
    }
  };
  const products = graph.virtual({ type: 'f32', dimensions: [batch, heads, sequence, valueDim] });
  graph.pointwise('mul', { x: dO, b: o }, products);
  const unscaled = graph.reduce('add', products, virtual.column());
  graph.pointwise('mul', { x: unscaled, b: graph.scalar(1) }, sums);
  const scale = graph.scalar(1 / Math.sqrt(headDim));
  const scores = maskedScores({ graph, virtual, q, kT: k, scale });
  const shifted = graph.pointwise('sub', { x: scores, b: statistics }, virtual.square());
  const p = graph.pointwise('exp', { x: shifted }, virtual.square());
  shared(graph.reshape(p, virtual.turned()), dO, dV, valueDim);
  const dp = graph.matmul(dO, v, virtual.square());
  const centred = graph.pointwise('sub', { x: dp, b: sums }, virtual.square());
  const weighted = graph.pointwise('mul', { x: centred, b: p }, virtual.square());
  const ds = graph.pointwise('mul', { x: weighted, b: scale }, virtual.square());
  shared(graph.reshape(ds, virtual.turned()), q, dK, headDim);
  const keys = graph.virtual({ ...rows(sequence, kvHeads, headDim, batch), type: 'f32' });
  graph.matmul(ds, graph.reshape(k, keys), accumulator);
  graph.pointwise('identity', { x: accumulator }, dQ);
  return { q, k, v, o, statistics, dO, dQ, dK, dV, sums, accumulator };
}
