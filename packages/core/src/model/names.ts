/**
 * Models by the names that people and papers use: presets, Hugging Face's names, and what is said of a cut-down
 * variant.
 */
import { InputError } from '../units/errors.js';
import { didYouMeanAlike } from '../units/nearest.js';
import { completeModel } from './model.js';
import type { MoeModel } from './model.js';
import { furtherModels, modelPresets } from './presets.js';
import { missingFor } from './unsupported.js';

/** Other names of models; spelled as `keyOf` leaves them, without the maker's name. */
export const otherNames: ReadonlyMap<string, string> = new Map([
  ['deepseekllm7b', 'deepseek-7b'],
  ['deepseekllm67b', 'deepseek-67b'],
  ['deepseekmoe', 'deepseek-moe-16b'],
  // torchtitan's sizes of its DeepSeek-V3
  ['deepseekv316b', 'deepseek-v2-lite'],
  ['deepseekv3236b', 'deepseek-v2'],
  ['deepseekv2lite16b', 'deepseek-v2-lite'],
  ['deepseekcoderv2', 'deepseek-v2'],
  ['deepseekcoderv2lite', 'deepseek-v2-lite'],
  ['deepseekv2.5', 'deepseek-v2'],
  ['deepseekv2236b', 'deepseek-v2'],
  ['deepseekv3671b', 'deepseek-v3'],
  ['deepseekv3.1', 'deepseek-v3'],
  ['deepseekv3.1terminus', 'deepseek-v3'],
  ['deepseekr1', 'deepseek-v3'],
  ['deepseekr1671b', 'deepseek-v3'],
  ['deepseekr1distillllama8b', 'llama-3-8b'],
  ['deepseekr1distillllama70b', 'llama-3-70b'],
  ['deepseekr1distillqwen14b', 'qwen2.5-14b'],
  ['deepseekr1distillqwen32b', 'qwen2.5-32b'],
  ['moonlight', 'moonlight-16b-a3b'],
  ['moonlight16b', 'moonlight-16b-a3b'],
  ['kimik21t', 'kimi-k2'],
  // the text part of a model with images
  ['kimik2.5', 'kimi-k2'],
  ['qwen330b', 'qwen3-30b-a3b'],
  ['qwen3235b', 'qwen3-235b-a22b'],
  ['qwen3coder30ba3b', 'qwen3-30b-a3b'],
  ['qwen3coder480b', 'qwen3-coder-480b-a35b'],
  ['qwen1.5a2.7b', 'qwen1.5-moe-a2.7b'],
  ['qwen2a2.7b', 'qwen1.5-moe-a2.7b'],
  ['qwen257b', 'qwen2-57b-a14b'],
  ['qwq32b', 'qwen2.5-32b'],
  ['llama130b', 'llama-30b'],
  ['llama133b', 'llama-30b'],
  ['llama17b', 'llama-7b'],
  ['llama113b', 'llama-13b'],
  ['llama165b', 'llama-65b'],
  ['codellama70b', 'llama-2-70b'],
  ['llama3.18b', 'llama-3-8b'],
  ['llama3.170b', 'llama-3-70b'],
  ['llama3.370b', 'llama-3-70b'],
  ['llama3.1nemotron70b', 'llama-3-70b'],
  ['llama3405b', 'llama-3.1-405b'],
  ['llama405b', 'llama-3.1-405b'],
  ['llama31b', 'llama-3.2-1b'],
  ['llama4scout17b16e', 'llama-4-scout'],
  ['llama4scout17be16', 'llama-4-scout'],
  ['llama4scout109b', 'llama-4-scout'],
  ['llama4109b', 'llama-4-scout'],
  ['llama416e', 'llama-4-scout'],
  ['llama4e16', 'llama-4-scout'],
  ['llama4maverick17b128e', 'llama-4-maverick'],
  ['llama4maverick17be128', 'llama-4-maverick'],
  ['llama4maverick400b', 'llama-4-maverick'],
  ['llama4400b', 'llama-4-maverick'],
  ['llama4128e', 'llama-4-maverick'],
  ['llama4e128', 'llama-4-maverick'],
  ['mistralnemo', 'mistral-nemo-12b'],
  ['mistralsmall', 'mistral-small-24b'],
  ['mistrallarge', 'mistral-large-123b'],
  ['mistral12b', 'mistral-nemo-12b'],
  ['mistral24b', 'mistral-small-24b'],
  ['mistral123b', 'mistral-large-123b'],
  ['mixtral8x7b47b', 'mixtral-8x7b'],
  ['mixtral8x22b141b', 'mixtral-8x22b'],
  ['phi3mini3.8b', 'phi-3-mini'],
  ['phi3.5mini', 'phi-3-mini'],
  ['phi3medium14b', 'phi-3-medium'],
  ['phi414b', 'phi-4'],
  ['phi3.516x3.8b', 'phi-3.5-moe'],
  ['phi3.542b', 'phi-3.5-moe'],
  ['granite3.02b', 'granite-3-2b'],
  ['granite3.12b', 'granite-3-2b'],
  ['granite3.08b', 'granite-3-8b'],
  ['granite3.18b', 'granite-3-8b'],
  ['granite3.01ba400m', 'granite-3-1b-a400m'],
  ['granite3.11ba400m', 'granite-3-1b-a400m'],
  ['granite3.03ba800m', 'granite-3-3b-a800m'],
  ['granite3.13ba800m', 'granite-3-3b-a800m'],
  ['nemotron8b', 'nemotron-3-8b'],
  ['nemotron22b', 'nemotron-3-22b'],
  ['nemotron15b', 'nemotron-4-15b'],
  ['nemotron340b', 'nemotron-4-340b'],
  ['gpt3', 'gpt3-175b'],
  ['gpt3126m', 'gpt3-125m'],
  ['gpt126m', 'gpt3-125m'],
  ['mtnlg', 'gpt-530b'],
  ['mtnlg530b', 'gpt-530b'],
  ['turing530b', 'gpt-530b'],
  ['turingnlg530b', 'gpt-530b'],
  ['megatronturing530b', 'gpt-530b'],
  ['megatronturingnlg', 'gpt-530b'],
  ['megatronturingnlg530b', 'gpt-530b'],
  ['gpt2124m', 'gpt-2'],
  ['gpt21.5b', 'gpt-2-xl'],
  ['bloom', 'bloom-176b'],
  ['bloom7b1', 'bloom-7.1b'],
  ['dbrx132b', 'dbrx'],
  ['grok1314b', 'grok-1'],
  ['grok314b', 'grok-1'],
  ['olmoe', 'olmoe-1b-7b'],
  ['olmoe7b', 'olmoe-1b-7b'],
  ['gptoss117b', 'gpt-oss-120b'],
  ['gptoss21b', 'gpt-oss-20b'],
  ['minimaxm2230b', 'minimax-m2'],
  ['minimaxm2.1', 'minimax-m2'],
  ['hunyuan80ba13b', 'hunyuan-a13b'],
  ['ernie4.521b', 'ernie-4.5-21b-a3b'],
  ['ernie4.5300b', 'ernie-4.5-300b-a47b'],
  ['glm4.5355b', 'glm-4.5'],
  ['glm4.5355ba32b', 'glm-4.5'],
  ['glm4.6', 'glm-4.5'],
  ['glm4.7', 'glm-4.5'],
  ['glm4.5air106b', 'glm-4.5-air'],
  ['glm4.5106b', 'glm-4.5-air'],
  ['glm4.5air106ba12b', 'glm-4.5-air'],
]);

