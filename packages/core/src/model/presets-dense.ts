/**
 * Known models without experts: planners compare with them, and training frameworks publish their step times. Shapes
 * are those of the published `config.json` files, unless said otherwise.
 */
import type { ModelShape } from './model.js';

export type DenseShape = Omit<ModelShape, 'experts' | 'topK' | 'expertFfn' | 'moeLayers'> & {
  readonly denseFfn: number;
};

/** A decoder without experts. */
export const dense = (shape: DenseShape): ModelShape => ({
  ...shape,
  experts: 0,
  topK: 0,
  expertFfn: 0,
  moeLayers: Array.from({ length: shape.layers }, () => false),
});

const llama2: Pick<DenseShape, 'family' | 'vocabSize' | 'maxPositions'> = {
  family: 'llama',
  vocabSize: 32_000,
  maxPositions: 4096,
};
const llama3: Pick<DenseShape, 'family' | 'vocabSize' | 'ropeTheta' | 'keyValueHeads' | 'maxPositions'> = {
  family: 'llama',
  vocabSize: 128_256,
  ropeTheta: 500_000,
  keyValueHeads: 8,
  maxPositions: 131_072,
};

/**
 * Nemotron-4 (arXiv 2402.16819, 2406.11704): squared ReLU without a gate, LayerNorm, no biases elsewhere, output apart
 * from the embedding.
 */
const nemotron: Pick<DenseShape, 'family' | 'vocabSize' | 'gated' | 'activation' | 'normBias' | 'maxPositions'> = {
  family: 'nemotron',
  vocabSize: 256_000,
  gated: false,
  activation: 'relu2',
  normBias: true,
  maxPositions: 4096,
};

/**
 * GPT-3's kind as Megatron trains it: GELU without a gate, biases everywhere, learned positions, output tied to the
 * embedding.
 */
export const gpt = {
  family: 'gpt',
  gated: false,
  activation: 'gelu',
  normBias: true,
  feedForwardBias: true,
  attentionBias: 'all',
  tieEmbeddings: true,
} as const;

export interface GptSize {
  readonly name: string;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly attentionHeads: number;
  readonly vocabSize: number;
  readonly positions: number;
}

/** The feed-forward is four times the hidden size. */
export const gptOf = ({ positions, ...size }: GptSize): ModelShape =>
  dense({ ...gpt, ...size, denseFfn: 4 * size.hiddenSize, learnedPositions: positions, maxPositions: positions });

/**
 * Rows of Megatron-LM's README (images/model_table.png): sequence 4096, vocabulary 131,072; their sizes say that output
 * and embedding are apart.
 */
const megatronTable = (
  [
    ['gpt-1.7b', 2048, 24, 16],
    ['gpt-7.1b', 4096, 30, 32],
    ['gpt-16b', 6144, 32, 48],
    ['gpt-32b', 7168, 48, 56],
    ['gpt-70b', 8192, 84, 64],
    ['gpt-119b', 10_240, 92, 80],
    ['gpt-177b', 12_288, 96, 96],
    ['gpt-314b', 16_384, 96, 128],
    ['gpt-462b', 18_432, 112, 144],
  ] as const
).map(([name, hiddenSize, layers, attentionHeads]) => ({
  ...gptOf({ name, hiddenSize, layers, attentionHeads, vocabSize: 131_072, positions: 4096 }),
  tieEmbeddings: false,
}));

/**
 * arXiv 2205.05198, table 3, and NeMo's performance summary; the vocabulary is GPT-2's, padded to 51,200 as Megatron
 * does.
 */
const gptPapers = (
  [
    ['gpt3-5b', 4096, 24, 32],
    ['gpt3-20b', 6144, 44, 48],
    ['gpt-22b', 6144, 48, 64],
    ['gpt3-175b', 12_288, 96, 96],
    ['gpt-530b', 20_480, 105, 128],
    ['gpt-1t', 25_600, 128, 160],
  ] as const
).map(([name, hiddenSize, layers, attentionHeads]) =>
  gptOf({ name, hiddenSize, layers, attentionHeads, vocabSize: 51_200, positions: 2048 }),
);

export const denseShapes: readonly ModelShape[] = [
  dense({ ...llama2, name: 'llama-2-7b', hiddenSize: 4096, layers: 32, attentionHeads: 32, denseFfn: 11_008 }),
  dense({ ...llama2, name: 'llama-2-13b', hiddenSize: 5120, layers: 40, attentionHeads: 40, denseFfn: 13_824 }),
  dense({
    ...llama2,
    name: 'llama-2-70b',
    hiddenSize: 8192,
    layers: 80,
    attentionHeads: 64,
    keyValueHeads: 8,
    denseFfn: 28_672,
  }),
  dense({ ...llama3, name: 'llama-3-8b', hiddenSize: 4096, layers: 32, attentionHeads: 32, denseFfn: 14_336 }),
  dense({ ...llama3, name: 'llama-3-70b', hiddenSize: 8192, layers: 80, attentionHeads: 64, denseFfn: 28_672 }),
  dense({ ...llama3, name: 'llama-3.1-405b', hiddenSize: 16_384, layers: 126, attentionHeads: 128, denseFfn: 53_248 }),
  dense({
    name: 'qwen2.5-7b',
    family: 'qwen2',
    hiddenSize: 3584,
    layers: 28,
    attentionHeads: 28,
    keyValueHeads: 4,
    denseFfn: 18_944,
    vocabSize: 152_064,
    attentionBias: 'queryKeyValue',
    rmsNormEps: 1e-6,
    ropeTheta: 1e6,
    maxPositions: 32_768,
  }),
  dense({
    name: 'qwen2.5-32b',
    family: 'qwen2',
    hiddenSize: 5120,
    layers: 64,
    attentionHeads: 40,
    keyValueHeads: 8,
    denseFfn: 27_648,
    vocabSize: 152_064,
    attentionBias: 'queryKeyValue',
    rmsNormEps: 1e-6,
    ropeTheta: 1e6,
    maxPositions: 32_768,
  }),
  dense({
    name: 'qwen3-8b',
    family: 'qwen3',
    hiddenSize: 4096,
    layers: 36,
    attentionHeads: 32,
    keyValueHeads: 8,
    headDim: 128,
    denseFfn: 12_288,
    vocabSize: 151_936,
    qkNorm: 'perHead',
    rmsNormEps: 1e-6,
    ropeTheta: 1e6,
    maxPositions: 40_960,
  }),
  // NeMo's recipe nemotron3_8b and nemotron3_22b
  dense({ ...nemotron, name: 'nemotron-3-8b', hiddenSize: 4096, layers: 32, attentionHeads: 32, denseFfn: 16_384 }),
  dense({ ...nemotron, name: 'nemotron-3-22b', hiddenSize: 6144, layers: 40, attentionHeads: 48, denseFfn: 24_576 }),
  dense({
    ...nemotron,
    name: 'nemotron-4-15b',
    hiddenSize: 6144,
    layers: 32,
    attentionHeads: 48,
    keyValueHeads: 8,
    denseFfn: 24_576,
  }),
  dense({
    ...nemotron,
    name: 'nemotron-4-340b',
    hiddenSize: 18_432,
    layers: 96,
    attentionHeads: 96,
    keyValueHeads: 8,
    denseFfn: 73_728,
  }),
  ...gptPapers,
  ...megatronTable,
];
