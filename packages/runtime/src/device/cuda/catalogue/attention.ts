/** Attention in fp32. Queries, keys and values are planar: all queries [T, heads * headDim], then keys, then values [T, kvHeads * headDim] each. */
import { InputError, type HeadArguments, type KernelName } from '@monta/core';
import { headShare, ropeTable, type HeadShare } from '../../../transformer/index.js';
import { elementBytes } from '../../view.js';
import type { Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';
import { cudaNormBackward, cudaNormForward, normScratch } from '../operations/norm.js';
import { cudaRope } from '../operations/tokens.js';
import type { CudaCallOf, CudaCatalogue, CudaKernelCall } from './call.js';
import { linear, linearInputGradient, linearWeightGradient } from './linear.js';

type AttentionKernel = Exclude<
  Extract<KernelName, `attention.${string}`>,
  'attention.squares' | 'attention.dots.backward'
>;

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

type RotaryCall = CudaCallOf<'attention.rotate'> | CudaCallOf<'attention.rotate.backward'>;

/** Rotates queries and keys of a planar region in place, or back. */
function rotate(call: RotaryCall, g: Geometry, region: Address, direction: 1 | -1): void {
  const { sequence, theta } = call.arguments;
  const table = angles(call.context, sequence, g.headDim, theta);
  for (const projection of normed) {
    const heads = projection === 'query' ? g.share.heads : g.share.kvHeads;
    const x = region + elementBytes.f32 * g.plane(projection);
    cudaRope(call.on, { rows: g.tokens, heads, headDim: g.headDim, sequence }, { x, ...table }, direction);
  }
}

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
  const region = call.f32('projected');
  const at = (projection: Projection): Address => region + elementBytes.f32 * g.plane(projection);
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
      const weight = call.f32(`${projection}Weight`, ownHeads(g, projection, g.headDim * inputs));
      const size = { rows: tokens, inputs, outputs: g.columns(projection) };
      linear({ products: call, shape: size, x: call.f32('normed'), weight, y: call.f32(region, g.plane(projection)) });
    }
  },
  'attention.rotate': (call) => {
    refuse(call, 'a norm over all heads', call.has('squares'));
    const g = geometry(call.rows('projected'), call.arguments.heads, call.arguments.tp);
    if (call.has('raw'))
      for (const projection of normed) {
        const shape = headShape(g, projection, call.arguments.epsilon);
        cudaNormForward(call.on, shape, {
          x: call.f32('raw', g.plane(projection)),
          weight: call.f32(`${projection}Norm`),
          y: call.f32('projected', g.plane(projection)),
          inverseRms: call.scratch(shape.rows),
        });
      }
    rotate(call, g, call.f32('projected'), 1);
  },
  'attention.core': (call) => {
    const { g, operands, numbers } = core(call);
    const queries = g.tokens * g.share.heads;
    const parameters = { ...operands, ...numbers, queries, o: call.f32('context'), logSum: call.f32('logSumExp') };
    call.on.launch('attention', 'attention_forward', warps(queries), parameters);
  },
  'attention.output': (call) => {
    const size = { rows: call.rows('context'), inputs: call.columns('context'), outputs: call.columns('output') };
    if (call.has('bias')) throw new InputError('attention with an output bias does not run on a card yet');
    linear({ products: call, shape: size, x: call.f32('context'), weight: call.f32('weight'), y: call.f32('output') });
  },
  'attention.output.backward': (call) => {
    const [rows, inputs] = [call.rows('context'), call.columns('context')];
    const size = { rows, inputs, outputs: call.columns('outputGradient') };
    const dy = call.f32('outputGradient');
    linearInputGradient(call, size, { dy, weight: call.f32('weight'), dx: call.f32('contextGradient') });
    linearWeightGradient(call, size, { dy, x: call.f32('context'), dweight: call.f32('weightGradient') });
  },
  'attention.core.backward': (call) => {
    refuse(call, '', false);
    const { g, operands, numbers } = core(call);
    const [queries, keys] = [g.tokens * g.share.heads, g.tokens * g.share.kvHeads];
    const dots = call.scratch(queries);
    const shared = { ...operands, ...numbers, dO: call.f32('contextGradient'), logSum: call.f32('logSumExp'), dots };
    const dq = call.f32('gradient', g.plane('query'));
    const ofQueries = { ...shared, queries, o: call.f32('context'), dq };
    call.on.launch('attention', 'attention_query_gradient', warps(queries), ofQueries);
    const [dk, dv] = [call.f32('gradient', g.plane('key')), call.f32('gradient', g.plane('value'))];
    call.on.launch('attention', 'attention_key_gradient', warps(keys), { ...shared, keys, dk, dv });
  },
  'attention.rotate.backward': (call) => {
    refuse(call, 'a norm over all heads', call.has('squares'));
    const g = geometry(call.rows('gradient'), call.arguments.heads, call.arguments.tp);
    rotate(call, g, call.f32('gradient'), -1);
    if (!call.has('raw')) return;
    for (const projection of normed) {
      const shape = headShape(g, projection, call.arguments.epsilon);
      const elements = shape.rows * shape.width;
      const x = call.f32('raw', g.plane(projection));
      const weight = call.f32(`${projection}Norm`);
      const inverseRms = call.scratch(shape.rows);
      cudaNormForward(call.on, shape, { x, weight, y: call.scratch(elements), inverseRms });
      const dy = call.f32('gradient', g.plane(projection));
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
      const dy = call.f32('gradient', g.plane(projection));
      const add = projection !== 'query';
      const weight = call.f32(`${projection}Weight`, own);
      linearInputGradient(call, size, { dy, weight, dx: call.f32('normedGradient'), add });
      const dweight = call.f32(`${projection}WeightGradient`, own);
      linearWeightGradient(call, size, { dy, x: call.f32('normed'), dweight });
    }
  },
};
