/**
 * Further sizes of models without experts: names lead to them, lists leave them out. Shapes of the published
 * `config.json` files, unless said otherwise.
 */
import type { ModelShape } from './model.js';
import { dense, gpt, gptOf, type DenseShape } from './presets-dense.js';

/** Name, hidden size, layers, heads, key-value heads, width of the feed-forward. */
type Row = readonly [name: string, hidden: number, layers: number, heads: number, keyValueHeads: number, ffn: number];

type Common = Partial<DenseShape> & Pick<DenseShape, 'family' | 'vocabSize'>;

/** Sizes that have everything else in common. */
const sizes = (common: Common, rows: readonly Row[]): ModelShape[] =>
  rows.map(([name, hiddenSize, layers, attentionHeads, keyValueHeads, denseFfn]) =>
    dense({ ...common, name, hiddenSize, layers, attentionHeads, keyValueHeads, denseFfn }),
  );

const llama: Common = { family: 'llama', vocabSize: 32_000, maxPositions: 2048 };
const llama3: Common = {
  family: 'llama',
  vocabSize: 128_256,
  tieEmbeddings: true,
  ropeTheta: 500_000,
  maxPositions: 131_072,
};

const ofLlamasKind: readonly ModelShape[] = [
  ...sizes(llama, [
    ['llama-7b', 4096, 32, 32, 32, 11_008],
    ['llama-13b', 5120, 40, 40, 40, 13_824],
    ['llama-30b', 6656, 60, 52, 52, 17_920],
    ['llama-65b', 8192, 80, 64, 64, 22_016],
    ['tinyllama-1.1b', 2048, 22, 32, 4, 5632],
  ]),
  ...sizes({ ...llama, ropeTheta: 1e6, maxPositions: 16_384 }, [['codellama-34b', 8192, 48, 64, 8, 22_016]]),
  ...sizes(llama3, [['llama-3.2-3b', 3072, 28, 24, 8, 8192]]),
  ...sizes({ ...llama3, headDim: 64 }, [['llama-3.2-1b', 2048, 16, 32, 8, 8192]]),
  ...sizes({ ...llama, vocabSize: 64_000, ropeTheta: 5e6, maxPositions: 4096 }, [
    ['yi-6b', 4096, 32, 32, 4, 11_008],
    ['yi-9b', 4096, 48, 32, 4, 11_008],
    ['yi-34b', 7168, 60, 56, 8, 20_480],
  ]),
  ...sizes({ ...llama, vocabSize: 102_400, maxPositions: 4096 }, [
    ['deepseek-7b', 4096, 30, 32, 32, 11_008],
    ['deepseek-67b', 8192, 95, 64, 8, 22_016],
  ]),
  ...sizes({ family: 'dense', vocabSize: 125_696, maxPositions: 4096 }, [
    ['baichuan2-7b', 4096, 32, 32, 32, 11_008],
    ['baichuan2-13b', 5120, 40, 40, 40, 13_696],
  ]),
  ...sizes({ family: 'dense', vocabSize: 92_544, maxPositions: 32_768 }, [
    ['internlm2-7b', 4096, 32, 32, 8, 14_336],
    ['internlm2-20b', 6144, 48, 48, 8, 16_384],
  ]),
  ...sizes({ family: 'dense', vocabSize: 32_064, maxPositions: 131_072 }, [
    ['phi-3-mini', 3072, 32, 32, 32, 8192],
    ['phi-3-medium', 5120, 40, 40, 10, 17_920],
  ]),
  ...sizes({ family: 'dense', vocabSize: 100_352, maxPositions: 16_384 }, [['phi-4', 5120, 40, 40, 10, 17_920]]),
  ...sizes({ family: 'dense', vocabSize: 49_155, tieEmbeddings: true, maxPositions: 131_072 }, [
    ['granite-3-2b', 2048, 40, 32, 8, 8192],
    ['granite-3-8b', 4096, 40, 32, 8, 12_800],
  ]),
];

const mistral: Common = { family: 'mistral', vocabSize: 32_768, ropeTheta: 1e6, headDim: 128, maxPositions: 32_768 };
const first: Row = ['mistral-7b-v0.1', 4096, 32, 32, 8, 14_336];

const mistrals: readonly ModelShape[] = [
  ...sizes(
    {
      ...mistral,
      vocabSize: 32_000,
      ropeTheta: 10_000,
      window: { kind: 'sliding', tokens: 4096, layers: Array.from({ length: 32 }, () => true) },
    },
    [first],
  ),
  ...sizes(mistral, [
    ['mistral-7b', 4096, 32, 32, 8, 14_336],
    ['codestral-22b', 6144, 56, 48, 8, 16_384],
    ['mistral-large-123b', 12_288, 88, 96, 8, 28_672],
  ]),
  ...sizes({ ...mistral, vocabSize: 131_072, maxPositions: 131_072 }, [
    ['mistral-nemo-12b', 5120, 40, 32, 8, 14_336],
    ['mistral-small-24b', 5120, 40, 32, 8, 32_768],
  ]),
];

const qwen: Common = {
  family: 'qwen2',
  vocabSize: 152_064,
  attentionBias: 'queryKeyValue',
  rmsNormEps: 1e-6,
  ropeTheta: 1e6,
  maxPositions: 32_768,
};
const smallQwen: Common = { ...qwen, vocabSize: 151_936, tieEmbeddings: true };
const qwen3: Common = {
  family: 'qwen3',
  vocabSize: 151_936,
  headDim: 128,
  qkNorm: 'perHead',
  rmsNormEps: 1e-6,
  ropeTheta: 1e6,
  maxPositions: 40_960,
};