/** Versions written without their dot, as in names of recipes: `llama31_405b`, `Qwen2_5-7B`, `glm45-air`. */
const dotted = (name: string): string =>
  name
    .replace(/(\d)_(\d)(?=[\s_-])/gu, '$1.$2')
    .replace(/^((?:.*[\s_-])?(?:llama[\s_-]?3|qwen[\s_-]?[12]|glm[\s_-]?4|phi[\s_-]?3))([1-9])(?=[\s_-])/iu, '$1.$2');

/** Letters, digits and dots: what is left of a name when case and separators do not matter. */
const keyOf = (name: string): string =>
  dotted(name)
    .toLowerCase()
    .replace(/[^a-z0-9.]+/gu, '');

const known: ReadonlyMap<string, MoeModel> = new Map([...furtherModels, ...modelPresets]);

/** Sizes of GPT by other first words; a name of its own goes before. */
const gptKeys = [...known].flatMap(([name, model]): (readonly [string, MoeModel])[] => {
  const size = /^gpt3?-(\d+(?:\.\d+)?[mbt])$/u.exec(name)?.[1];
  const firsts = ['gpt', 'gpt3', 'megatron', 'megatrongpt', 'megatronlm', 'megatrongpt3', 'nemogpt3'];
  return size === undefined ? [] : firsts.map((first) => [keyOf(`${first}-${size}`), model]);
});

