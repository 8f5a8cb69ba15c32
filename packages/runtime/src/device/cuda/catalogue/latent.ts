/**
 * Latent attention: down to low ranks, their norms, up to heads. Rows of keys' and values' low rank hold the rank, then
 * the part of keys that turns, which all heads share; each head of queries and keys holds what has no position, then
 * what turns.
 */
import type { KernelName } from '@monta/core';
import type { LinearShape, NormShape } from '../../../transformer/index.js';
import type { Address } from '../bindings/index.js';
import { elementSize } from '../operations/launcher.js';
import { addBias, sumHeads } from '../operations/matrix.js';
import { cudaNormBackward, cudaNormForward, normScratch } from '../operations/norm.js';
import { cudaRope } from '../operations/tokens.js';
import { angles } from './angles.js';
import type { CudaCallOf, CudaCatalogue, CudaKernelCall } from './call.js';
import { copyColumns, linear, linearInputGradient, linearWeightGradient, sumOfRows } from './linear.js';

type LatentKernel = Extract<KernelName, `latent.${string}`>;
type ExpandCall = CudaCallOf<'latent.expand'> | CudaCallOf<'latent.expand.backward'>;

const sizeOf = (rows: number, weight: { readonly rows: number; readonly columns: number }): LinearShape => ({
  rows,
  inputs: weight.columns,
  outputs: weight.rows,
});

/** Heads of this rank, widths, and where the planes of a region begin, in elements. */
function geometry(call: ExpandCall) {
  const { heads, latent, tp, sequence, interleaved } = call.arguments;
  const tokens = call.rows('queryInput');
  const own = heads.attentionHeads / tp.size;
  const width = latent.nope + latent.rope;
  const plane = tokens * own * width;
  const rows = { rows: tokens, sequence, half: latent.rope / 2, interleaved };
  return {
    ...latent,
    tokens,
    heads: own,
    width,
    plane: { query: 0, key: plane, value: 2 * plane },
    table: angles(call.context, call.arguments, latent.rope),
    /** Of queries, in every head behind what does not turn; and of the keys' part alone. */
    turning: { ...rows, heads: own, stride: width, offset: latent.nope },
    shared: { ...rows, heads: 1 },
  };
}

/** Room for elements of the launch's type. */
const room = (call: Pick<CudaKernelCall<never>, 'scratch' | 'storage'>, elements: number): Address =>
  call.scratch(Math.ceil((elements * elementSize(call.storage)) / 4));

/** Copies between rows [nope, value] of every head and planes of keys and values. */
function spread(
  call: ExpandCall,
  { joined, key, value }: { readonly joined: Address; readonly key: Address; readonly value: Address },
  way: 'apart' | 'together',
): void {
  const g = geometry(call);
  const both = g.nope + g.value;
  const parts = [
    { plane: { address: key, width: g.width }, first: 0, columns: g.nope },
    { plane: { address: value, width: g.value }, first: g.nope, columns: g.value },
  ];
  for (const { plane, first, columns } of parts) {
    const side = { address: joined + elementSize(call.storage) * first, width: both };
    const [from, to] = way === 'apart' ? [side, plane] : [plane, side];
    copyColumns(call, { from, to }, { rows: g.tokens * g.heads, columns });
  }
}

type NormCall = CudaCallOf<'latent.norm.backward'>;

/** Gradient of a norm; dx is overwritten. */
function normBackward(
  call: NormCall,
  shape: NormShape,
  arrays: {
    readonly x: Address;
    readonly weight: Address;
    readonly dy: Address;
    readonly dx: Address;
    readonly dweight: Address;
  },
): void {
  const { x, weight, dx } = arrays;
  const inverseRms = call.scratch(shape.rows);
  cudaNormForward(call.on, shape, { x, weight, y: dx, inverseRms });
  cudaNormBackward(call.on, shape, { ...arrays, inverseRms, scratch: call.scratch(normScratch(shape)) });
}

