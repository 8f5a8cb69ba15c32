/**
 * Reads Hugging Face `config.json` files of decoders with experts and without, in the spellings of transformers 4 and
 * 5.
 */
import { readDocument } from '../units/documents/index.js';
import type { Field } from '../units/documents/index.js';
import type { InputError } from '../units/errors.js';
import { limits } from '../units/limits.js';
import { didYouMeanAlike } from '../units/nearest.js';
import { completeModel } from './model.js';
import type { AttentionWindow, ModelFamily, ModelShape, MoeModel } from './model.js';
import { HfConfig, perLayer, refuseShare } from './huggingface-config.js';
import type { FamilyReader } from './huggingface-config.js';
import { ropeOf } from './huggingface-rope.js';
import { familyReaders } from './huggingface-families.js';
import { missingBySigns, unsupportedTypes } from './unsupported.js';

const positions = { min: 1, max: limits.sequence } as const;

/** The names of transformers (`ACT2FN`). */
const activations = [
  'gelu',
  'gelu_10',
  'gelu_accurate',
  'gelu_fast',
  'gelu_new',
  'gelu_python',
  'gelu_python_tanh',
  'gelu_pytorch_tanh',
  'laplace',
  'leaky_relu',
  'linear',
  'mish',
  'prelu',
  'quick_gelu',
  'relu',
  'relu2',
  'relu6',
  'sigmoid',
  'silu',
  'swish',
  'tanh',
  'xielu',
] as const;

/** Other spellings of model_type, and wrappers around a decoder of another type. */
const aliases: Readonly<Record<string, string>> = {
  llama4_text: 'llama4',
  kimi_k25: 'kimi_k2',
  qwen3_vl_moe: 'qwen3_moe',
  qwen3_vl_moe_text: 'qwen3_moe',
  qwen3_vl: 'qwen3',
  qwen3_vl_text: 'qwen3',
  'grok-1': 'grok',
  qwen3_omni_moe_text: 'qwen3_moe',
  sdar_moe: 'qwen3_moe',
  qwen2_vl: 'qwen2',
  qwen2_vl_text: 'qwen2',
  qwen2_5_vl: 'qwen2',
  qwen2_5_vl_text: 'qwen2',
  qwen2_5_omni_text: 'qwen2',
  glm4v_moe_text: 'glm4_moe',
  glm4v_text: 'glm4',
  // Llama's decoder under other names.
  llava: 'llama',
  aquila: 'llama',
  xverse: 'llama',
  yi: 'llama',
  Yi: 'llama',
  cwm: 'llama',
  ministral: 'mistral',
  ministral3: 'mistral',
  stablelm_epoch: 'stablelm',
  // Mistral's decoder, with its projections in fused tensors.
  phi3: 'mistral',
  phi3_v: 'mistral',
  phi4mm: 'mistral',
};

/**
 * As many as of queries where the key is null, and where the class's own default, for models of the family's usual
 * size, does not go with the heads.
 */
function keyValueHeadsOf(config: HfConfig, { keyValueHeads }: FamilyReader, heads: number): number | undefined {
  if (keyValueHeads !== undefined && heads % keyValueHeads === 0 && config.isAbsent('num_key_value_heads'))
    return keyValueHeads;
  return config.find('num_key_value_heads')?.integer({ min: 1, max: limits.width });
}

/** Families in whose classes no mask is a window, whatever the file says. */
const windowless: ReadonlySet<ModelFamily> = new Set<ModelFamily>([
  'olmoe',
  'llama',
  'deepseek',
  'deepseek_v2',
  'deepseek_v3',
  'kimi_k2',
  'glm4_moe',
  'glm4_moe_lite',
]);

/** A list with an entry for each layer, where there is one. Throws `InputError` for one of another length. */
function ofEveryLayer(field: Field | undefined, layers: number): Field[] | undefined {
  const types = field?.list(0, limits.layers);
  if (field === undefined || types === undefined || types.length === layers) return types;
  throw field.error(`${types.length} types for ${layers} layers`, { expected: 'one for each of num_hidden_layers' });
}

/** What attention each layer has, where the file says it for all of them. */
function layerTypesOf(config: HfConfig, family: ModelFamily, layers: number): readonly string[] | undefined {
  const local = family === 'llama4' ? 'chunked_attention' : 'sliding_attention';
  const types = ofEveryLayer(config.find('layer_types'), layers);
  return types?.map((type) => type.oneOf(['full_attention', local]));
}