const byKey: ReadonlyMap<string, MoeModel> = new Map([
  ...gptKeys,
  ...[...otherNames].flatMap(([key, name]) => {
    const model = known.get(name);
    return model === undefined ? [] : [[key, model] as const];
  }),
  ...[...known].map(([name, model]) => [keyOf(name), model] as const),
]);

/** What follows a name without changing the shape: how it was tuned, when, in what type. */
const variant = new RegExp(
  `[\\s_-]+(?:${[
    'instruct|base|chat|hf|thinking|it|pt|preview|exp|lm|llm|moe|dense|model',
    'pretrain(?:ing)?|sft|finetun(?:e|ing)|peft|lora|fsdp\\d?|dropless|tokendrop',
    'v\\d+(?:\\.\\d+)?|bf16|fp16|(?:mx)?fp8|(?:nv|mx)?fp4|\\d{4}|\\d+-node|\\d+k',
  ].join('|')})$`,
  'iu',
);

/** Who made a model, before its name. */
const maker = new RegExp(
  `^(?:${[
    'meta|nvidia|nemo|openai|moonshot(?:ai)?|google|microsoft|ibm|databricks|tencent|baidu|zhipu|zai|xai',
    'bigscience|mosaicml|facebook|alibaba|huggingface|hf',
  ].join('|')})[\\s_-]+`,
  'iu',
);

/** A name as said: what model, and what of it is different. */
interface Said {
  readonly name: string;
  /** A size alone in brackets, as `GPT-3 (175B)`. */
  readonly size?: string;
  readonly layers?: number;
  readonly experts?: number;
  readonly topK?: number;
  readonly multiTokenLayers?: number;
  /** Sizes that must be those of the model. */
  readonly sizes: Partial<Record<'hiddenSize' | 'denseFfn' | 'expertFfn' | 'sharedExpertFfn', number>>;
}

const numberIn = (text: string, pattern: RegExp): number | undefined => {
  const found = pattern.exec(text)?.[1];
  return found === undefined ? undefined : Number(found.replaceAll(',', ''));
};

/** `given` without what is undefined. */
function only<T extends object>(given: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

/**
 * Takes `Llama3 truncated to 12 layers`, `Grok-1 314B architecture, 4 layers`, `DeepSeekV3 (w/o MTP)`, `GPT-3
 * (175B)`, `X proxy: 14 layers, 64 experts top-8` apart.
 */
function said(text: string): Said {
  const inBrackets = [...text.matchAll(/\(([^)]*)\)/gu)].map(([, inside = '']) => inside).join(' ');
  const plain = text.replaceAll(/\([^)]*\)/gu, ' ').trim();
  const head = /^(.*?)(?:\s+truncated\s+to\b|\s+architecture\s*,|\s+proxy\s*:|\s*,)/iu.exec(plain)?.[1] ?? plain;
  const rest = `${plain.slice(head.length)} ${inBrackets}`;
  const withoutMtp = /w\/o\s*MTP|without\s+MTP/iu.test(inBrackets);
  const mtp = withoutMtp
    ? 0
    : (numberIn(rest, /\b(\d+)\s+MTP\b/iu) ?? (/w\/\s*MTP/iu.test(inBrackets) ? 1 : undefined));
  return {
    name: head.replace(/^[\w.-]+\//u, '').trim(),
    ...only({
      size: /(?:^| )((?:\d+x)?\d+(?:\.\d+)?[mbt](?:-a\d+b)?)(?: |$)/iu.exec(inBrackets)?.[1],
      layers: numberIn(rest, /\b(\d+)\s+layers?\b/iu),
      experts: numberIn(rest, /\b(\d+)\s+experts\b/iu),
      topK: numberIn(rest, /\btop-(\d+)/iu),
      multiTokenLayers: mtp,
    }),
    sizes: only({
      hiddenSize: numberIn(rest, /\bh(\d{3,})\b/iu),
      denseFfn: numberIn(rest, /(?<!expert )\bffn(\d{3,})\b/iu),
      expertFfn: numberIn(rest, /\bexpert ffn\s*(\d{3,})\b/iu),
      sharedExpertFfn: numberIn(rest, /\bshared\s+(\d{3,})\b/iu),
    }),
  };
}

