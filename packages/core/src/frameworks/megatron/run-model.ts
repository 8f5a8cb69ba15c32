/** The model that Megatron flags describe: what its sizes, FLOPs and memory depend on. */
import { completeModel, type MoeModel } from '../../model/model.js';
import { limits } from '../../units/limits.js';
import { moeLayersOf } from './layer-pattern.js';
import type { MegatronRun } from './run.js';

export type DescribedModel = { readonly model: MoeModel } | { readonly missing: readonly string[] };

const flag = (field: string): string => `--${field.replaceAll('_', '-')}`;

/** Embeddings' rows: padded as Megatron does to a multiple of `--make-vocab-size-divisible-by` times TP. */
function vocabularyOf(run: MegatronRun): number | undefined {
  const padded = run.number('padded_vocab_size');
  if (padded !== undefined) return padded;
  const size = run.number('vocab_size');
  if (size === undefined) return undefined;
  const unit = (run.number('make_vocab_size_divisible_by') ?? 128) * (run.tensor ?? 1);
  return Math.ceil(size / unit) * unit;
}

function latentOf(run: MegatronRun): Partial<MoeModel> {
  if (!run.on('multi_latent_attention')) return {};
  const queryRank = run.number('q_lora_rank');
  return {
    latentAttention: {
      ...(queryRank === undefined ? {} : { queryRank }),
      keyValueRank: run.number('kv_lora_rank') ?? 32,
      nopeHeadDim: run.number('qk_head_dim') ?? 128,
      ropeHeadDim: run.number('qk_pos_emb_head_dim') ?? 64,
      valueHeadDim: run.number('v_head_dim') ?? 128,
    },
  };
}

function expertsOf(run: MegatronRun, layers: number, ffn: number): Partial<MoeModel> | undefined {
  if (!run.mixtureOfExperts)
    return { experts: 0, topK: 0, expertFfn: 0, moeLayers: Array<boolean>(layers).fill(false) };
  const moeLayers = moeLayersOf(run.text('moe_layer_freq') ?? String(run.number('moe_layer_freq') ?? 1), layers);
  if (moeLayers === undefined) return undefined;
  return {
    experts: run.number('num_experts') ?? 0,
    topK: run.number('moe_router_topk') ?? 2,
    expertFfn: run.number('moe_ffn_hidden_size') ?? ffn,
    sharedExpertFfn: run.number('moe_shared_expert_intermediate_size') ?? 0,
    sharedExpertGate: run.on('moe_shared_expert_gate'),
    scoring: run.text('moe_router_score_function') === 'sigmoid' ? 'sigmoid' : 'softmax',
    selectionBias: run.on('moe_router_enable_expert_bias'),
    moeLayers,
  };
}

const needed = ['num_layers', 'hidden_size', 'num_attention_heads'] as const;

/**
 * The model of a run, or the flags without which it can't be told. A vocabulary that only the tokenizer knows is among
 * them. Throws `InputError` for sizes that contradict each other.
 */
export function modelOfRun(run: MegatronRun): DescribedModel {
  const sizes = needed.map((field) => run.number(field));
  const [layers, hiddenSize, attentionHeads] = sizes;
  const vocabSize = vocabularyOf(run);
  if (layers === undefined || hiddenSize === undefined || attentionHeads === undefined || vocabSize === undefined)
    return {
      missing: [
        ...needed.filter((_, index) => sizes[index] === undefined).map(flag),
        ...(vocabSize === undefined ? ['--vocab-size'] : []),
      ],
    };
  if (layers > limits.layers) return { missing: [`${flag('num_layers')} of at most ${limits.layers}`] };
  const ffn = run.number('ffn_hidden_size') ?? 4 * hiddenSize;
  const experts = expertsOf(run, layers, ffn);
  if (experts === undefined) return { missing: [`${flag('moe_layer_freq')} with one entry a layer`] };
  const bias = run.on('add_bias_linear');
  const model = completeModel({
    experts: 0,
    topK: 0,
    expertFfn: 0,
    name: 'the model of the flags',
    layers,
    hiddenSize,
    attentionHeads,
    vocabSize,
    keyValueHeads: run.on('group_query_attention') ? (run.number('num_query_groups') ?? 1) : attentionHeads,
    headDim: run.number('kv_channels') ?? hiddenSize / attentionHeads,
    denseFfn: ffn,
    gated: run.on('swiglu'),
    activation: run.on('swiglu') ? 'silu' : 'gelu',
    qkNorm: run.on('qk_layernorm') ? 'perHead' : 'none',
    attentionBias: bias ? 'all' : run.on('add_qkv_bias') ? 'queryKeyValue' : 'none',
    feedForwardBias: bias,
    normBias: run.text('normalization') !== 'RMSNorm',
    tieEmbeddings: !run.on('untie_embeddings_and_output_weights'),
    multiTokenLayers: run.number('mtp_num_layers') ?? 0,
    ...latentOf(run),
    ...experts,
  });
  return { model };
}
