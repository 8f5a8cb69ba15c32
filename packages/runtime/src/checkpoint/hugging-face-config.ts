/**
 * The `config.json` of a Hugging Face folder. Keys are those of the published checkpoints of each family (the spelling
 * of transformers 4, which 5 reads too); fractions are written as such, because transformers 5 tells 0 from 0.0.
 */
import { InputError } from '@monta/core/units';
import type { MoeModel } from '@monta/core';
import type { SafetensorsType } from './safetensors-types.js';

export type WeightType = Extract<SafetensorsType, 'F32' | 'BF16' | 'F16'>;

/** PyTorch's names, as in `torch_dtype`. */
export const torchNames: Readonly<Record<WeightType, string>> = { F32: 'float32', BF16: 'bfloat16', F16: 'float16' };

/** A number that Python must read as a float. */
class Fraction {
  constructor(readonly value: number) {}
  get text(): string {
    const text = String(this.value);
    return /^-?\d+$/.test(text) ? `${text}.0` : text;
  }
}
const fraction = (value: number): Fraction => new Fraction(value);

type Value = string | number | boolean | null | Fraction | readonly number[];

const exportedFamilies = ['mixtral', 'qwen3_moe', 'olmoe'] as const;
type ExportedFamily = (typeof exportedFamilies)[number];

const isExported = (family: string): family is ExportedFamily => exportedFamilies.some((known) => known === family);

/**
 * What each family's attention has on queries and keys, whether it renormalises always, and whether layers may lack
 * experts.
 */
const traits: Readonly<
  Record<ExportedFamily, { qkNorm: MoeModel['qkNorm']; alwaysRenormalised: boolean; denseLayers: boolean }>
> = {
  mixtral: { qkNorm: 'none', alwaysRenormalised: true, denseLayers: false },
  qwen3_moe: { qkNorm: 'perHead', alwaysRenormalised: false, denseLayers: true },
  olmoe: { qkNorm: 'allHeads', alwaysRenormalised: false, denseLayers: false },
};

/** Why a family can't describe a model; undefined when it can. */
function mismatch(model: MoeModel, family: ExportedFamily): string | undefined {
  const { qkNorm, alwaysRenormalised, denseLayers } = traits[family];
  const { hiddenSize, attentionHeads, headDim, window, moeLayers } = model;
  if (model.qkNorm !== qkNorm) return `its query and key norm is ${model.qkNorm}, not ${qkNorm}`;
  if (model.attentionBias !== 'none') return 'its attention has biases';
  if (alwaysRenormalised && !model.normTopK) return 'its top-k weights are not renormalised';
  if (!denseLayers && moeLayers.includes(false)) return 'it has layers without experts';
  if (model.clipQkv !== undefined && family !== 'olmoe') return 'its queries are clipped';
  if (family === 'olmoe' && headDim * attentionHeads !== hiddenSize) return 'its head width is not hidden size / heads';
  if (window === undefined) return undefined;
  if (family === 'olmoe') return 'its attention has a window';
  // Neither looks at the layers that a configuration names: the window is that of all.
  return window.kind === 'sliding' && window.layers.every(Boolean) ? undefined : 'the layers of its attention window';
}

/**
 * The model as one of the families that Hugging Face has: its own, or for a shape of one's own the family that computes
 * the same. Throws InputError when there is none.
 */
export function asHuggingFace(model: MoeModel): MoeModel & { readonly family: ExportedFamily } {
  const candidates = isExported(model.family) ? [model.family] : model.family === 'generic' ? exportedFamilies : [];
  const reasons: string[] = [];
  for (const family of candidates) {
    const reason = mismatch(model, family);
    if (reason === undefined) return { ...model, family };
    reasons.push(`not ${family}: ${reason}`);
  }
  throw new InputError(`model ${model.name} (${model.family}) can't be written as a Hugging Face folder`, {
    expected: `a model of the kinds ${exportedFamilies.join(', ')}`,
    ...(reasons.length === 0 ? {} : { hint: reasons.join('; ') }),
  });
}

const architectures: Readonly<Record<ExportedFamily, string>> = {
  mixtral: 'MixtralForCausalLM',
  qwen3_moe: 'Qwen3MoeForCausalLM',
  olmoe: 'OlmoeForCausalLM',
};

