/** Causal attention by cuDNN: sustained times of forward and backward. */
import { CudaAttention } from '../../device/cuda/attention/attention.js';
import type { CudaContext } from '../../device/cuda/context.js';
import type { CudaAttentionShape } from '../../device/cuda/attention/graphs.js';
import { fillRandom, timeOnStream, type Timing } from './timing.js';

export interface AttentionMeasurement {
  readonly shape: CudaAttentionShape;
  readonly forward: Timing;
  readonly backward: Timing;
}

const heads = { heads: 32, headDim: 128, valueDim: 128, batch: 1 };

/** Shapes whose times through PyTorch are known on this card: one sequence, 32 heads of 128. */
export const attentionShapes: readonly CudaAttentionShape[] = [
  { ...heads, sequence: 4096, kvHeads: 32 },
  { ...heads, sequence: 8192, kvHeads: 32 },
  { ...heads, sequence: 8192, kvHeads: 4 },
];

export function measureAttention(
  context: CudaContext,
  shapes: readonly CudaAttentionShape[] = attentionShapes,
  runMilliseconds?: number,
): AttentionMeasurement[] {
  const attention = new CudaAttention(context);
  const stream = context.createStream();
  return shapes.map((shape) => {
    const { batch, sequence, kvHeads, headDim, valueDim } = shape;
    const rows = batch * sequence;
    const allocated: number[] = [];
    const room = (elements: number): number => {
      const address = context.memory.allocate(2 * elements);
      fillRandom({ context, to: address, elements, scale: 1, seed: allocated.length });
      allocated.push(address);
      return address;
    };
    const queries = rows * shape.heads * headDim;
    const keys = rows * kvHeads * headDim;
    const values = rows * kvHeads * valueDim;
    const outputs = rows * shape.heads * valueDim;
    const statistics = room(2 * rows * shape.heads);
    const buffers = { q: room(queries), k: room(keys), v: room(values), o: room(outputs), statistics };
    const gradients = { dO: room(outputs), dQ: room(queries), dK: room(keys), dV: room(values) };
    context.synchronize();
    const forward = timeOnStream(context, stream, () => attention.forward(stream, shape, buffers), runMilliseconds);
    const goBack = (): void => attention.backward(stream, shape, buffers, gradients);
    const backward = timeOnStream(context, stream, goBack, runMilliseconds);
    context.synchronize();
    for (const address of allocated) context.memory.free(address);
    return { shape, forward, backward };
  });
}
