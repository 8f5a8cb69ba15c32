/**
 * Architectures that a shape of ours cannot describe, and what is missing. They are refused by name: counted as
 * something near, they would be wrong in silence.
 */
const linear = 'layers of linear attention among its attention layers';
const mamba = 'state-space (Mamba) layers among its attention layers';
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
  ['phi', 'attention and feed-forward side by side'],
  ['cohere', 'attention and feed-forward side by side'],
  ['cohere2', 'attention and feed-forward side by side'],
  ['falcon', 'attention and feed-forward side by side'],
  ['gpt_neox', 'attention and feed-forward side by side'],
]);

/** By name, letters, digits and dots only: what people call such models. */
const unsupportedNames: readonly (readonly [pattern: RegExp, missing: string])[] = [
  [/nemotron(?:v)?\d?[._]?\d?.*(?:nano|super|ultra|lightning)|nemotronh|(?:nano|super|ultra).*nemotron/u, mamba],
  [/qwen3(?:next|\.5)/u, linear],
  [/minimax(?:text)?(?:01|m1)|kimilinear|ring.*linear|rwkv/u, linear],
  [/deepseekv4/u, 'compressed sparse attention and hyper-connections'],
  [/deepseekv3\.2|glm5/u, indexer],
  [/jamba|zamba|bamba|falcon.?h1|^mamba|granite4|hymba/u, mamba],
  [/recurrentgemma|griffin/u, 'recurrent layers among its attention layers'],
  [/lfm2/u, 'convolution layers among its attention layers'],
];

/** What is missing to describe the model of this name; undefined when nothing is known against it. */
export const missingFor = (key: string): string | undefined =>
  unsupportedNames.find(([pattern]) => pattern.test(key))?.[1];
