/**
 * Causal attention in bf16 by cuDNN. A plan belongs to one shape and costs up to a second: it is built once, when the
 * shape first appears.
 */
import { written, type Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';
import { GrowingRoom } from '../growing-room.js';
import { Graph, type GraphPlan } from './graph.js';
import {
  backwardGraph,
  forwardGraph,
  type BackwardTensors,
  type CudaAttentionShape,
  type ForwardTensors,
} from './graphs.js';

/** Addresses of rows [batch, sequence, heads, width], and of the statistics, fp32 [batch, heads, sequence]. */
export interface AttentionBuffers {
  readonly q: Address;
  readonly k: Address;
  readonly v: Address;
  readonly o: Address;
  readonly statistics: Address;
}

export interface AttentionGradients {
  readonly dO: Address;
  readonly dQ: Address;
  readonly dK: Address;
  readonly dV: Address;
}

interface Planned<Tensors> {
  readonly plan: GraphPlan;
  readonly tensors: Tensors;
}

/** Runs on one stream at a time: scratch is shared. */
export class CudaAttention {
  readonly #context: CudaContext;
  readonly #handle: Address;
  readonly #forward = new Map<string, Planned<ForwardTensors>>();
  readonly #backward = new Map<string, Planned<BackwardTensors>>();
  readonly #scratch: GrowingRoom;

  constructor(context: CudaContext) {
    this.#context = context;
    const { cudnn } = context.libraries;
    this.#handle = written((cell) => cudnn.cudnnCreate(cell));
    context.onClose(() => {
      for (const { plan } of [...this.#forward.values(), ...this.#backward.values()]) plan.close();
      cudnn.cudnnDestroy(this.#handle);
    });
    this.#scratch = new GrowingRoom(context);
  }

  forward(stream: Address, shape: CudaAttentionShape, buffers: AttentionBuffers): void {
    const { plan, tensors } = this.#planned(this.#forward, shape, forwardGraph);
    const { q, k, v, o, statistics } = tensors;
    plan.run(
      stream,
      [
        [q, buffers.q],
        [k, buffers.k],
        [v, buffers.v],
        [o, buffers.o],
        [statistics, buffers.statistics],
      ],
      this.#scratch.of(stream, plan.workspaceBytes),
    );
  }

  backward(
    stream: Address,
    shape: CudaAttentionShape,
    buffers: AttentionBuffers,
    { dO, dQ, dK, dV }: AttentionGradients,
  ): void {
    const { plan, tensors } = this.#planned(this.#backward, shape, backwardGraph);
    const sumBytes = aligned(4 * shape.batch * shape.heads * shape.sequence);
    const accumulatorBytes = aligned(sumBytes * shape.headDim);
    const scratch = this.#scratch.of(stream, sumBytes + accumulatorBytes + plan.workspaceBytes);
    plan.run(
      stream,
      [
        [tensors.q, buffers.q],
        [tensors.k, buffers.k],
        [tensors.v, buffers.v],
        [tensors.o, buffers.o],
        [tensors.statistics, buffers.statistics],
        [tensors.dO, dO],
        [tensors.dQ, dQ],
        [tensors.dK, dK],
        [tensors.dV, dV],
        [tensors.sums, scratch],
        [tensors.accumulator, scratch + sumBytes],
      ],
      scratch + sumBytes + accumulatorBytes,
    );
  }

  #planned<Tensors>(
    plans: Map<string, Planned<Tensors>>,
    shape: CudaAttentionShape,
    build: (graph: Graph, shape: CudaAttentionShape) => Tensors,
  ): Planned<Tensors> {
    const { batch, sequence, heads, kvHeads, headDim, valueDim } = shape;
    const key = [batch, sequence, heads, kvHeads, headDim, valueDim].join(' ');
    let planned = plans.get(key);
    if (planned === undefined) {
      const graph = new Graph(this.#context.libraries.cudnn, this.#handle);
      const tensors = build(graph, shape);
      planned = { plan: graph.plan(), tensors };
      plans.set(key, planned);
    }
    return planned;
  }
}

/** Scratch parts begin at multiples of this. */
const scratchAlignment = 256;

function aligned(bytes: number): number {
  return Math.ceil(bytes / scratchAlignment) * scratchAlignment;
}
