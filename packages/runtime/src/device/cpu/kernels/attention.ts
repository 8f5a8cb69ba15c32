/**
 * Kernels of the attention layer. Operands of queries, keys and values are planar: all queries [T, heads * headDim],
 * then keys, then values [T, kvHeads * headDim] each.
 */
import type { KernelName } from '@monta/core';
import {
  addBias,
  attentionBackward,
  attentionForward,
  attentionScratch,
  biasGrad,
  clampForward,
  linearForward,
  linearInputGrad,
  linearWeightGrad,
  ropeForward,
  sinksGradient,
  splitNormDot,
  splitNormSquares,
  type AttentionShape,
} from '../../../transformer/index.js';
import type { CatalogueKernels, CpuCallOf } from '../kernel-call.js';
import { geometry, normed, ownHeads, projections, type Geometry } from './attention-geometry.js';
import { normBackward, normPart, normalise, rotary, rotation, splitShape, unrotate } from './attention-rotary.js';

type AttentionKernel = Extract<KernelName, `attention.${string}`>;
function attentionShape(
  call: CpuCallOf<'attention.core'> | CpuCallOf<'attention.core.backward'>,
  { tokens, headDim, share }: Geometry,
): AttentionShape {
  const { sequence, window, layer, heads } = call.arguments;
  return {
    batch: tokens / sequence,
    sequence,
    heads: share.heads,
    kvHeads: share.kvHeads,
    headDim,
    ...(heads.valueDim === undefined ? {} : { valueDim: heads.valueDim }),
    ...(heads.scoreScaling === undefined ? {} : { scoreScaling: heads.scoreScaling }),
    ...(window?.layers[layer] === true ? { window: window.tokens } : {}),
    ...(call.has('sinks') ? { sinks: call.f32('sinks') } : {}),
  };
}

/**
 * No gradient where the value was clipped; `clipped` are values after clipping, so one at the limit counts as clipped.
 */
function maskClipped(gradient: Float32Array, clipped: Float32Array, limit: number): void {
  for (let i = 0; i < gradient.length; i++) if (Math.abs(clipped[i]) >= limit) gradient[i] = 0;
}

const forward: CatalogueKernels<
  'attention.project' | 'attention.squares' | 'attention.rotate' | 'attention.core' | 'attention.output'
> = {
  'attention.project': (call) => {
    const { heads, tp, clip } = call.arguments;
    const [tokens, inputs] = [call.rows('normed'), call.columns('normed')];
    const g = geometry(tokens, heads, tp);
    const planes = g.planes(call.f32('projected'));
    const raw = call.has('raw') ? g.planes(call.f32('raw')) : planes;
    for (const projection of projections) {
      const y = projection === 'value' ? planes.value : raw[projection];
      const size = { rows: tokens, inputs, outputs: g.columns(projection) };
      const weight = ownHeads(call.f32(`${projection}Weight`), g, projection, g.headDim * inputs);
      linearForward({ gemm: call.gemm, shape: size, x: call.f32('normed'), weight, y });
      if (call.has(`${projection}Bias`))
        addBias(size, ownHeads(call.f32(`${projection}Bias`), g, projection, g.headDim), y);
    }
    if (clip !== undefined) clampForward(planes.value, clip, planes.value);
  },

  'attention.squares': (call) => {
    const { heads, tp, epsilon } = call.arguments;
    const g = geometry(call.rows('raw'), heads, tp);
    const raw = g.planes(call.f32('raw'));
    const squares = call.f32('squares');
    splitNormSquares(splitShape(g, 'query', epsilon), raw.query, squares.subarray(0, g.tokens));
    splitNormSquares(splitShape(g, 'key', epsilon), raw.key, squares.subarray(g.tokens));
  },

  /** Norm (where the model has one), clipping, rotation. */
  'attention.rotate': (call) => {
    const { clip } = call.arguments;
    const g = rotary(call, call.rows('projected'));
    const planes = g.planes(call.f32('projected'));
    if (call.has('raw'))
      for (const projection of normed) {
        normalise(call, g, projection, planes[projection]);
        if (clip !== undefined) clampForward(planes[projection], clip, planes[projection]);
      }
    const { table, query, key } = rotation(call, g);
    ropeForward(table, planes.query, query);
    ropeForward(table, planes.key, key);
  },

  'attention.core': (call) => {
    const { heads, tp } = call.arguments;
    const g = geometry(call.rows('projected'), heads, tp);
    const shape = attentionShape(call, g);
    const { query, key, value } = g.planes(call.f32('projected'));
    const [context, logSum] = [call.f32('context'), call.f32('logSumExp')];
    call.scratch(attentionScratch(shape), (scratch) =>
      attentionForward({ gemm: call.gemm, shape, q: query, k: key, v: value, out: context, logSum, scratch }),
    );
  },

  'attention.output': (call) => {
    const size = { rows: call.rows('context'), inputs: call.columns('context'), outputs: call.columns('output') };
    const output = call.f32('output');
    linearForward({ gemm: call.gemm, shape: size, x: call.f32('context'), weight: call.f32('weight'), y: output });
    if (call.has('bias') && call.arguments.tp.index === 0) addBias(size, call.f32('bias'), output);
  },
};

