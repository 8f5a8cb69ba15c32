/**
 * Models by the names that people and papers use: presets, Hugging Face's names, and what is said of a cut-down
 * variant.
 */
import { InputError } from '../units/errors.js';
import { didYouMeanAlike } from '../units/nearest.js';
import { completeModel } from './model.js';
import type { MoeModel } from './model.js';
import { modelPresets } from './presets.js';
import { missingFor } from './unsupported.js';

/** Other names of presets; spelled as `keyOf` leaves them. */
const aliases: ReadonlyMap<string, string> = new Map([
  ['deepseekv3671b', 'deepseek-v3'],
  ['deepseekv3.1', 'deepseek-v3'],
  ['deepseekr1', 'deepseek-v3'],
  ['deepseekv2236b', 'deepseek-v2'],
  ['qwen330b', 'qwen3-30b-a3b'],
  ['qwen3235b', 'qwen3-235b-a22b'],
  ['qwen3moe30b', 'qwen3-30b-a3b'],
  ['qwen3moe235b', 'qwen3-235b-a22b'],
  ['qwen257b', 'qwen2.5-7b'],
  ['metallama38b', 'llama-3-8b'],
  ['metallama370b', 'llama-3-70b'],
  ['llama3.18b', 'llama-3-8b'],
  ['metallama3.18b', 'llama-3-8b'],
  ['llama3.170b', 'llama-3-70b'],
  ['metallama3.170b', 'llama-3-70b'],
  ['llama3.370b', 'llama-3-70b'],
  ['llama3405b', 'llama-3.1-405b'],
  ['metallama3.1405b', 'llama-3.1-405b'],
  ['llama4scout17b16e', 'llama-4-scout'],
  ['llama4scout109b', 'llama-4-scout'],
  ['llama4maverick17b128e', 'llama-4-maverick'],
  ['llama4maverick400b', 'llama-4-maverick'],
  ['nemotron8b', 'nemotron-3-8b'],
  ['nemotron22b', 'nemotron-3-22b'],
  ['nemotron15b', 'nemotron-4-15b'],
  ['nemotron340b', 'nemotron-4-340b'],
  ['gpt175b', 'gpt3-175b'],
  ['gpt3', 'gpt3-175b'],
  ['grok1314b', 'grok-1'],
  ['glm4.5355b', 'glm-4.5'],
]);

/** Letters, digits and dots: what is left of a name when case and separators do not matter. */
const keyOf = (name: string): string => name.toLowerCase().replace(/[^a-z0-9.]+/gu, '');

const byKey: ReadonlyMap<string, MoeModel> = new Map([
  ...[...modelPresets].map(([name, model]) => [keyOf(name), model] as const),
  ...[...aliases].flatMap(([key, name]) => {
    const model = modelPresets.get(name);
    return model === undefined ? [] : [[key, model] as const];
  }),
]);

/** What follows a name without changing the shape: how it was tuned, when, in what type. */
const variant =
  /[\s_-]+(?:instruct|base|chat|hf|thinking|it|preview|v\d+(?:\.\d+)?|bf16|(?:mx)?fp8|(?:nv|mx)?fp4|\d{4}|\d+-node)$/iu;

/** A name as said: what model, and what of it is different. */
interface Said {
  readonly name: string;
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
 * Takes `Llama3 truncated to 12 layers`, `Grok-1 314B architecture, 4 layers`, `DeepSeekV3 (w/o MTP)`, `X proxy: 14
 * layers, 64 experts top-8` apart.
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

/** The preset that a plain name means, with variants' endings taken off one after another. */
function presetOf(name: string): MoeModel | undefined {
  let rest = name;
  for (;;) {
    const found = byKey.get(keyOf(rest));
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
  const { name, layers, sizes, ...changes } = said(text);
  const missing = missingFor(keyOf(name));
  if (missing !== undefined) {
    throw new InputError(`"${text}" cannot be described: it has ${missing}`, {
      path: 'model',
      expected: 'a decoder of attention and feed-forward or expert layers',
      hint: 'counted without them, every figure would be wrong',
    });
  }
  const preset = presetOf(name);
  if (preset === undefined) {
    const known = [...modelPresets.keys()];
    throw new InputError(`"${text}" is not a known model`, {
      path: 'model',
      expected: `a Hugging Face config.json, a shape, or one of ${known.join(', ')}`,
      hint: didYouMeanAlike(name.toLowerCase(), known),
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