function windowOf(config: HfConfig, family: ModelFamily, layers: number): AttentionWindow | undefined {
  const types = layerTypesOf(config, family, layers);
  if (windowless.has(family)) return undefined;
  if (family === 'llama4') {
    const tokens = config.find('attention_chunk_size')?.integer(positions);
    if (tokens === undefined) return undefined;
    // Every fourth layer is global unless layer_types says otherwise.
    return {
      kind: 'chunked',
      tokens,
      layers: perLayer(layers, (i) => (types === undefined ? (i + 1) % 4 !== 0 : types[i] === 'chunked_attention')),
    };
  }
  const qwen = family.startsWith('qwen');
  // gpt-oss alone has a window where the file says nothing of it.
  const usual = family === 'gpt_oss' ? 128 : 0;
  if (usual > 0) config.refuseNull(['sliding_window'], 'the tokens of the window that every other layer has');
  const tokens = config.find('sliding_window')?.integer({ ...positions, min: usual > 0 ? 1 : 0 }) ?? usual;
  const off = !config.booleanOr(!qwen, 'use_sliding_window');
  if (tokens === 0 || off) return undefined;
  const byFamily = windowedLayer(config, family);
  return {
    kind: 'sliding',
    tokens,
    layers: perLayer(layers, (i) => (types === undefined ? byFamily(i) : types[i] === 'sliding_attention')),
  };
}

/** Which layers have a window where no `layer_types` say it, as the configuration classes of transformers 5 fill in. */
function windowedLayer(config: HfConfig, family: ModelFamily): (layer: number) => boolean {
  if (family === 'gpt_oss') return (layer) => layer % 2 === 0;
  if (family === 'qwen2_moe') {
    const end = config.countOr(28, 'max_window_layers');
    return (layer) => layer % 2 === 0 && layer < end;
  }
  // Of Qwen's, the dense ones alone look at max_window_layers; so does dots.llm1.
  const dense = family === 'qwen2' || family === 'qwen3' || family === 'dots1';
  const from = dense ? config.countOr(family === 'dots1' ? 62 : 28, 'max_window_layers') : 0;
  return (layer) => layer >= from;
}

interface Decoder {
  readonly config: HfConfig;
  readonly reader: FamilyReader;
  /** What a wrapper around the decoder says of its embeddings. */
  readonly tied: boolean | undefined;
}

/** Under what wrappers keep their decoder; Qwen's omni models have two, one in the other. */
const wrapped = ['text_config', 'llm_config', 'language_config', 'thinker_config'];

function innerOf(field: Field): Field | undefined {
  const map = field.map();
  for (const name of wrapped) {
    const inner = map.get(name);
    if (inner !== undefined) return innerOf(inner) ?? inner;
  }
  return undefined;
}

/** A shape of one's own with what an unknown file says, to be gone over. */
function shapeText(field: Field): string {
  const config = new HfConfig(field, '');
  const known = [
    ['hiddenSize', 'hidden_size'],
    ['layers', 'num_hidden_layers'],
    ['attentionHeads', 'num_attention_heads'],
    ['keyValueHeads', 'num_key_value_heads'],
    ['vocabSize', 'vocab_size'],
    ['experts', 'num_experts'],
    ['experts', 'n_routed_experts'],
    ['experts', 'num_local_experts'],
    ['topK', 'num_experts_per_tok'],
    ['expertFfn', 'moe_intermediate_size'],
    ['denseFfn', 'intermediate_size'],
  ].flatMap(([ours = '', theirs = '']) => {
    const value = config.find(theirs)?.value;
    return typeof value === 'number' ? [`${ours}: ${value}`] : [];
  });
  return known.length === 0 ? 'hiddenSize, layers, experts, topK, …' : known.join(', ');
}

function unknownType(field: Field, place: Field, type: string): InputError {
  const known = Object.keys(familyReaders);
  const expected = `one of ${known.join(', ')}`;
  const sign = missingBySigns(Object.entries(field.value as Readonly<Record<string, unknown>>));
  if (sign !== undefined)
    return place.error(
      `model_type "${type}" is not known here, and its "${sign.key}" says that it has ${sign.missing}, ` +
        'which no shape here describes',
      { expected },
    );
  return place.error(
    `model_type "${type}" is no family that is known here: which norms and biases it has, and what its experts' keys ` +
      'mean, is missing',
    {
      expected,
      hint:
        didYouMeanAlike(type, known) ??
        'nothing is taken for a family that it only resembles; a shape of your own can be written in YAML: ' +
          shapeText(field),
    },
  );
}

