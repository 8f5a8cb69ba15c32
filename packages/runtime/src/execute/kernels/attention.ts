/**
 * Kernels of the attention layer. Regions of queries, keys and values are planar: all queries [T, heads * headDim], then keys, then values
 * [T, kvHeads * headDim] each.
 */
import {
  addBias,
  attentionBackward,
  attentionForward,
  attentionScratch,
  biasGrad,
  clampBackward,
  clampForward,
  linearForward,
  linearInputGrad,
  linearWeightGrad,
  rmsNormBackward,
  rmsNormForward,
  ropeBackward,
  ropeForward,
  splitNormApply,
  splitNormBackward,
  splitNormDot,
  splitNormSquares,
  type AttentionShape,
  type SplitNormShape,
} from '../../transformer/index.js';
import type { KernelCall, KernelRegistry } from '../kernel.js';
import type { WeightAndGradient } from '../parameter-store.js';
import type { TrainingContext } from './context.js';
import { attentionNorm, normBackward, normForward } from './norms.js';

interface Planes {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
}

type Projection = 'query' | 'key' | 'value';
const projections: readonly Projection[] = ['query', 'key', 'value'];
const short = { query: 'q', key: 'k', value: 'v' } as const;

class AttentionKernels {
  readonly #context: TrainingContext;
  readonly #queryColumns: number;
  readonly #keyColumns: number;

  constructor(context: TrainingContext) {
    this.#context = context;
    this.#queryColumns = context.heads.heads * context.model.headDim;
    this.#keyColumns = context.heads.kvHeads * context.model.headDim;
  }

  columns(projection: Projection): number {
    return projection === 'query' ? this.#queryColumns : this.#keyColumns;
  }

  /** Planes of a region; raw queries and keys have no values. */
  planes(region: Float32Array): Planes {
    const { tokens } = this.#context;
    const key = tokens * this.#queryColumns;
    const value = key + tokens * this.#keyColumns;
    return { query: region.subarray(0, key), key: region.subarray(key, value), value: region.subarray(value) };
  }

  shape(layer: number): AttentionShape {
    const { step, model, heads } = this.#context;
    const { window } = model;
    return {
      batch: step.sequences,
      sequence: step.sequence,
      heads: heads.heads,
      kvHeads: heads.kvHeads,
      headDim: model.headDim,
      ...(window?.layers[layer] === true ? { window: window.tokens } : {}),
    };
  }

  /** Rows of a projection that belong to this rank's heads; replicated key/value weights hold them all. */
  weights(layer: number, projection: Projection): WeightAndGradient {
    const { parameters, model } = this.#context;
    const of = parameters.get(`model.layers.${layer}.self_attn.${short[projection]}_proj.weight`);
    return this.#ownHeads(of, projection, model.headDim * model.hiddenSize);
  }

  bias(layer: number, projection: Projection): WeightAndGradient | undefined {
    const { parameters, model } = this.#context;
    if (model.attentionBias === 'none') return undefined;
    const of = parameters.get(`model.layers.${layer}.self_attn.${short[projection]}_proj.bias`);
    return this.#ownHeads(of, projection, model.headDim);
  }

  norm(layer: number, projection: 'query' | 'key'): WeightAndGradient {
    const { parameters, model } = this.#context;
    const of = parameters.get(`model.layers.${layer}.self_attn.${short[projection]}_norm.weight`);
    return model.qkNorm === 'perHead' ? of : this.#ownHeads(of, projection, model.headDim);
  }

  splitShape(projection: 'query' | 'key'): SplitNormShape {
    const { tokens, model, heads } = this.#context;
    const query = projection === 'query';
    return {
      rows: tokens,
      width: this.columns(projection),
      fullWidth: (query ? model.attentionHeads : model.keyValueHeads) * model.headDim,
      epsilon: model.rmsNormEps,
      share: query ? 1 : 1 / heads.kvReplicas,
    };
  }

  project(call: KernelCall): void {
    const { model, tokens, gemm } = this.#context;
    const x = call.floats('attention.normed');
    const planes = this.planes(call.floats('attention.queryKeyValue'));
    const raw = model.qkNorm === 'none' ? planes : this.planes(call.floats('attention.rawQueryKey'));
    for (const projection of projections) {
      const y = projection === 'value' ? planes.value : raw[projection];
      const size = { rows: tokens, inputs: model.hiddenSize, outputs: this.columns(projection) };
      linearForward(gemm, size, x, this.weights(call.node.layer, projection).weight, y);
      const bias = this.bias(call.node.layer, projection);
      if (bias !== undefined) addBias(size, bias.weight, y);
    }
    if (model.clipQkv !== undefined) clampForward(planes.value, model.clipQkv, planes.value);
  }