/** A model by a key; `moe` and `dense` in it say what the model is anyway. */
const ofKey = (key: string): MoeModel | undefined => byKey.get(key) ?? byKey.get(key.replace(/moe|dense/u, ''));

/** The model that a plain name means, with variants' endings taken off one after another. */
function modelNamed(name: string): MoeModel | undefined {
  let rest = name;
  for (;;) {
    const found = ofKey(keyOf(rest)) ?? ofKey(keyOf(rest.replace(maker, '')));
    if (found !== undefined) return found;
    const shorter = rest.replace(variant, '');
    if (shorter === rest) return undefined;
    rest = shorter;
  }
}

/**
 * A known model by name, in any case: a preset, Hugging Face's name of it (`mistralai/Mixtral-8x7B-v0.1`), or a
 * cut-down one (`llama3_70b truncated to 12 layers`). Throws `InputError` for a name that is not known, for one whose
 * architecture cannot be described, with what is missing, and for a variant that contradicts the model.
 */
export function getModel(text: string): MoeModel {
  const { name, size, layers, sizes, ...changes } = said(text);
  const missing = missingFor(keyOf(name));
  if (missing !== undefined) {
    throw new InputError(`"${text}" cannot be described: it has ${missing}`, {
      path: 'model',
      expected: 'a decoder of attention and feed-forward or expert layers',
      hint: 'counted without them, every figure would be wrong',
    });
  }
  const preset = modelNamed(name) ?? (size === undefined ? undefined : modelNamed(`${name}-${size}`));
  if (preset === undefined) {
    const listed = [...modelPresets.keys()];
    throw new InputError(`"${text}" is not a known model`, {
      path: 'model',
      expected: `a Hugging Face config.json, a shape, or one of ${listed.join(', ')}`,
      hint: didYouMeanAlike(name.toLowerCase(), known.keys()),
    });
  }
  for (const [key, size] of Object.entries(sizes) as [keyof Said['sizes'], number][]) {
    if (preset[key] === size) continue;
    throw new InputError(`"${text}" says ${key} ${size}, but ${preset.name} has ${preset[key]}`, {
      path: 'model',
      expected: `a variant of ${preset.name}`,
      hint: 'a shape of its own can be written in YAML',
    });
  }
  if (layers === undefined && Object.keys(changes).length === 0) return preset;
  return completeModel({ ...truncated(preset, layers ?? preset.layers, text), ...changes });
}

/** The first layers of a model. */
function truncated(model: MoeModel, layers: number, text: string): MoeModel {
  if (layers === model.layers) return model;
  if (layers < 1 || layers > model.layers) {
    throw new InputError(`"${text}" has ${layers} layers, ${model.name} has ${model.layers}`, {
      path: 'model',
      expected: `1 to ${model.layers} layers`,
    });
  }
  const { window } = model;
  return {
    ...model,
    name: `${model.name}, ${layers} layers`,
    layers,
    moeLayers: model.moeLayers.slice(0, layers),
    ...(window === undefined ? {} : { window: { ...window, layers: window.layers.slice(0, layers) } }),
  };
}
