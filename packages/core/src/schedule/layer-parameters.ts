/**
 * The trainable tensors of one layer: names, shapes, how a layout shards them, and over which ranks their gradients are
 * summed.
 */
import type { Layout } from '../layout/layout.js';
import type { LatentAttention, MoeModel } from '../model/model.js';
import { activationOf } from './moe-shape.js';
import type { Bucket, Parameter, Slot } from './parameter.js';

type Part = Omit<Parameter, 'layer'>;
type Place = Pick<Parameter, 'shard' | 'bucket'>;

const column = { shard: { axis: 0, over: 'tp' }, bucket: 'dense' } as const satisfies Place;
const row = { shard: { axis: 1, over: 'tp' }, bucket: 'dense' } as const satisfies Place;

/** Buckets of what every TP rank holds in full: copies to which each contributes, and norms of the stream. */
export function sharing(layout: Layout): { readonly copies: Bucket; readonly norms: Bucket } {
  const copies: Bucket = layout.tp === 1 ? 'dense' : 'partial';
  return { copies, norms: activationOf(layout) === 'sequence' ? copies : 'dense' };
}

function attention(model: MoeModel, layout: Layout, prefix: string): Part[] {
  const { hiddenSize: h, headDim, attentionHeads, keyValueHeads, attentionBias, qkNorm } = model;
  const { copies } = sharing(layout);
  const [queries, keys] = [attentionHeads * headDim, keyValueHeads * headDim];
  // Fewer key/value heads than TP ranks: every rank holds them all and contributes the heads it uses.
  const keyValue: Place = keyValueHeads >= layout.tp ? column : { bucket: copies };
  const list: Part[] = [
    { slot: 'attention.query', name: `${prefix}q_proj.weight`, shape: [queries, h], ...column },
    { slot: 'attention.key', name: `${prefix}k_proj.weight`, shape: [keys, h], ...keyValue },
    { slot: 'attention.value', name: `${prefix}v_proj.weight`, shape: [keys, h], ...keyValue },
    { slot: 'attention.output', name: `${prefix}o_proj.weight`, shape: [h, queries], ...row },
  ];
  if (attentionBias !== 'none')
    list.push(
      { slot: 'attention.queryBias', name: `${prefix}q_proj.bias`, shape: [queries], ...column },
      { slot: 'attention.keyBias', name: `${prefix}k_proj.bias`, shape: [keys], ...keyValue },
      { slot: 'attention.valueBias', name: `${prefix}v_proj.bias`, shape: [keys], ...keyValue },
    );
  if (model.attentionSinks)
    list.push({ slot: 'attention.sinks', name: `${prefix}sinks`, shape: [attentionHeads], ...column });
  // Added once to the sum over TP, whose gradient every rank has in full.
  if (attentionBias === 'all')
    list.push({ slot: 'attention.outputBias', name: `${prefix}o_proj.bias`, shape: [h], bucket: 'dense' });
  if (qkNorm !== 'none') {
    const whole = qkNorm === 'allHeads';
    const query = whole ? { shape: [queries], ...column } : { shape: [headDim], bucket: copies };
    const key = whole ? { shape: [keys], ...keyValue } : { shape: [headDim], bucket: copies };
    list.push({ slot: 'attention.queryNorm', name: `${prefix}q_norm.weight`, ...query });
    list.push({ slot: 'attention.keyNorm', name: `${prefix}k_norm.weight`, ...key });
  }
  return list;
}

/**
 * Latent attention: TP splits the matrices that go up to heads and the output. What is in front of them every rank
 * computes for all tokens, and has the gradient of its own heads' part of.
 */
function latentAttention(model: MoeModel, latent: LatentAttention, layout: Layout, prefix: string): Part[] {
  const { hiddenSize: h, attentionHeads: heads, attentionBias } = model;
  const { queryRank, keyValueRank, nopeHeadDim, ropeHeadDim, valueHeadDim } = latent;
  const bucket = sharing(layout).copies;
  const [queries, low] = [heads * (nopeHeadDim + ropeHeadDim), keyValueRank + ropeHeadDim];
  const ups = heads * (nopeHeadDim + valueHeadDim);
  const biased = attentionBias !== 'none';
  const list: Part[] = [];
  if (queryRank === undefined)
    list.push({ slot: 'latent.queryUp', name: `${prefix}q_proj.weight`, shape: [queries, h], ...column });
  else {
    list.push({ slot: 'latent.queryDown', name: `${prefix}q_a_proj.weight`, shape: [queryRank, h], bucket });
    if (biased) list.push({ slot: 'latent.queryDownBias', name: `${prefix}q_a_proj.bias`, shape: [queryRank], bucket });
    list.push(
      { slot: 'latent.queryNorm', name: `${prefix}q_a_layernorm.weight`, shape: [queryRank], bucket },
      { slot: 'latent.queryUp', name: `${prefix}q_b_proj.weight`, shape: [queries, queryRank], ...column },
    );
  }
  list.push({ slot: 'latent.keyValueDown', name: `${prefix}kv_a_proj_with_mqa.weight`, shape: [low, h], bucket });
  if (biased)
    list.push({ slot: 'latent.keyValueDownBias', name: `${prefix}kv_a_proj_with_mqa.bias`, shape: [low], bucket });
  list.push(
    { slot: 'latent.keyValueNorm', name: `${prefix}kv_a_layernorm.weight`, shape: [keyValueRank], bucket },
    { slot: 'latent.keyValueUp', name: `${prefix}kv_b_proj.weight`, shape: [ups, keyValueRank], ...column },
    { slot: 'attention.output', name: `${prefix}o_proj.weight`, shape: [h, heads * valueHeadDim], ...row },
  );
  if (biased) list.push({ slot: 'attention.outputBias', name: `${prefix}o_proj.bias`, shape: [h], bucket: 'dense' });
  return list;
}

