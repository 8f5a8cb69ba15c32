/**
 * Architectures that a shape of ours cannot describe, and what is missing. They are refused by name: counted as
 * something near, they would be wrong in silence.
 */
const linear = 'layers of linear attention among its attention layers';
const mamba = 'state-space (Mamba) layers among its attention layers';
const besides = 'attention and feed-forward side by side';
const indexer = 'an indexer that chooses the keys of its sparse attention';

/** By `model_type` of a config.json. */
export const unsupportedTypes: ReadonlyMap<string, string> = new Map([
  ['qwen3_next', linear],
  ['qwen3_5', linear],
  ['qwen3_5_text', linear],
  ['qwen3_5_moe', linear],
  ['qwen3_5_moe_text', linear],
  ['minimax', linear],
  ['minimax_m1', linear],
  ['minimax_text_01', linear],
  ['kimi_linear', linear],
  ['bailing_moe_linear', linear],
  ['bailing_moe_linear_v2', linear],
  ['bailing_moe_v2_5', linear],
  ['bailing_hybrid', linear],
  ['rwkv', linear],
  ['glm_moe_dsa', indexer],
  ['deepseek_v32', indexer],
  ['deepseek_v4', 'compressed sparse attention and hyper-connections'],
  ['jamba', mamba],
  ['bamba', mamba],
  ['mamba', mamba],
  ['mamba2', mamba],
  ['falcon_mamba', mamba],
  ['falcon_h1', mamba],
  ['zamba', mamba],
  ['zamba2', mamba],
  ['nemotron_h', mamba],
  ['granitemoehybrid', mamba],
  ['recurrent_gemma', 'recurrent layers among its attention layers'],
  ['lfm2', 'convolution layers among its attention layers'],
  ['lfm2_moe', 'convolution layers among its attention layers'],
  ['hunyuan', 'keys and values that layers share (cross-layer attention)'],
  ['longcat_flash', 'two attentions a layer and experts that do nothing'],
  ['switch_transformers', 'an encoder beside its decoder'],
  ['nllb-moe', 'an encoder beside its decoder'],
  ['t5', 'an encoder beside its decoder'],
  ['olmo', 'norms without weights'],
  ['olmo2', 'norms behind attention and feed-forward only'],
  ['olmo3', 'norms behind attention and feed-forward only'],
  ['flex_olmo', 'norms behind attention and feed-forward only'],
  ['gemma', 'norms and embeddings that are scaled in its own way'],
  ['gemma2', 'norms and embeddings that are scaled in its own way'],
  ['gemma3', 'norms and embeddings that are scaled in its own way'],
  ['gemma3_text', 'norms and embeddings that are scaled in its own way'],
  ['gemma4', 'experts beside a dense feed-forward in every layer'],
  ['gemma4_text', 'experts beside a dense feed-forward in every layer'],
  ['gemma3n', 'embeddings of every layer'],
  ['gemma3n_text', 'embeddings of every layer'],
  ['exaone4', 'norms behind attention and feed-forward only'],
  ['exaone_moe', 'norms behind attention and feed-forward only'],
  ['step3', 'attention whose queries share a low-rank projection'],
  ['step3_text', 'attention whose queries share a low-rank projection'],
  ['step3_vl', 'attention whose queries share a low-rank projection'],
  ['arctic', 'a dense feed-forward beside the experts of every layer'],
  ['afmoe', "a gate on attention's output"],
  ['jetmoe', 'experts of attention heads'],
  ['mimo_v2_flash', 'heads that differ between layers with a window and without'],
  ['ernie4_5_moe_vl', 'experts of two kinds, for text and for images'],
  ['ernie4_5_vl_moe', 'experts of two kinds, for text and for images'],
  ['ernie4_5_vl_moe_text', 'experts of two kinds, for text and for images'],
  ['mllama', 'cross-attention to images among its layers'],
  ['mllama_text_model', 'cross-attention to images among its layers'],
  ['deci', 'layers that differ from one another'],
  ['nemotron-nas', 'layers that differ from one another'],
  ['openelm', 'layers that differ from one another'],
  ['phi3small', 'block-sparse attention'],
  ['bloom', 'positions as slopes on the scores (ALiBi)'],
  ['mpt', 'positions as slopes on the scores (ALiBi)'],
  ['bert', 'an encoder without a decoder'],
  ['roberta', 'an encoder without a decoder'],
  ['xlm-roberta', 'an encoder without a decoder'],
  ['clip_vision_model', 'an encoder without a decoder'],
  ['siglip_vision_model', 'an encoder without a decoder'],
  ['gptj', besides],
  ['codegen', besides],
  ['phi', besides],
  ['cohere', besides],
  ['cohere2', besides],
  ['falcon', besides],
  ['gpt_neox', besides],
]);

