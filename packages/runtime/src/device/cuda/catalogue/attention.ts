/**
 * Attention: fp32 by kernels/attention.cu, bf16 by cuDNN. Queries, keys and values are planar: all queries [T, heads *
 * headDim], then keys, then values [T, kvHeads * headDim] each.
 */
import { InputError, type HeadArguments, type KernelName } from '@monta/core';
import { headShare, ropeTable, type HeadShare, type SplitNormShape } from '../../../transformer/index.js';
import { elementSize } from '../operations/launcher.js';
import type { Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';
import { cudaNormBackward, cudaNormForward, normScratch } from '../operations/norm.js';
import {
  cudaSplitNormApply,
  cudaSplitNormBackward,
  cudaSplitNormDot,
  cudaSplitNormSquares,
} from '../operations/split-norm.js';
import { cudaRope } from '../operations/tokens.js';
import type { CudaCallOf, CudaCatalogue, CudaKernelCall } from './call.js';
import { linear, linearInputGradient, linearWeightGradient } from './linear.js';

type AttentionKernel = Extract<KernelName, `attention.${string}`>;

const projections = ['query', 'key', 'value'] as const;
type Projection = (typeof projections)[number];
const normed = ['query', 'key'] as const;

/** Heads and columns of this rank, and where the planes of a region begin, in elements. */
interface Geometry {
  readonly tokens: number;
  readonly headDim: number;
  readonly share: HeadShare;
  columns(projection: Projection): number;
  plane(projection: Projection): number;
}

function geometry(tokens: number, heads: HeadArguments, tp: { index: number; size: number }): Geometry {
  const { headDim } = heads;
  const share = headShare(heads.attentionHeads, heads.keyValueHeads, tp.size, tp.index);
  const [queryColumns, keyColumns] = [share.heads * headDim, share.kvHeads * headDim];
  const planes = { query: 0, key: tokens * queryColumns, value: tokens * (queryColumns + keyColumns) };
  return {
    tokens,
    headDim,
    share,
    columns: (projection) => (projection === 'query' ? queryColumns : keyColumns),
    plane: (projection) => planes[projection],
  };
}

/** First element of what belongs to this rank's heads; replicated key/value weights hold them all. */
function ownHeads({ share }: Geometry, projection: Projection, elementsPerHead: number): number {
  return projection === 'query' || share.kvReplicas === 1 ? 0 : share.firstKvHead * elementsPerHead;
}

function refuse(
  call: CudaKernelCall<never, { readonly clip?: number | undefined }>,
  what: string,
  there: boolean,
): void {
  if (there || call.arguments.clip !== undefined)
    throw new InputError(
      `attention ${there ? `with ${what}` : 'that clips queries, keys and values'} does not run on a card yet`,
    );
}

/** Angles on the card, worked out once for each sequence. */
const tables = new WeakMap<CudaContext, Map<string, { readonly cosine: Address; readonly sine: Address }>>();

function angles(context: CudaContext, sequence: number, headDim: number, theta: number) {
  let known = tables.get(context);
  if (known === undefined) tables.set(context, (known = new Map<string, { cosine: Address; sine: Address }>()));
  const key = `${sequence} ${headDim} ${theta}`;
  let table = known.get(key);
  if (table === undefined) {
    const { cosine, sine } = ropeTable(sequence, headDim, theta);
    const upload = (values: Float32Array): Address => {
      const address = context.memory.allocate(values.byteLength);
      context.memory.write(address, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      return address;
    };
    table = { cosine: upload(cosine), sine: upload(sine) };
    known.set(key, table);
  }
  return table;
}

type RotaryCall =
  CudaCallOf<'attention.rotate'> | CudaCallOf<'attention.dots.backward'> | CudaCallOf<'attention.rotate.backward'>;

/** Rotates queries and keys of a planar region in place, or back. */
function rotate(call: RotaryCall, g: Geometry, region: Address, direction: 1 | -1): void {
  const { sequence, theta } = call.arguments;
  const table = angles(call.context, sequence, g.headDim, theta);
  for (const projection of normed) {
    const heads = projection === 'query' ? g.share.heads : g.share.kvHeads;
    const x = region + elementSize(call.storage) * g.plane(projection);
    cudaRope(call.on, { rows: g.tokens, heads, headDim: g.headDim, sequence }, { x, ...table }, direction);
  }
}

/** A norm over all heads, of which this rank holds some. */
function splitShape(
  g: Geometry,
  { heads, epsilon }: { readonly heads: HeadArguments; readonly epsilon: number },
  projection: 'query' | 'key',
): SplitNormShape {
  const query = projection === 'query';
  return {
    rows: g.tokens,
    width: g.columns(projection),
    fullWidth: (query ? heads.attentionHeads : heads.keyValueHeads) * g.headDim,
    epsilon,
    share: query ? 1 : 1 / g.share.kvReplicas,
  };
}

/** Where a projection's numbers begin in the statistics of both. */
const statistics = (g: Geometry, projection: 'query' | 'key'): number => (projection === 'query' ? 0 : g.tokens);

/** A norm over every head: rows are heads of tokens. */
function headShape(g: Geometry, projection: 'query' | 'key', epsilon: number) {
  const rows = g.tokens * (projection === 'query' ? g.share.heads : g.share.kvHeads);
  return { rows, width: g.headDim, epsilon };
}

/** Where and how the attention kernels launch, and their numbers. */
function core(call: CudaCallOf<'attention.core'> | CudaCallOf<'attention.core.backward'>) {
  const { heads: all, tp, sequence, window, layer } = call.arguments;
  const g = geometry(call.rows('projected'), all, tp);
  const { heads, kvHeads } = g.share;
  const at = (projection: Projection): Address => call.real('projected', g.plane(projection));
  return {
    g,
    operands: { q: at('query'), k: at('key'), v: at('value') },
    numbers: {
      sequence,
      heads,
      kvHeads,
      width: g.headDim,
      window: window?.layers[layer] === true ? window.tokens : sequence,
      scale: 1 / Math.sqrt(g.headDim),
    },
  };
}

/** The shape for cuDNN, whose graph is causal over the whole sequence. Throws `InputError` for windows. */
function fusedShape(g: Geometry, { sequence, window, heads, kvHeads }: ReturnType<typeof core>['numbers']) {
  if (window < sequence)
    throw new InputError(`attention over windows of ${window} tokens does not run in bf16 on a card yet`, {
      expected: 'f32, or a model without windows',
    });
  return { batch: g.tokens / sequence, sequence, heads, kvHeads, headDim: g.headDim, valueDim: g.headDim };
}

/** attention.cu's `warpsPerBlock`. */
const warpsPerBlock = 4;
const warps = (count: number) => ({ blocks: Math.ceil(count / warpsPerBlock), threads: 32 * warpsPerBlock });

export const attentionKernels: CudaCatalogue<AttentionKernel> = {
  'attention.project': (call) => {
    const { heads, tp } = call.arguments;
    refuse(call, 'biases', call.has('queryBias') || call.has('keyBias') || call.has('valueBias'));
    const [tokens, inputs] = [call.rows('normed'), call.columns('normed')];
    const g = geometry(tokens, heads, tp);
    for (const projection of projections) {
      const region = projection !== 'value' && call.has('raw') ? 'raw' : 'projected';
      const size = { rows: tokens, inputs, outputs: g.columns(projection) };
      linear(call, size, {
        x: call.real('normed'),
        weight: call.real(`${projection}Weight`, ownHeads(g, projection, g.headDim * inputs)),
        y: call.real(region, g.plane(projection)),
      });
    }
  },
  'attention.squares': (call) => {
    const g = geometry(call.rows('raw'), call.arguments.heads, call.arguments.tp);
    for (const projection of normed) {
      const x = call.real('raw', g.plane(projection));
      const squares = call.f32('squares', statistics(g, projection));
      cudaSplitNormSquares(call.on, splitShape(g, call.arguments, projection), x, squares);
    }
  },
  'attention.rotate': (call) => {
    refuse(call, '', false);
    const g = geometry(call.rows('projected'), call.arguments.heads, call.arguments.tp);
    if (call.has('squares'))
      for (const projection of normed)
        cudaSplitNormApply(call.on, splitShape(g, call.arguments, projection), {
          x: call.real('raw', g.plane(projection)),
          weight: call.real(`${projection}Norm`, ownHeads(g, projection, g.headDim)),
          squares: call.f32('squares', statistics(g, projection)),
          y: call.real('projected', g.plane(projection)),
        });
    else if (call.has('raw'))
      for (const projection of normed) {
        const shape = headShape(g, projection, call.arguments.epsilon);
        cudaNormForward(call.on, shape, {
          x: call.real('raw', g.plane(projection)),
          weight: call.real(`${projection}Norm`),
          y: call.real('projected', g.plane(projection)),
          inverseRms: call.scratch(shape.rows),
        });
      }
    rotate(call, g, call.real('projected'), 1);
  },
  'attention.core': (call) => {
    const { g, operands, numbers } = core(call);
    if (call.storage === 'bf16') {
      const buffers = { ...operands, o: call.real('context'), statistics: call.f32('logSumExp') };
      call.attention.forward(call.stream, fusedShape(g, numbers), buffers);
      return;
    }
    const queries = g.tokens * g.share.heads;
    const parameters = { ...operands, ...numbers, queries, o: call.f32('context'), logSum: call.f32('logSumExp') };
    call.on.launch('attention', 'attention_forward', warps(queries), parameters);
  },
  'attention.output': (call) => {
    const size = { rows: call.rows('context'), inputs: call.columns('context'), outputs: call.columns('output') };
    if (call.has('bias')) throw new InputError('attention with an output bias does not run on a card yet');
    linear(call, size, { x: call.real('context'), weight: call.real('weight'), y: call.real('output') });
  },
  'attention.output.backward': (call) => {
    const [rows, inputs] = [call.rows('context'), call.columns('context')];
    const size = { rows, inputs, outputs: call.columns('outputGradient') };
    const dy = call.real('outputGradient');
    linearInputGradient(call, size, { dy, weight: call.real('weight'), dx: call.real('contextGradient') });
    linearWeightGradient(call, size, { dy, x: call.real('context'), dweight: call.f32('weightGradient') });
  },
  'attention.core.backward': (call) => {
    refuse(call, '', false);
    const { g, operands, numbers } = core(call);
    if (call.storage === 'bf16') {
      const buffers = { ...operands, o: call.real('context'), statistics: call.f32('logSumExp') };
      call.attention.backward(call.stream, fusedShape(g, numbers), buffers, {
        dO: call.real('contextGradient'),
        dQ: call.real('gradient', g.plane('query')),
        dK: call.real('gradient', g.plane('key')),
        dV: call.real('gradient', g.plane('value')),
      });
      return;
    }
    const [queries, keys] = [g.tokens * g.share.heads, g.tokens * g.share.kvHeads];
    const dots = call.scratch(queries);
    const shared = { ...operands, ...numbers, dO: call.f32('contextGradient'), logSum: call.f32('logSumExp'), dots };
    const dq = call.f32('gradient', g.plane('query'));
    const ofQueries = { ...shared, queries, o: call.f32('context'), dq };
    call.on.launch('attention', 'attention_query_gradient', warps(queries), ofQueries);
    const [dk, dv] = [call.f32('gradient', g.plane('key')), call.f32('gradient', g.plane('value'))];
    call.on.launch('attention', 'attention_key_gradient', warps(keys), { ...shared, keys, dk, dv });
  },
  /** Out of the rotation; then each row's dot product, which the norm over all heads needs from all ranks. */
  'attention.dots.backward': (call) => {
    refuse(call, '', false);
    const g = geometry(call.rows('gradient'), call.arguments.heads, call.arguments.tp);
    rotate(call, g, call.real('gradient'), -1);
    for (const projection of normed)
      cudaSplitNormDot(call.on, splitShape(g, call.arguments, projection), {
        x: call.real('raw', g.plane(projection)),
        weight: call.real(`${projection}Norm`, ownHeads(g, projection, g.headDim)),
        dy: call.real('gradient', g.plane(projection)),
        dots: call.f32('dots', statistics(g, projection)),
      });
  },
  'attention.rotate.backward': (call) => {
    refuse(call, '', false);
    const g = geometry(call.rows('gradient'), call.arguments.heads, call.arguments.tp);
    if (call.has('squares')) {
      for (const projection of normed) {
        const own = ownHeads(g, projection, g.headDim);
        const shape = splitShape(g, call.arguments, projection);
        cudaSplitNormBackward(call.on, shape, {
          x: call.real('raw', g.plane(projection)),
          weight: call.real(`${projection}Norm`, own),
          squares: call.f32('squares', statistics(g, projection)),
          dots: call.f32('dots', statistics(g, projection)),
          dy: call.real('gradient', g.plane(projection)),
          dweight: call.f32(`${projection}NormGradient`, own),
          scratch: call.scratch(normScratch(shape)),
        });
      }
      return;
    }
    rotate(call, g, call.real('gradient'), -1);
    if (!call.has('raw')) return;
    for (const projection of normed) {
      const shape = headShape(g, projection, call.arguments.epsilon);
      const elements = shape.rows * shape.width;
      const x = call.real('raw', g.plane(projection));
      const weight = call.real(`${projection}Norm`);
      const inverseRms = call.scratch(shape.rows);
      cudaNormForward(call.on, shape, { x, weight, y: call.scratch(elements), inverseRms });
      const dy = call.real('gradient', g.plane(projection));
      const scratch = call.scratch(normScratch(shape));
      const dweight = call.f32(`${projection}NormGradient`);
      cudaNormBackward(call.on, shape, { x, weight, inverseRms, dy, dx: dy, dweight, scratch });
    }
  },
  'attention.project.backward': (call) => {
    const { heads, tp } = call.arguments;
    const [tokens, inputs] = [call.rows('normed'), call.columns('normed')];
    const g = geometry(tokens, heads, tp);
    for (const projection of projections) {
      const own = ownHeads(g, projection, g.headDim * inputs);
      const size = { rows: tokens, inputs, outputs: g.columns(projection) };
      const dy = call.real('gradient', g.plane(projection));
      const add = projection !== 'query';
      const weight = call.real(`${projection}Weight`, own);
      linearInputGradient(call, size, { dy, weight, dx: call.real('normedGradient'), add });
      const dweight = call.f32(`${projection}WeightGradient`, own);
      linearWeightGradient(call, size, { dy, x: call.real('normed'), dweight });
    }
  },
};