function familyKeys(model: MoeModel, family: ExportedFamily): Record<string, Value> {
  const window = model.window?.tokens ?? null;
  const { experts, headDim, expertFfn, normTopK } = model;
  switch (family) {
    case 'mixtral':
      return {
        head_dim: headDim,
        intermediate_size: expertFfn,
        num_local_experts: experts,
        router_jitter_noise: fraction(0),
        sliding_window: window,
      };
    case 'qwen3_moe':
      return {
        attention_bias: false,
        decoder_sparse_step: 1,
        head_dim: headDim,
        intermediate_size: model.denseFfn > 0 ? model.denseFfn : expertFfn,
        max_window_layers: model.window === undefined ? model.layers : 0,
        mlp_only_layers: model.moeLayers.flatMap((moe, layer) => (moe ? [] : [layer])),
        moe_intermediate_size: expertFfn,
        norm_topk_prob: normTopK,
        num_experts: experts,
        sliding_window: window,
        use_sliding_window: model.window !== undefined,
      };
    case 'olmoe':
      return {
        attention_bias: false,
        clip_qkv: model.clipQkv === undefined ? null : fraction(model.clipQkv),
        intermediate_size: expertFfn,
        norm_topk_prob: normTopK,
        num_experts: experts,
      };
  }
}

/** Positions that a model without a limit of its own is said to have. */
const defaultPositions = 4096;

/** The text of `config.json` for weights stored as `type`. Throws InputError for a model of no known family. */
export function huggingFaceConfig(model: MoeModel, type: WeightType): string {
  const exported = asHuggingFace(model);
  const keys: Record<string, Value> = {
    attention_dropout: fraction(0),
    bos_token_id: null,
    eos_token_id: null,
    hidden_act: model.activation,
    hidden_size: model.hiddenSize,
    initializer_range: fraction(model.initializerRange),
    max_position_embeddings: model.maxPositions ?? defaultPositions,
    model_type: exported.family,
    num_attention_heads: model.attentionHeads,
    num_experts_per_tok: model.topK,
    num_hidden_layers: model.layers,
    num_key_value_heads: model.keyValueHeads,
    output_router_logits: true,
    pad_token_id: model.padTokenId ?? null,
    rms_norm_eps: fraction(model.rmsNormEps),
    rope_theta: fraction(model.ropeTheta),
    router_aux_loss_coef: fraction(model.auxLossCoefficient),
    tie_word_embeddings: model.tieEmbeddings,
    torch_dtype: torchNames[type],
    use_cache: true,
    vocab_size: model.vocabSize,
    ...familyKeys(model, exported.family),
  };
  const lines = Object.entries(keys)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `  "${key}": ${value instanceof Fraction ? value.text : JSON.stringify(value)}`);
  return `{\n  "architectures": ["${architectures[exported.family]}"],\n${lines.join(',\n')}\n}\n`;
}

const dtypeKey = /("(?:torch_)?dtype"\s*:\s*)"[\w.]+"/u;

/** Another type in a config that a folder came with; the rest of the text stays as it is. */
export function withWeightType(config: string, type: WeightType): string {
  return dtypeKey.test(config)
    ? config.replace(dtypeKey, `$1"${torchNames[type]}"`)
    : config.replace('{', `{\n  "torch_dtype": "${torchNames[type]}",`);
}

/**
 * A config without one of its top-level keys; the rest of the text stays as it is. Text that has no such key is given
 * back.
 */
export function withoutKey(config: string, key: string): string {
  const start = new RegExp(`(,?)\\s*"${key}"\\s*:\\s*(?=[{\\[])`, 'u').exec(config);
  if (start === null) return config;
  let depth = 0;
  let inText = false;
  let end = start.index + start[0].length;
  for (; end < config.length; end++) {
    const character = config.charAt(end);
    if (inText) {
      if (character === '\\') end++;
      else if (character === '"') inText = false;
    } else if (character === '"') inText = true;
    else if ('{['.includes(character)) depth++;
    else if ('}]'.includes(character) && --depth === 0) break;
  }
  const rest = config.slice(end + 1);
  // of the commas on both sides one stays, if something stands there on both
  return config.slice(0, start.index) + (start[1] === '' ? rest.replace(/^\s*,/u, '') : rest);
}

/** The type that a config names; undefined when it names none (or one that is no type of weights here, as "auto"). */
export function configuredType(config: string): WeightType | undefined {
  const found = /"(?:torch_)?dtype"\s*:\s*"(?:torch\.)?(\w+)"/u.exec(config)?.[1];
  return (Object.keys(torchNames) as WeightType[]).find((type) => torchNames[type] === found);
}