/** By name, letters, digits and dots only: what people call such models. */
const unsupportedNames: readonly (readonly [pattern: RegExp, missing: string])[] = [
  [/llama.*nemotron.*(?:super|ultra|51b|49b|253b)/u, 'layers that differ from one another'],
  [/nemotron(?:v)?\d?[._]?\d?.*(?:nano|super|ultra|lightning)|nemotronh|(?:nano|super|ultra).*nemotron/u, mamba],
  [/qwen3(?:next|\.5)/u, linear],
  [/minimax(?:text)?(?:01|m1)|kimilinear|ring.*linear|rwkv/u, linear],
  [/deepseekv4/u, 'compressed sparse attention and hyper-connections'],
  [/deepseekv3\.2|glm5/u, indexer],
  [/jamba|zamba|bamba|falcon.?h1|^mamba|granite4|hymba/u, mamba],
  [/recurrentgemma|griffin/u, 'recurrent layers among its attention layers'],
  [/lfm2/u, 'convolution layers among its attention layers'],
  [/^(?:code)?gemma/u, 'norms and embeddings that are scaled in its own way'],
  [/^(?:falcon|palm|gptj|gptneox|pythia|codegen|commandr|c4ai|aya|phi(?:1|1\.5|2)(?!\d))/u, besides],
  [/arctic/u, 'a dense feed-forward beside the experts of every layer'],
  [/^olmo(?:1b|7b|\.)/u, 'norms without weights'],
  [/^olmo[23]/u, 'norms behind attention and feed-forward only'],
  [/^hunyuan(?:large|389b)/u, 'keys and values that layers share (cross-layer attention)'],
  [/longcat/u, 'two attentions a layer and experts that do nothing'],
  [/^(?:t5|flant5|ul2|switch|nllb|bart)/u, 'an encoder beside its decoder'],
  [/^(?:bert|roberta|megatronbert)/u, 'an encoder without a decoder'],
  [/^llama3\.2(?:vision)?(?:11b|90b)/u, 'cross-attention to images among its layers'],
];

/** What is missing to describe the model of this name; undefined when nothing is known against it. */
export const missingFor = (key: string): string | undefined =>
  unsupportedNames.find(([pattern]) => pattern.test(key))?.[1];

/** Keys of a config.json by which an architecture shows that it has something a shape of ours cannot describe. */
const signs: readonly (readonly [pattern: RegExp, missing: string])[] = [
  [/^(?:mamba|ssm|state_size|conv_kernel|expand$)/u, mamba],
  [/^(?:linear_(?:num|key|value|conv|attn)|layer_group_size|attn_type_list|kda_)/u, linear],
  [/^index_(?:n_heads|head_dim|topk)/u, indexer],
  [/^(?:use_parallel_residual|parallel_attn|parallel_residual)$/u, besides],
  [/^(?:alibi|use_alibi)/u, 'positions as slopes on the scores (ALiBi)'],
  [/^(?:is_encoder_decoder|encoder_layers|num_decoder_layers)$/u, 'an encoder beside its decoder'],
  [/^cross_attention_layers$/u, 'cross-attention among its layers'],
  [/^(?:hidden_size_per_layer_input|vocab_size_per_layer_input)$/u, 'embeddings of every layer'],
  [/^(?:use_cla|cla_share_factor|num_kv_shared_layers)$/u, 'keys and values that layers share'],
];

/** What keys that are set, and not to false, say is missing, with the first of them. */
export function missingBySigns(
  entries: Iterable<readonly [key: string, value: unknown]>,
): { readonly key: string; readonly missing: string } | undefined {
  for (const [key, value] of entries) {
    if (value === null || value === false || value === 0) continue;
    const found = signs.find(([pattern]) => pattern.test(key));
    if (found !== undefined) return { key, missing: found[1] };
  }
  return undefined;
}
