/**
 * Known models, the first ones with experts. Shapes are those of the published `config.json` files on Hugging Face,
 * unless said otherwise.
 */
import { completeModel } from './model.js';
import type { ModelShape, MoeModel } from './model.js';
import { furtherDense } from './further-dense.js';
import { furtherExperts } from './further-experts.js';
import { denseShapes } from './presets-dense.js';
import { expertShapes, firstDense } from './presets-experts.js';
import { yarnScaling, yarnScoreScaling } from './rope-scaling.js';

const shapes: readonly ModelShape[] = [
  {
    name: 'mixtral-8x7b',
    family: 'mixtral',
    hiddenSize: 4096,
    layers: 32,
    attentionHeads: 32,
    keyValueHeads: 8,
    vocabSize: 32_000,
    experts: 8,
    topK: 2,
    expertFfn: 14_336,
    ropeTheta: 1e6,
    auxLossCoefficient: 0.02,
    maxPositions: 32_768,
  },
  {
    name: 'mixtral-8x22b',
    family: 'mixtral',
    hiddenSize: 6144,
    layers: 56,
    attentionHeads: 48,
    keyValueHeads: 8,
    vocabSize: 32_000,
    experts: 8,
    topK: 2,
    expertFfn: 16_384,
    ropeTheta: 1e6,
    auxLossCoefficient: 0.001,
    maxPositions: 65_536,
  },
  {
    // The paper's 2x70B: it names neither shape nor top-k. Taken: Llama-2-70B with its feed-forward twice, both
    // visited.
    name: '2x70b',
    family: 'mixtral',
    hiddenSize: 8192,
    layers: 80,
    attentionHeads: 64,
    keyValueHeads: 8,
    vocabSize: 32_000,
    experts: 2,
    topK: 2,
    expertFfn: 28_672,
    maxPositions: 8192,
  },
  {
    name: 'qwen3-30b-a3b',
    family: 'qwen3_moe',
    hiddenSize: 2048,
    layers: 48,
    attentionHeads: 32,
    keyValueHeads: 4,
    headDim: 128,
    vocabSize: 151_936,
    experts: 128,
    topK: 8,
    expertFfn: 768,
    qkNorm: 'perHead',
    rmsNormEps: 1e-6,
    ropeTheta: 1e6,
    auxLossCoefficient: 0.001,
    maxPositions: 40_960,
  },
  {
    name: 'qwen3-235b-a22b',
    family: 'qwen3_moe',
    hiddenSize: 4096,
    layers: 94,
    attentionHeads: 64,
    keyValueHeads: 4,
    headDim: 128,
    vocabSize: 151_936,
    experts: 128,
    topK: 8,
    expertFfn: 1536,
    qkNorm: 'perHead',
    rmsNormEps: 1e-6,
    ropeTheta: 1e6,
    auxLossCoefficient: 0.001,
    maxPositions: 40_960,
  },
  {
    name: 'deepseek-v3',
    family: 'deepseek_v3',
    hiddenSize: 7168,
    layers: 61,
    attentionHeads: 128,
    headDim: 128,
    vocabSize: 129_280,
    experts: 256,
    topK: 8,
    expertFfn: 2048,
    sharedExpertFfn: 2048,
    denseFfn: 18_432,
    moeLayers: firstDense(3, 61),
    scoring: 'sigmoid',
    routedScaling: 2.5,
    // Weight of the sequence-wise balance loss: DeepSeek-V3 report, arXiv 2412.19437, 4.2.
    auxLossCoefficient: 1e-4,
    rmsNormEps: 1e-6,
    ropeType: 'yarn',
    ropeScaling: yarnScaling({ factor: 40, originalPositions: 4096, mscale: 1, mscaleAllDim: 1 }),
    scoreScaling: yarnScoreScaling({ factor: 40, mscaleAllDim: 1 }),
    ropeInterleaved: true,
    selectionBias: true,
    expertGroups: { groups: 8, chosen: 4, by: 'twoLargest' },
    auxLoss: 'none',
    latentAttention: { queryRank: 1536, keyValueRank: 512, nopeHeadDim: 128, ropeHeadDim: 64, valueHeadDim: 128 },
    multiTokenLayers: 1,
    maxPositions: 163_840,
  },
  {
    name: 'olmoe-1b-7b',
    family: 'olmoe',
    hiddenSize: 2048,
    layers: 16,
    attentionHeads: 16,
    vocabSize: 50_304,
    experts: 64,
    topK: 8,
    expertFfn: 1024,
    normTopK: false,
    qkNorm: 'allHeads',
    maxPositions: 4096,
  },
  {
    name: 'gpt-oss-120b',
    family: 'gpt_oss',
    hiddenSize: 2880,
    layers: 36,
    attentionHeads: 64,
    keyValueHeads: 8,
    headDim: 64,
    vocabSize: 201_088,
    experts: 128,
    topK: 4,
    expertFfn: 2880,
    attentionBias: 'all',
    expertBias: true,
    attentionSinks: true,
    clampedSwiglu: { alpha: 1.702, limit: 7 },
    ropeTheta: 150_000,
    ropeType: 'yarn',
    ropeScaling: yarnScaling({ factor: 32, originalPositions: 4096, truncate: false }),
    auxLossCoefficient: 0.9,
    window: { kind: 'sliding', tokens: 128, layers: Array.from({ length: 36 }, (_, i) => i % 2 === 0) },
    maxPositions: 131_072,
  },
  {
    name: 'dbrx',
    family: 'dbrx',
    hiddenSize: 6144,
    layers: 40,
    attentionHeads: 48,
    keyValueHeads: 8,
    vocabSize: 100_352,
    experts: 16,
    topK: 4,
    expertFfn: 10_752,
    clipQkv: 8,
    ropeTheta: 5e5,
    auxLossCoefficient: 0.05,
    maxPositions: 32_768,
  },
  {
    // Byte-level, for a run of 300 steps of 16 x 256 tokens (1.23 M tokens) in about a minute on two CPU cores. A
    // token's forward pass, 2 FLOP a weight: attention 2 x (128·(128 + 2·64) + 128·128) = 98 k, its core at 256 tokens
    // 2·256·128 = 66 k, two of eight experts 2 x 2·3·128·256 = 393 k, router 2 k, so 559 k a layer; two layers and the
    // output (2·128·256 = 66 k) make 1.18 MFLOP. Three times that for training, times 1.23 M tokens: 4.4 TFLOP, 73 s at
    // 60 GFLOP/s in all, 36 s at 60 a core. Heads, key-value heads and widths divide by tp = 4, experts by ep = 2, 4
    // and 8.
    name: 'tiny-bytes',
    family: 'mixtral',
    hiddenSize: 128,
    layers: 2,
    attentionHeads: 8,
    keyValueHeads: 4,
    vocabSize: 256,
    experts: 8,
    topK: 2,
    expertFfn: 256,
    auxLossCoefficient: 0.02,
    maxPositions: 1024,
  },
];

const byName = (all: readonly ModelShape[]): ReadonlyMap<string, MoeModel> =>
  new Map(all.map((shape) => [shape.name, completeModel(shape)]));

/** Known models by name. */
export const modelPresets: ReadonlyMap<string, MoeModel> = byName([...shapes, ...expertShapes, ...denseShapes]);

/** Further models and sizes by name, which lists leave out. */
export const furtherModels: ReadonlyMap<string, MoeModel> = byName([...furtherDense, ...furtherExperts]);