/** The part of the document that describes the decoder, and which reader fits. */
function decoder(document: Field): Decoder {
  const root = document.map();
  const inner = innerOf(document);
  const field = inner ?? document;
  const type = (field.map().get('model_type') ?? root.get('model_type'))?.string();
  const known = Object.keys(familyReaders);
  if (type === undefined) {
    throw document.error('"model_type" is missing', { expected: `a config.json with model_type ${known.join(', ')}` });
  }
  const place = field.map().get('model_type') ?? root.need('model_type');
  const missing = unsupportedTypes.get(type);
  if (missing !== undefined) {
    throw place.error(`model_type "${type}" is not supported: ${missing} would be counted wrongly`, {
      expected: `one of ${known.join(', ')}`,
    });
  }
  const name = Object.hasOwn(aliases, type) ? aliases[type] : type;
  if (!Object.hasOwn(familyReaders, name)) {
    throw unknownType(field, place, type);
  }
  const tied = inner === undefined ? undefined : root.get('tie_word_embeddings')?.boolean();
  return { config: new HfConfig(field, name), reader: familyReaders[name], tied };
}

/**
 * The model that a Hugging Face `config.json` describes. `fileName` is for messages and, without `_name_or_path` in the
 * file, for the name. Throws `InputError` that names the key.
 */
export function readHfConfig(json: string, fileName: string): MoeModel {
  const document = readDocument(json, fileName);
  const { config, reader, tied } = decoder(document);
  const layers = config
    .need('num_hidden_layers', 'n_layers', 'num_layers', 'n_layer')
    .integer({ min: 1, max: limits.layers });
  const maxPositions = config.find('max_position_embeddings', 'max_seq_len', 'n_positions')?.integer(positions);
  // Others' classes leave the key out.
  const clipQkv = reader.family === 'olmoe' ? config.find('clip_qkv')?.number({ above: 0 }) : undefined;
  const headDim = config.find('head_dim', 'attention_head_dim')?.integer({ min: 1, max: limits.width });
  // The first Llama files say -1 for none.
  const padTokenId = config.find('pad_token_id')?.integer({ min: -1, max: limits.vocabulary });
  const attentionHeads = config.integer('num_attention_heads', 'n_heads', 'n_head');
  const window = windowOf(config, reader.family, layers);
  const mlpTypes = ofEveryLayer(config.find('mlp_layer_types'), layers);
  const shape: ModelShape = {
    name: config.find('_name_or_path')?.string() ?? folderName(fileName) ?? reader.family,
    family: reader.family,
    hiddenSize: config.integer('hidden_size', 'd_model', 'n_embd'),
    layers,
    attentionHeads,
    keyValueHeads: keyValueHeadsOf(config, reader, attentionHeads),
    vocabSize: config.integer('padded_vocab_size', 'vocab_size'),
    activation: config.find('hidden_act', 'activation_function')?.oneOf(activations) ?? 'silu',
    attentionBias: config.booleanOr(false, 'attention_bias') ? 'all' : 'none',
    tieEmbeddings: config.booleanOr(tied ?? reader.tied ?? false, 'tie_word_embeddings'),
    rmsNormEps: config.positiveOr(
      1e-5,
      'rms_norm_eps',
      'layer_norm_eps',
      'layernorm_epsilon',
      'layer_norm_epsilon',
      'norm_epsilon',
      'norm_eps',
    ),
    initializerRange: config.numberOr(0.02, 'initializer_range'),
    ropeTheta: reader.ropeTheta,
    ...ropeOf(config),
    ...(headDim === undefined ? {} : { headDim }),
    ...(maxPositions === undefined ? {} : { maxPositions }),
    ...(clipQkv === undefined ? {} : { clipQkv }),
    ...(padTokenId === undefined || padTokenId < 0 ? {} : { padTokenId }),
    ...(window === undefined ? {} : { window }),
    ...reader.read(config, layers),
    ...(mlpTypes === undefined
      ? {}
      : { moeLayers: mlpTypes.map((type) => type.oneOf(['dense', 'sparse']) === 'sparse') }),
  };
  // Other families take the whole head, whatever a share says; where angles are rescaled, they are as few as it says.
  if (shape.rotaryDim === undefined && (shape.ropeType !== 'default' || config.modelType === 'glm4_moe_lite'))
    refuseShare(config);
  const { keyValueHeads = shape.attentionHeads } = shape;
  return document.parsed(() => completeModel({ ...shape, keyValueHeads }));
}

/** `mixtral-tiny` of `some/mixtral-tiny/config.json`. */
function folderName(fileName: string): string | undefined {
  const parts = fileName.split(/[\\/]/u).filter((part) => part !== '' && part !== '.');
  return parts.at(-1) === 'config.json' ? parts.at(-2) : parts.at(-1)?.replace(/\.json$/iu, '');
}
