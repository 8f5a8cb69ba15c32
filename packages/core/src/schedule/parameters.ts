/**
 * Every trainable tensor under its Hugging Face name: its full shape, how a layout shards it, and over which ranks its gradient is summed.
 * The loss is scaled by the whole batch's tokens, so gradients are plain sums; nothing is averaged.
 */
import { holdsExpert } from '../layout/mesh.js';
import type { Layout } from '../layout/layout.js';
import type { MoeModel } from '../model/model.js';
import { activationOf } from './moe-shape.js';
import { sliceStart } from './rows.js';

/**
 * Where a gradient is summed.
 *   partial: TP ranks hold full copies and each has the contribution of its own tokens or heads: sum over tp and dp (group `dense`)
 *   dense:   TP ranks hold shards, or copies with equal gradients: sum over `dp`
 *   expert:  sum over `edp`; the all_to_all already brought the tokens of the other replicas
 */
export type Bucket = 'partial' | 'dense' | 'expert';

export const bucketGroups = { partial: 'dense', dense: 'dp', expert: 'edp' } as const;

/**
 * Names by which templates know the parameters of a layer. The gate and up matrices of a layer's local experts lie together (gate rows, then
 * up rows, expert after expert), then the down matrices.
 */
export type Slot =
  | 'embedding'
  | 'head'
  | 'final.norm'
  | 'attention.norm'
  | `attention.${'query' | 'key' | 'value' | 'output'}${'' | 'Bias'}`
  | `attention.${'query' | 'key'}Norm`
  | 'feedForward.norm'
  | 'router'
  | `experts.${'gateUp' | 'down'}`
  | `mlp.${'gate' | 'up' | 'down'}`;

export interface Parameter {
  /** As in the checkpoint: `model.layers.0.self_attn.q_proj.weight`. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Sharded axis and the group it is sharded over; absent: every rank that has it holds all of it. */
  readonly shard?: { readonly axis: number; readonly over: 'tp' | 'etp' };
  /** Layer that it belongs to; -1 for those of no layer. */
  readonly layer: number;
  /** What it is to its layer's kernels. Experts' matrices share a slot, in the order in which the expert kernels read them. */
  readonly slot: Slot;
  /** Number of the expert it belongs to. */
  readonly expert?: number;
  readonly bucket: Bucket;
}

/** Names of experts' tensors differ between families; `w1` is the gate, `w3` up, `w2` down in Mixtral. */
const expertNames = (family: string): { block: string; gate: string; up: string; down: string } =>
  family === 'mixtral'
    ? { block: 'block_sparse_moe', gate: 'w1', up: 'w3', down: 'w2' }
    : { block: 'mlp', gate: 'gate_proj', up: 'up_proj', down: 'down_proj' };