const qwens: readonly ModelShape[] = [
  ...sizes({ ...qwen, vocabSize: 151_936 }, [['qwen1.5-7b', 4096, 32, 32, 32, 11_008]]),
  ...sizes(qwen, [
    ['qwen1.5-14b', 5120, 40, 40, 40, 13_696],
    ['qwen1.5-32b', 5120, 64, 40, 8, 27_392],
    ['qwen1.5-72b', 8192, 80, 64, 64, 24_576],
    ['qwen1.5-110b', 8192, 80, 64, 8, 49_152],
    ['qwen2-7b', 3584, 28, 28, 4, 18_944],
    ['qwen2-72b', 8192, 80, 64, 8, 29_568],
    ['qwen2.5-14b', 5120, 48, 40, 8, 13_824],
    ['qwen2.5-72b', 8192, 80, 64, 8, 29_568],
  ]),
  ...sizes(smallQwen, [
    ['qwen2-0.5b', 896, 24, 14, 2, 4864],
    ['qwen2-1.5b', 1536, 28, 12, 2, 8960],
    ['qwen2.5-0.5b', 896, 24, 14, 2, 4864],
    ['qwen2.5-1.5b', 1536, 28, 12, 2, 8960],
    ['qwen2.5-3b', 2048, 36, 16, 2, 11_008],
  ]),
  ...sizes({ ...qwen3, tieEmbeddings: true }, [
    ['qwen3-0.6b', 1024, 28, 16, 8, 3072],
    ['qwen3-1.7b', 2048, 28, 16, 8, 6144],
    ['qwen3-4b', 2560, 36, 32, 8, 9728],
  ]),
  ...sizes(qwen3, [
    ['qwen3-14b', 5120, 40, 40, 8, 17_408],
    ['qwen3-32b', 5120, 64, 64, 8, 25_600],
  ]),
];

/** Name, hidden size, layers, heads. */
type GptRow = readonly [name: string, hidden: number, layers: number, heads: number];

const gpts = (rows: readonly GptRow[], vocabSize: number, positions: number, more?: Partial<ModelShape>) =>
  rows.map(([name, hiddenSize, layers, attentionHeads]): ModelShape => ({
    ...gptOf({ name, hiddenSize, layers, attentionHeads, vocabSize, positions }),
    ...more,
  }));

/**
 * GPT-3's sizes (arXiv 2005.14165, table 2.1; 13B with a hidden size of 5,120, as all but the paper have it),
 * Megatron's (arXiv 2104.04473, table 1) and NeMo's 40B, with the vocabulary padded as Megatron does.
 */
const megatron = gpts(
  [
    ['gpt3-125m', 768, 12, 12],
    ['gpt3-350m', 1024, 24, 16],
    ['gpt3-760m', 1536, 24, 16],
    ['gpt3-1.3b', 2048, 24, 16],
    ['gpt3-2.7b', 2560, 32, 32],
    ['gpt3-6.7b', 4096, 32, 32],
    ['gpt3-13b', 5120, 40, 40],
    ['gpt-3.6b', 3072, 30, 32],
    ['gpt-7.5b', 4096, 36, 32],
    ['gpt-18.4b', 6144, 40, 48],
    ['gpt-39.1b', 8192, 48, 64],
    ['gpt3-40b', 8192, 48, 64],
    ['gpt-76.1b', 10_240, 60, 80],
    ['gpt-145.6b', 12_288, 80, 96],
    ['gpt-310.1b', 16_384, 96, 128],
    ['gpt-529.6b', 20_480, 105, 128],
    ['gpt-1008b', 25_600, 128, 160],
  ],
  51_200,
  2048,
);

const gptsKind: readonly ModelShape[] = [
  ...megatron,
  ...gpts(
    [
      ['gpt-2', 768, 12, 12],
      ['gpt-2-medium', 1024, 24, 16],
      ['gpt-2-large', 1280, 36, 20],
      ['gpt-2-xl', 1600, 48, 25],
    ],
    50_257,
    1024,
  ),
  // Two rows of positions more than there are.
  ...gpts(
    [
      ['opt-125m', 768, 12, 12],
      ['opt-1.3b', 2048, 24, 32],
      ['opt-2.7b', 2560, 32, 32],
      ['opt-6.7b', 4096, 32, 32],
      ['opt-13b', 5120, 40, 40],
      ['opt-30b', 7168, 48, 56],
      ['opt-66b', 9216, 64, 72],
      ['opt-175b', 12_288, 96, 96],
    ],
    50_272,
    2050,
    { activation: 'relu', maxPositions: 2048 },
  ),
  // Slopes on the scores (ALiBi) tell positions: no weights and next to no time, so sizes and steps are those of a GPT.
  ...gpts(
    [
      ['bloom-3b', 2560, 30, 32],
      ['bloom-7.1b', 4096, 30, 32],
      ['bloom-176b', 14_336, 70, 112],
    ],
    250_880,
    0,
    { family: 'dense', maxPositions: 2048 },
  ),
  // No biases at all.
  ...gpts(
    [
      ['mpt-7b', 4096, 32, 32],
      ['mpt-30b', 7168, 48, 64],
    ],
    50_432,
    0,
    { family: 'dense', normBias: false, feedForwardBias: false, attentionBias: 'none', maxPositions: 8192 },
  ),
  ...sizes({ ...gpt, family: 'dense', vocabSize: 49_152, tieEmbeddings: false, maxPositions: 16_384 }, [
    ['starcoder2-15b', 6144, 40, 48, 4, 24_576],
  ]),
];

export const furtherDense: readonly ModelShape[] = [...ofLlamasKind, ...mistrals, ...qwens, ...gptsKind];