/** Gate, up and down matrices that TP splits. */
function feedForward(block: 'mlp' | 'shared', prefix: string, h: number, ffn: number): Part[] {
  return [
    { slot: `${block}.gate`, name: `${prefix}gate_proj.weight`, shape: [ffn, h], ...column },
    { slot: `${block}.up`, name: `${prefix}up_proj.weight`, shape: [ffn, h], ...column },
    { slot: `${block}.down`, name: `${prefix}down_proj.weight`, shape: [h, ffn], ...row },
  ];
}

/** Names of experts' tensors differ between families; `w1` is the gate, `w3` up, `w2` down in Mixtral. */
const expertNames = (family: string): { block: string; gate: string; up: string; down: string } =>
  family === 'mixtral'
    ? { block: 'block_sparse_moe', gate: 'w1', up: 'w3', down: 'w2' }
    : { block: 'mlp', gate: 'gate_proj', up: 'up_proj', down: 'down_proj' };

function expert(model: MoeModel, prefix: string, number: number): Part[] {
  const { hiddenSize: h, expertFfn: ffn, family, expertBias } = model;
  const names = expertNames(family);
  const of = (slot: Slot, name: string, shape: readonly number[], axis?: number): Part => ({
    slot,
    name: `${prefix}experts.${number}.${name}`,
    shape,
    ...(axis === undefined ? {} : { shard: { axis, over: 'etp' } }),
    expert: number,
    bucket: 'expert',
  });
  return [
    of('experts.gateUp', `${names.gate}.weight`, [ffn, h], 0),
    of('experts.gateUp', `${names.up}.weight`, [ffn, h], 0),
    of('experts.down', `${names.down}.weight`, [h, ffn], 1),
    // One ETP rank adds the down bias to the sum, whose gradient all of them have.
    ...(expertBias
      ? [
          of('experts.gateUpBias', `${names.gate}.bias`, [ffn], 0),
          of('experts.gateUpBias', `${names.up}.bias`, [ffn], 0),
          of('experts.downBias', `${names.down}.bias`, [h]),
        ]
      : []),
  ];
}

/** Experts that every token visits. Each TP rank has its share of a token's gate's gradient. */
function sharedExperts(model: MoeModel, layout: Layout, prefix: string): Part[] {
  const { hiddenSize: h, sharedExpertFfn: ffn, sharedExpertGate: gated } = model;
  if (ffn === 0) return [];
  const name = `${prefix}${gated ? 'shared_expert' : 'shared_experts'}`;
  const { copies } = sharing(layout);
  return [
    ...feedForward('shared', `${name}.`, h, ffn),
    ...(gated
      ? [{ slot: 'shared.tokenGate', name: `${name}_gate.weight`, shape: [1, h], bucket: copies } as const]
      : []),
  ];
}

/** `held`: the experts that are asked for. */
function experts(model: MoeModel, layout: Layout, prefix: string, held: (number: number) => boolean): Part[] {
  const moe = `${prefix}${expertNames(model.family).block}.`;
  // Every rank contributes its own slice's tokens, whoever else differentiates them: the sum then has one order for all
  // dispatchers.
  const { copies } = sharing(layout);
  const router = `${moe}${model.family === 'gpt_oss' ? 'router' : 'gate'}`;
  return [
    { slot: 'router', name: `${router}.weight`, shape: [model.experts, model.hiddenSize], bucket: copies },
    ...(model.expertBias
      ? [{ slot: 'routerBias', name: `${router}.bias`, shape: [model.experts], bucket: copies } as const]
      : []),
    ...(model.selectionBias
      ? [
          {
            slot: 'selectionBias',
            name: `${router}.e_score_correction_bias`,
            shape: [model.experts],
            bucket: 'fixed',
          } as const,
        ]
      : []),
    ...Array.from({ length: model.experts }, (_, number) => (held(number) ? expert(model, moe, number) : [])).flat(),
    ...sharedExperts(model, layout, moe),
  ];
}

/** All parameters of layer `layer`, in checkpoint order; of experts those alone that are `held`. */
export function layerParameters(
  model: MoeModel,
  layout: Layout,
  layer: number,
  held: (expert: number) => boolean = () => true,
): Parameter[] {
  const { hiddenSize: h, denseFfn, latentAttention: latent } = model;
  const prefix = `model.layers.${layer}.`;
  const bucket = sharing(layout).norms;
  const list: Part[] = [
    { slot: 'attention.norm', name: `${prefix}input_layernorm.weight`, shape: [h], bucket },
    ...(latent === undefined
      ? attention(model, layout, `${prefix}self_attn.`)
      : latentAttention(model, latent, layout, `${prefix}self_attn.`)),
    { slot: 'feedForward.norm', name: `${prefix}post_attention_layernorm.weight`, shape: [h], bucket },
    ...(model.moeLayers[layer]
      ? experts(model, layout, prefix, held)
      : feedForward('mlp', `${prefix}mlp.`, h, denseFfn)),
  ];
  return list.map((part) => ({ ...part, layer }));
}