  squares(call: KernelCall): void {
    const { tokens } = this.#context;
    const raw = this.planes(call.floats('attention.rawQueryKey'));
    const squares = call.floats('attention.squares');
    splitNormSquares(this.splitShape('query'), raw.query, squares.subarray(0, tokens));
    splitNormSquares(this.splitShape('key'), raw.key, squares.subarray(tokens));
  }

  /** Norm (where the model has one), clipping, rotation. */
  rotate(call: KernelCall): void {
    const { model, tokens, heads, rope, step } = this.#context;
    const planes = this.planes(call.floats('attention.queryKeyValue'));
    if (model.qkNorm !== 'none')
      for (const projection of ['query', 'key'] as const) {
        this.#normalise(call, projection, planes[projection]);
        if (model.clipQkv !== undefined) clampForward(planes[projection], model.clipQkv, planes[projection]);
      }
    ropeForward(rope, planes.query, tokens, heads.heads, step.sequence);
    ropeForward(rope, planes.key, tokens, heads.kvHeads, step.sequence);
  }

  core(call: KernelCall): void {
    const { gemm } = this.#context;
    const shape = this.shape(call.node.layer);
    const { query, key, value } = this.planes(call.floats('attention.queryKeyValue'));
    const [context, logSum] = [call.floats('attention.context'), call.floats('attention.logSumExp')];
    call.scratch(attentionScratch(shape), (scratch) =>
      attentionForward(gemm, shape, query, key, value, context, logSum, scratch),
    );
  }

