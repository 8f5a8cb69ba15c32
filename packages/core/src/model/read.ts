/** Models from text: a Hugging Face `config.json`, or a shape written in YAML with the names of `MoeModel`. */
import { readDocument } from '../units/documents/index.js';
import type { Field, FieldMap } from '../units/documents/index.js';
import { limits } from '../units/limits.js';
import { countUpTo } from '../units/quantities.js';
import { completeModel, modelFamilies } from './model.js';
import type { LatentAttention, ModelShape, MoeModel } from './model.js';
import { readHfConfig } from './huggingface.js';

const shapeKeys = [
  'name',
  'family',
  'hiddenSize',
  'layers',
  'attentionHeads',
  'keyValueHeads',
  'headDim',
  'vocabSize',
  'experts',
  'topK',
  'expertFfn',
  'sharedExpertFfn',
  'denseFfn',
  'denseLayers',
  'normTopK',
  'scoring',
  'selectionBias',
  'qkNorm',
  'gated',
  'tieEmbeddings',
  'rmsNormEps',
  'ropeTheta',
  'auxLossCoefficient',
  'slidingWindow',
  'latentAttention',
  'initializerRange',
];

/** Keys of a Hugging Face configuration that no shape in YAML has. */
const configKeys = ['model_type', 'text_config', 'architectures', 'hidden_size'];

/** Reads either form and tells them apart by the keys of Hugging Face's. Throws `InputError`. */
export function readModel(text: string, fileName: string): MoeModel {
  const document = readDocument(text, fileName);
  const keys = document.keys();
  return configKeys.some((key) => keys.includes(key)) ? readHfConfig(text, fileName) : modelFrom(document);
}

/**
 * A model from a part of a document: the keys of `MoeModel`, with `denseLayers` (numbers of the layers without experts)
 * for `moeLayers`, and `slidingWindow` in tokens for all layers. What may be left out is what `completeModel` fills in.
 * Throws `InputError`.
 */
export function modelFrom(field: Field): MoeModel {
  const map = field.map(shapeKeys);
  const size = (key: string, what: string, max: number = limits.width): number =>
    map.need(key, what).quantity(countUpTo(max));
  const layers = size('layers', 'number of layers', limits.layers);
  const dense =
    map
      .get('denseLayers')
      ?.list(0, layers)
      .map((layer) => layer.integer({ min: 0, max: layers - 1 })) ?? [];
  const slidingWindow = map.get('slidingWindow')?.quantity(countUpTo(limits.sequence));
  const latentAttention = map.get('latentAttention');
  const scoring = map.get('scoring')?.oneOf(['softmax', 'sigmoid']) ?? 'softmax';
  const coefficient = map.get('auxLossCoefficient')?.number({ min: 0 });
  const shape: ModelShape = {
    name: map.get('name')?.string() ?? 'model',
    hiddenSize: size('hiddenSize', 'width of the residual stream'),
    layers,
    attentionHeads: size('attentionHeads', 'number of attention heads'),
    vocabSize: size('vocabSize', 'size of the vocabulary', limits.vocabulary),
    experts: size('experts', 'routed experts per layer', limits.experts),
    topK: size('topK', 'experts per token', limits.experts),
    expertFfn: size('expertFfn', 'inner width of one expert'),
    moeLayers: Array.from({ length: layers }, (_, i) => !dense.includes(i)),
    ...counts(map, ['keyValueHeads', 'headDim', 'sharedExpertFfn', 'denseFfn']),
    ...numbers(map, ['rmsNormEps', 'ropeTheta', 'initializerRange']),
    ...(coefficient === undefined ? {} : { auxLossCoefficient: coefficient }),
    ...booleans(map, ['normTopK', 'selectionBias', 'gated', 'tieEmbeddings']),
    family: map.get('family')?.oneOf(modelFamilies) ?? 'generic',
    scoring,
    // The pooled loss is of softmax probabilities; sigmoid scores are balanced by their bias.
    ...(scoring === 'sigmoid' && (coefficient ?? 0) === 0 ? { auxLoss: 'none', auxLossCoefficient: 0 } : {}),
    qkNorm: map.get('qkNorm')?.oneOf(['none', 'perHead', 'allHeads']) ?? 'none',
    ...(slidingWindow === undefined
      ? {}
      : { window: { kind: 'sliding', tokens: slidingWindow, layers: Array.from({ length: layers }, () => true) } }),
    ...(latentAttention === undefined ? {} : { latentAttention: latentFrom(latentAttention) }),
  };
  return field.parsed(() => completeModel(shape));
}

const width = { min: 1, max: limits.width } as const;

function latentFrom(field: Field): LatentAttention {
  const map = field.map(['queryRank', 'keyValueRank', 'nopeHeadDim', 'ropeHeadDim', 'valueHeadDim']);
  const queryRank = map.get('queryRank')?.integer(width);
  return {
    ...(queryRank === undefined ? {} : { queryRank }),
    keyValueRank: map.need('keyValueRank').integer(width),
    nopeHeadDim: map.need('nopeHeadDim').integer(width),
    ropeHeadDim: map.need('ropeHeadDim').integer(width),
    valueHeadDim: map.need('valueHeadDim').integer(width),
  };
}

/** The keys that are there, each read in the same way. */
function present<K extends string, T>(
  map: FieldMap,
  keys: readonly K[],
  read: (field: Field) => T,
): Partial<Record<K, T>> {
  const result: Partial<Record<K, T>> = {};
  for (const key of keys) {
    const field = map.get(key);
    if (field !== undefined) result[key] = read(field);
  }
  return result;
}

const counts = <K extends string>(map: FieldMap, keys: readonly K[]): Partial<Record<K, number>> =>
  present(map, keys, (field) => field.quantity(countUpTo(limits.width, 0), false));
const numbers = <K extends string>(map: FieldMap, keys: readonly K[]): Partial<Record<K, number>> =>
  present(map, keys, (field) => field.number({ above: 0 }));
const booleans = <K extends string>(map: FieldMap, keys: readonly K[]): Partial<Record<K, boolean>> =>
  present(map, keys, (field) => field.boolean());