const backward: CatalogueKernels<Exclude<AttentionKernel, keyof typeof forward>> = {
  'attention.output.backward': (call) => {
    const [rows, inputs] = [call.rows('context'), call.columns('context')];
    const size = { rows, inputs, outputs: call.columns('outputGradient') };
    const dy = call.f32('outputGradient');
    linearInputGrad({ gemm: call.gemm, shape: size, dy, weight: call.f32('weight'), dx: call.f32('contextGradient') });
    linearWeightGrad({ gemm: call.gemm, shape: size, dy, x: call.f32('context'), dweight: call.f32('weightGradient') });
    if (call.has('biasGradient')) biasGrad(size, dy, call.f32('biasGradient'));
  },

  'attention.core.backward': (call) => {
    const { heads, tp, clip } = call.arguments;
    const g = geometry(call.rows('projected'), heads, tp);
    const shape = attentionShape(call, g);
    const { query, key, value } = g.planes(call.f32('projected'));
    const d = g.planes(call.f32('gradient'));
    const [context, logSum] = [call.f32('context'), call.f32('logSumExp')];
    const dcontext = call.f32('contextGradient');
    call.scratch(attentionScratch(shape), (scratch) =>
      attentionBackward({
        gemm: call.gemm,
        shape,
        q: query,
        k: key,
        v: value,
        out: context,
        logSum,
        dout: dcontext,
        dq: d.query,
        dk: d.key,
        dv: d.value,
        scratch,
      }),
    );
    if (call.has('sinksGradient'))
      sinksGradient(shape, { out: context, dout: dcontext, logSum }, call.f32('sinksGradient'));
    if (clip !== undefined) maskClipped(d.value, value, clip);
  },

  /** Through rotation and clipping; then each row's dot product, which the norm over all heads needs from all ranks. */
  'attention.dots.backward': (call) => {
    const g = rotary(call, call.rows('gradient'));
    const d = g.planes(call.f32('gradient'));
    unrotate(call, g, d);
    const raw = g.planes(call.f32('raw'));
    const dots = call.f32('dots');
    for (const [i, projection] of normed.entries())
      splitNormDot({
        shape: splitShape(g, projection, call.arguments.epsilon),
        x: raw[projection],
        weight: normPart(call, g, projection, call.f32(`${projection}Norm`)),
        dy: d[projection],
        dots: dots.subarray(i * g.tokens, (i + 1) * g.tokens),
      });
  },

  'attention.rotate.backward': (call) => {
    const g = rotary(call, call.rows('gradient'));
    const d = g.planes(call.f32('gradient'));
    if (!call.has('squares')) unrotate(call, g, d);
    if (!call.has('raw')) return;
    const raw = g.planes(call.f32('raw'));
    for (const [i, projection] of normed.entries()) {
      const weight = normPart(call, g, projection, call.f32(`${projection}Norm`));
      const gradient = normPart(call, g, projection, call.f32(`${projection}NormGradient`));
      normBackward(call, g, { projection, index: i, x: raw[projection], dy: d[projection], weight, gradient });
    }
  },

  'attention.project.backward': (call) => {
    const { heads, tp } = call.arguments;
    const [tokens, inputs] = [call.rows('normed'), call.columns('normed')];
    const g = geometry(tokens, heads, tp);
    const [x, dx] = [call.f32('normed'), call.f32('normedGradient')];
    const d = g.planes(call.f32('gradient'));
    for (const projection of projections) {
      const own = (all: Float32Array): Float32Array => ownHeads(all, g, projection, g.headDim * inputs);
      const size = { rows: tokens, inputs, outputs: g.columns(projection) };
      linearInputGrad({
        gemm: call.gemm,
        shape: size,
        dy: d[projection],
        weight: own(call.f32(`${projection}Weight`)),
        dx,
        add: projection !== 'query',
      });
      linearWeightGrad({
        gemm: call.gemm,
        shape: size,
        dy: d[projection],
        x,
        dweight: own(call.f32(`${projection}WeightGradient`)),
      });
      if (call.has(`${projection}BiasGradient`))
        biasGrad(size, d[projection], ownHeads(call.f32(`${projection}BiasGradient`), g, projection, g.headDim));
    }
  },
};

export const attentionKernels: CatalogueKernels<AttentionKernel> = { ...forward, ...backward };