  output(call: KernelCall): void {
    const { gemm, model, tokens, parameters } = this.#context;
    const { weight } = parameters.get(`model.layers.${call.node.layer}.self_attn.o_proj.weight`);
    const size = { rows: tokens, inputs: this.#queryColumns, outputs: model.hiddenSize };
    const output = call.floats('attention.output');
    linearForward(gemm, size, call.floats('attention.context'), weight, output);
    // The outputs of all TP ranks are summed: one of them adds the bias.
    if (model.attentionBias === 'all' && this.#context.routing.tpIndex === 0)
      addBias(size, parameters.get(`model.layers.${call.node.layer}.self_attn.o_proj.bias`).weight, output);
  }

  outputBackward(call: KernelCall): void {
    const { gemm, model, tokens, parameters } = this.#context;
    const { weight, gradient } = parameters.get(`model.layers.${call.node.layer}.self_attn.o_proj.weight`);
    const size = { rows: tokens, inputs: this.#queryColumns, outputs: model.hiddenSize };
    linearInputGrad(gemm, size, call.use(0), weight, call.floats('attention.contextGradient'));
    linearWeightGrad(gemm, size, call.use(0), call.floats('attention.context'), gradient);
    if (model.attentionBias === 'all')
      biasGrad(size, call.use(0), parameters.get(`model.layers.${call.node.layer}.self_attn.o_proj.bias`).gradient);
  }

  coreBackward(call: KernelCall): void {
    const { gemm, model } = this.#context;
    const shape = this.shape(call.node.layer);
    const { query, key, value } = this.planes(call.floats('attention.queryKeyValue'));
    const d = this.planes(call.floats('attention.qkvGradient'));
    const [context, logSum] = [call.floats('attention.context'), call.floats('attention.logSumExp')];
    const dcontext = call.floats('attention.contextGradient');
    call.scratch(attentionScratch(shape), (scratch) =>
      attentionBackward(gemm, shape, query, key, value, context, logSum, dcontext, d.query, d.key, d.value, scratch),
    );
    if (model.clipQkv !== undefined) maskClipped(d.value, value, model.clipQkv);
  }

  /** Through rotation and clipping; then each row's dot product, which the norm over all heads needs from all ranks. */
  dots(call: KernelCall): void {
    const { tokens } = this.#context;
    this.#unrotate(call);
    const raw = this.planes(call.floats('attention.rawQueryKey'));
    const d = this.planes(call.floats('attention.qkvGradient'));
    const dots = call.floats('attention.dots');
    for (const [i, projection] of (['query', 'key'] as const).entries())
      splitNormDot(
        this.splitShape(projection),
        raw[projection],
        this.norm(call.node.layer, projection).weight,
        d[projection],
        dots.subarray(i * tokens, (i + 1) * tokens),
      );
  }

  rotateBackward(call: KernelCall): void {
    const { model, tokens, heads } = this.#context;
    if (model.qkNorm !== 'allHeads') this.#unrotate(call);
    if (model.qkNorm === 'none') return;
    const raw = this.planes(call.floats('attention.rawQueryKey'));
    const d = this.planes(call.floats('attention.qkvGradient'));
    for (const [i, projection] of (['query', 'key'] as const).entries()) {
      const { weight, gradient } = this.norm(call.node.layer, projection);
      const x = raw[projection];
      const dy = d[projection];
      if (model.qkNorm === 'allHeads') {
        const shape = this.splitShape(projection);
        const squares = call.floats('attention.squares').subarray(i * tokens, (i + 1) * tokens);
        const dots = call.floats('attention.dots').subarray(i * tokens, (i + 1) * tokens);
        const inverse = squares.map((sum) => 1 / Math.sqrt((sum * shape.share) / shape.fullWidth + shape.epsilon));
        splitNormBackward(shape, x, weight, inverse, dots, dy, dy, gradient);
      } else {
        const count = projection === 'query' ? heads.heads : heads.kvHeads;
        const shape = { rows: tokens * count, width: model.headDim, epsilon: model.rmsNormEps };
        const inverse = new Float32Array(shape.rows);
        call.scratch(x.length, (y) => rmsNormForward(shape, x, weight, y, inverse));
        rmsNormBackward(shape, x, weight, inverse, dy, dy, gradient);
      }
    }
  }

  projectBackward(call: KernelCall): void {
    const { gemm, model, tokens } = this.#context;
    const x = call.floats('attention.normed');
    const dx = call.floats('attention.normedGradient');
    const d = this.planes(call.floats('attention.qkvGradient'));
    for (const projection of projections) {
      const { weight, gradient } = this.weights(call.node.layer, projection);
      const size = { rows: tokens, inputs: model.hiddenSize, outputs: this.columns(projection) };
      linearInputGrad(gemm, size, d[projection], weight, dx, projection !== 'query');
      linearWeightGrad(gemm, size, d[projection], x, gradient);
      const bias = this.bias(call.node.layer, projection);
      if (bias !== undefined) biasGrad(size, d[projection], bias.gradient);
    }
  }

  #ownHeads(all: WeightAndGradient, projection: Projection, elementsPerHead: number): WeightAndGradient {
    const { heads } = this.#context;
    if (projection === 'query' || heads.kvReplicas === 1) return all;
    const start = heads.firstKvHead * elementsPerHead;
    const end = start + heads.kvHeads * elementsPerHead;
    return { weight: all.weight.subarray(start, end), gradient: all.gradient.subarray(start, end) };
  }

  /** Queries or keys before clipping and rotation, into `out`. */
  #normalise(call: KernelCall, projection: 'query' | 'key', out: Float32Array): void {
    const { model, tokens, heads } = this.#context;
    const raw = this.planes(call.floats('attention.rawQueryKey'))[projection];
    const { weight } = this.norm(call.node.layer, projection);
    if (model.qkNorm === 'allHeads') {
      const all = call.floats('attention.squares');
      const squares = projection === 'query' ? all.subarray(0, tokens) : all.subarray(tokens);
      splitNormApply(this.splitShape(projection), raw, weight, squares, out, new Float32Array(tokens));
      return;
    }
    const rows = tokens * (projection === 'query' ? heads.heads : heads.kvHeads);
    const shape = { rows, width: model.headDim, epsilon: model.rmsNormEps };
    rmsNormForward(shape, raw, weight, out, new Float32Array(rows));
  }

  #unrotate(call: KernelCall): void {
    const { model, tokens, heads, rope, step } = this.#context;
    const d = this.planes(call.floats('attention.qkvGradient'));
    ropeBackward(rope, d.query, tokens, heads.heads, step.sequence);
    ropeBackward(rope, d.key, tokens, heads.kvHeads, step.sequence);
    const limit = model.clipQkv;
    if (limit === undefined) return;
    for (const projection of ['query', 'key'] as const)
      call.scratch(d[projection].length, (before) => {
        this.#normalise(call, projection, before);
        clampBackward(before, limit, d[projection], d[projection]);
      });
  }
}

/** No gradient where the value was clipped; `clipped` are values after clipping, so one at the limit counts as clipped. */
function maskClipped(gradient: Float32Array, clipped: Float32Array, limit: number): void {
  for (let i = 0; i < gradient.length; i++) if (Math.abs(clipped[i]) >= limit) gradient[i] = 0;
}

export function attentionKernels(context: TrainingContext): KernelRegistry {
  const kernels = new AttentionKernels(context);
  return {
    'attention.norm': normForward(context, attentionNorm),
    'attention.project': (call) => kernels.project(call),
    'attention.squares': (call) => kernels.squares(call),
    'attention.rotate': (call) => kernels.rotate(call),
    'attention.core': (call) => kernels.core(call),
    'attention.output': (call) => kernels.output(call),
    'attention.output.backward': (call) => kernels.outputBackward(call),
    'attention.core.backward': (call) => kernels.coreBackward(call),
    'attention.dots.backward': (call) => kernels.dots(call),
    'attention.rotate.backward': (call) => kernels.rotateBackward(call),
    'attention.project.backward': (call) => kernels.projectBackward(call),
    'attention.norm.backward': normBackward(context, attentionNorm),
  };
}