/** All parameters of a model, in checkpoint order. */
export function parameters(model: MoeModel, layout: Layout): Parameter[] {
  const { hiddenSize: h, headDim, attentionHeads, keyValueHeads, vocabSize } = model;
  const activation = activationOf(layout);
  const one = layout.tp === 1;
  const copies: Bucket = one ? 'dense' : 'partial';
  const normBucket: Bucket = activation === 'sequence' ? copies : 'dense';
  const column = { axis: 0, over: 'tp' } as const;
  const row = { axis: 1, over: 'tp' } as const;
  // Fewer key/value heads than TP ranks: every rank holds them all and contributes the heads it uses.
  const keyValue: Pick<Parameter, 'shard' | 'bucket'> =
    keyValueHeads >= layout.tp ? { shard: column, bucket: 'dense' } : { bucket: copies };
  const names = expertNames(model.family);
  const list: Parameter[] = [
    {
      name: 'model.embed_tokens.weight',
      shape: [vocabSize, h],
      shard: column,
      bucket: 'dense',
      layer: -1,
      slot: 'embedding',
    },
  ];
  for (let layer = 0; layer < model.layers; layer++) {
    const add = (slot: Slot, parameter: Omit<Parameter, 'layer' | 'slot'>): number =>
      list.push({ ...parameter, layer, slot });
    const prefix = `model.layers.${layer}.`;
    const attention = `${prefix}self_attn.`;
    const [queries, keys] = [attentionHeads * headDim, keyValueHeads * headDim];
    add('attention.norm', { name: `${prefix}input_layernorm.weight`, shape: [h], bucket: normBucket });
    add('attention.query', { name: `${attention}q_proj.weight`, shape: [queries, h], shard: column, bucket: 'dense' });
    add('attention.key', { name: `${attention}k_proj.weight`, shape: [keys, h], ...keyValue });
    add('attention.value', { name: `${attention}v_proj.weight`, shape: [keys, h], ...keyValue });
    add('attention.output', { name: `${attention}o_proj.weight`, shape: [h, queries], shard: row, bucket: 'dense' });
    if (model.attentionBias !== 'none') {
      add('attention.queryBias', { name: `${attention}q_proj.bias`, shape: [queries], shard: column, bucket: 'dense' });
      add('attention.keyBias', { name: `${attention}k_proj.bias`, shape: [keys], ...keyValue });
      add('attention.valueBias', { name: `${attention}v_proj.bias`, shape: [keys], ...keyValue });
    }
    // Added once to the sum over TP, whose gradient every rank has in full.
    if (model.attentionBias === 'all')
      add('attention.outputBias', { name: `${attention}o_proj.bias`, shape: [h], bucket: 'dense' });
    if (model.qkNorm === 'perHead') {
      add('attention.queryNorm', { name: `${attention}q_norm.weight`, shape: [headDim], bucket: copies });
      add('attention.keyNorm', { name: `${attention}k_norm.weight`, shape: [headDim], bucket: copies });
    }
    if (model.qkNorm === 'allHeads') {
      add('attention.queryNorm', {
        name: `${attention}q_norm.weight`,
        shape: [queries],
        shard: column,
        bucket: 'dense',
      });
      add('attention.keyNorm', { name: `${attention}k_norm.weight`, shape: [keys], ...keyValue });
    }
    add('feedForward.norm', { name: `${prefix}post_attention_layernorm.weight`, shape: [h], bucket: normBucket });
    if (model.moeLayers[layer]) {
      // Every rank contributes its own slice's tokens, whoever else differentiates them: the sum then has one order for all dispatchers.
      const moe = `${prefix}${names.block}.`;
      add('router', { name: `${moe}gate.weight`, shape: [model.experts, h], bucket: copies });
      for (let expert = 0; expert < model.experts; expert++) {
        const of = `${moe}experts.${expert}.`;
        const shard = (axis: number) => ({ shard: { axis, over: 'etp' as const }, expert, bucket: 'expert' as const });
        add('experts.gateUp', { name: `${of}${names.gate}.weight`, shape: [model.expertFfn, h], ...shard(0) });
        add('experts.gateUp', { name: `${of}${names.up}.weight`, shape: [model.expertFfn, h], ...shard(0) });
        add('experts.down', { name: `${of}${names.down}.weight`, shape: [h, model.expertFfn], ...shard(1) });
      }
    } else {
      const wide = { shape: [model.denseFfn, h], shard: column, bucket: 'dense' } as const;
      add('mlp.gate', { name: `${prefix}mlp.gate_proj.weight`, ...wide });
      add('mlp.up', { name: `${prefix}mlp.up_proj.weight`, ...wide });
      add('mlp.down', {
        name: `${prefix}mlp.down_proj.weight`,
        shape: [h, model.denseFfn],
        shard: row,
        bucket: 'dense',
      });
    }
  }
  list.push({ name: 'model.norm.weight', shape: [h], bucket: normBucket, layer: -1, slot: 'final.norm' });
  if (!model.tieEmbeddings)
    list.push({
      name: 'lm_head.weight',
      shape: [vocabSize, h],
      shard: column,
      bucket: 'dense',
      layer: -1,
      slot: 'head',
    });
  return list;
}

/** Whether a rank holds (a shard of) a parameter: experts live on one EP index. */
export function holdsParameter(parameter: Parameter, model: MoeModel, layout: Layout, rank: number): boolean {
  return parameter.expert === undefined || holdsExpert(layout, model.experts, rank, parameter.expert);
}

/** A rank's piece along the sharded axis: [start, end) of the full axis; the whole axis where it is not sharded. */
export function shardRange(
  parameter: Parameter,
  layout: Layout,
  rank: number,
): { axis: number; start: number; end: number } {
  if (!parameter.shard) return { axis: 0, start: 0, end: parameter.shape[0] ?? 1 };
  const { axis, over } = parameter.shard;
  const length = parameter.shape[axis] ?? 1;
  const index = rank % layout[over];
  return { axis, start: sliceStart(length, index, layout[over]), end: sliceStart(length, index + 1, layout[over]) };
}

/** Elements of a rank's piece. */
export function shardElements(parameter: Parameter, layout: Layout, rank: number): number {
  const { axis, start, end } = shardRange(parameter, layout, rank);
  return parameter.shape.reduce((product, length, i) => product * (i === axis ? end - start : length), 1);
}

/** How many ranks of the world hold the same element: what a global norm divides each rank's contribution by. */
export function parameterCopies(parameter: Parameter, layout: Layout): number {
  if (parameter.bucket === 'expert') return layout.edp * layout.pp;
  return layout.dp * layout.cp * (parameter.shard ? 1 : layout.tp);
}