export const latentKernels: CudaCatalogue<LatentKernel> = {
  'latent.compress': (call) => {
    const [rows, x] = [call.rows('normed'), call.real('normed')];
    const down = (part: 'query' | 'keyValue'): void => {
      const shape = sizeOf(rows, call.operand(`${part}Down`));
      const y = call.real(`${part}Low`);
      linear(call, shape, { x, weight: call.real(`${part}Down`), y });
      if (call.has(`${part}DownBias`))
        addBias(call.on, { rows, width: shape.outputs }, { y, bias: call.real(`${part}DownBias`) });
    };
    if (call.has('queryDown')) down('query');
    down('keyValue');
  },

  'latent.norm': (call) => {
    const { epsilon } = call.arguments;
    const rows = call.rows('keyValueLow');
    const inverseRms = call.scratch(rows);
    if (call.has('queryLow')) {
      const shape = { rows, width: call.columns('queryLow'), epsilon };
      const arrays = { x: call.real('queryLow'), weight: call.real('queryNorm'), y: call.real('queryLowNormed') };
      cudaNormForward(call.on, shape, { ...arrays, inverseRms });
    }
    const shape = { rows, width: call.columns('keyValueLowNormed'), epsilon };
    const y = call.real('keyValueLowNormed');
    const from = { address: call.real('keyValueLow'), width: call.columns('keyValueLow') };
    copyColumns(call, { from, to: { address: y, width: shape.width } }, { rows, columns: shape.width });
    cudaNormForward(call.on, shape, { x: y, weight: call.real('keyValueNorm'), y, inverseRms });
  },

  'latent.expand': (call) => {
    const g = geometry(call);
    const rows = g.tokens;
    const query = call.real('projected');
    const [key, value] = [call.real('projected', g.plane.key), call.real('projected', g.plane.value)];
    const ofQueries = sizeOf(rows, call.operand('queryUp'));
    linear(call, ofQueries, { x: call.real('queryInput'), weight: call.real('queryUp'), y: query });
    cudaRope(call.on, g.turning, { x: query, ...g.table }, 1);
    const ofKeys = sizeOf(rows, call.operand('keyValueUp'));
    const joined = room(call, rows * ofKeys.outputs);
    linear(call, ofKeys, { x: call.real('keyValueLowNormed'), weight: call.real('keyValueUp'), y: joined });
    spread(call, { joined, key, value }, 'apart');
    const shared = { address: room(call, rows * g.rope), width: g.rope };
    const low = { address: call.real('keyValueLow', g.keyValueRank), width: call.columns('keyValueLow') };
    const part = { rows, columns: g.rope };
    copyColumns(call, { from: low, to: shared }, part);
    cudaRope(call.on, g.shared, { x: shared.address, ...g.table }, 1);
    for (let head = 0; head < g.heads; head++) {
      const address = call.real('projected', g.plane.key + head * g.width + g.nope);
      copyColumns(call, { from: shared, to: { address, width: g.heads * g.width } }, part);
    }
  },

  'latent.expand.backward': (call) => {
    const g = geometry(call);
    const rows = g.tokens;
    const [key, value] = [call.real('gradient', g.plane.key), call.real('gradient', g.plane.value)];
    const ofQueries = sizeOf(rows, call.operand('queryUp'));
    const dquery = room(call, rows * ofQueries.outputs);
    const plane = { address: call.real('gradient'), width: ofQueries.outputs };
    const copied = { rows, columns: ofQueries.outputs };
    copyColumns(call, { from: plane, to: { ...plane, address: dquery } }, copied);
    cudaRope(call.on, g.turning, { x: dquery, ...g.table }, -1);
    const [queryUp, dqueryInput] = [call.real('queryUp'), call.real('queryInputGradient')];
    linearInputGradient(call, ofQueries, { dy: dquery, weight: queryUp, dx: dqueryInput });
    const ofInput = { dy: dquery, x: call.real('queryInput'), dweight: call.f32('queryUpGradient') };
    linearWeightGradient(call, ofQueries, ofInput);
    const ofKeys = sizeOf(rows, call.operand('keyValueUp'));
    const joined = room(call, rows * ofKeys.outputs);
    spread(call, { joined, key, value }, 'together');
    const [keyValueUp, dlow] = [call.real('keyValueUp'), call.real('keyValueLowNormedGradient')];
    linearInputGradient(call, ofKeys, { dy: joined, weight: keyValueUp, dx: dlow });
    const ofLow = { dy: joined, x: call.real('keyValueLowNormed'), dweight: call.f32('keyValueUpGradient') };
    linearWeightGradient(call, ofKeys, ofLow);
    const shared = call.real('keyRopeGradient');
    const ofHeads = { rows, heads: g.heads, stride: g.width, first: g.nope, width: g.rope };
    sumHeads(call.on, ofHeads, key, shared);
    cudaRope(call.on, g.shared, { x: shared, ...g.table }, -1);
  },

  'latent.norm.backward': (call) => {
    const { epsilon } = call.arguments;
    const rows = call.rows('keyValueLow');
    if (call.has('queryLow'))
      normBackward(
        call,
        { rows, width: call.columns('queryLow'), epsilon },
        {
          x: call.real('queryLow'),
          weight: call.real('queryNorm'),
          dy: call.real('queryLowNormedGradient'),
          dx: call.real('queryLowGradient'),
          dweight: call.f32('queryNormGradient'),
        },
      );
    const [rank, rope] = [call.columns('keyValueLowNormedGradient'), call.columns('keyRopeGradient')];
    const width = call.columns('keyValueLow');
    const x = { address: room(call, rows * rank), width: rank };
    const dx = { address: room(call, rows * rank), width: rank };
    copyColumns(call, { from: { address: call.real('keyValueLow'), width }, to: x }, { rows, columns: rank });
    normBackward(
      call,
      { rows, width: rank, epsilon },
      {
        x: x.address,
        weight: call.real('keyValueNorm'),
        dy: call.real('keyValueLowNormedGradient'),
        dx: dx.address,
        dweight: call.f32('keyValueNormGradient'),
      },
    );
    const out = (first: number) => ({ address: call.real('keyValueLowGradient', first), width });
    copyColumns(call, { from: dx, to: out(0) }, { rows, columns: rank });
    const shared = { address: call.real('keyRopeGradient'), width: rope };
    copyColumns(call, { from: shared, to: out(rank) }, { rows, columns: rope });
  },

  'latent.compress.backward': (call) => {
    const [rows, x, dx] = [call.rows('normed'), call.real('normed'), call.real('normedGradient')];
    let add = call.arguments.accumulate;
    const down = (part: 'query' | 'keyValue'): void => {
      const shape = sizeOf(rows, call.operand(`${part}Down`));
      const dy = call.real(`${part}LowGradient`);
      linearInputGradient(call, shape, { dy, weight: call.real(`${part}Down`), dx, add });
      linearWeightGradient(call, shape, { dy, x, dweight: call.f32(`${part}DownGradient`) });
      if (call.has(`${part}DownBiasGradient`))
        sumOfRows(call, { rows, width: shape.outputs }, { x: dy, out: call.f32(`${part}DownBiasGradient`) });
      add = true;
    };
    if (call.has('queryDown')) down('query');
    down('keyValue');
  },
};
