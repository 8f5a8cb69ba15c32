import { describe, expect, it } from 'vitest';
import { InputError } from '../units/errors.js';
import { forwardFlopsPerToken, layerFlops, megatronConvention, trainingFlopsPerToken } from './flops.js';
import type { FlopsConvention } from './flops.js';
import { completeModel } from './model.js';
import type { MoeModel, ModelShape } from './model.js';
import { countParameters, expertParameters, layerParameters } from './parameters.js';
import { getModel } from './names.js';
import { modelPresets } from './presets.js';
import { modelFrom, readModel } from './read.js';
import { readDocument } from '../units/documents/index.js';

const full: FlopsConvention = { attention: 'full', router: false };

/** A model without experts. */
function dense(
  shape: Pick<ModelShape, 'hiddenSize' | 'layers' | 'attentionHeads' | 'vocabSize'> & Partial<ModelShape>,
): MoeModel {
  const moeLayers = Array.from({ length: shape.layers }, () => false);
  return completeModel({ name: 'dense', experts: 0, topK: 0, expertFfn: 0, moeLayers, ...shape });
}

const llama3 = { keyValueHeads: 8, vocabSize: 128_256 };
const llama8b = dense({ ...llama3, hiddenSize: 4096, layers: 32, attentionHeads: 32, denseFfn: 14_336 });
const llama70b = dense({ ...llama3, hiddenSize: 8192, layers: 80, attentionHeads: 64, denseFfn: 28_672 });
const llama405b = dense({ ...llama3, hiddenSize: 16_384, layers: 126, attentionHeads: 128, denseFfn: 53_248 });
const gpt3 = dense({
  hiddenSize: 12_288,
  layers: 96,
  attentionHeads: 96,
  vocabSize: 51_200,
  denseFfn: 49_152,
  gated: false,
});
const deepseek = getModel('deepseek-v3');
const kimi: MoeModel = {
  ...deepseek,
  attentionHeads: 64,
  keyValueHeads: 64,
  vocabSize: 163_840,
  experts: 384,
  moeLayers: deepseek.moeLayers.map((_, i) => i >= 1),
  multiTokenLayers: 0,
};
const moonlight: MoeModel = {
  ...deepseek,
  hiddenSize: 2048,
  layers: 27,
  attentionHeads: 16,
  keyValueHeads: 16,
  vocabSize: 163_840,
  experts: 64,
  topK: 6,
  expertFfn: 1408,
  sharedExpertFfn: 2816,
  denseFfn: 11_264,
  moeLayers: Array.from({ length: 27 }, (_, i) => i >= 1),
  latentAttention: { keyValueRank: 512, nopeHeadDim: 128, ropeHeadDim: 64, valueHeadDim: 128 },
  multiTokenLayers: 0,
};

describe('FLOPs per token', () => {
  // TFLOPS per GPU over tokens per second per GPU in published tables of Megatron-Bridge and NeMo.
  it.each<[string, MoeModel, number, FlopsConvention, number]>([
    ['DeepSeek-V3 with MTP', deepseek, 4096, megatronConvention, 2.6e11],
    ['DeepSeek-V3 without MTP', { ...deepseek, multiTokenLayers: 0 }, 4096, megatronConvention, 2.497e11],
    ['Qwen3-235B', getModel('qwen3-235b-a22b'), 4096, megatronConvention, 1.481e11],
    ['Qwen3-30B', getModel('qwen3-30b-a3b'), 4096, megatronConvention, 2.31e10],
    ['Kimi-K2', kimi, 4096, megatronConvention, 2.046e11],
    ['Moonlight-16B', moonlight, 4096, megatronConvention, 1.716e10],
    ['Llama3-8B', llama8b, 8192, megatronConvention, 5.147e10],
    ['Llama3-70B', llama70b, 8192, megatronConvention, 4.491e11],
    ['Llama3-405B', llama405b, 8192, megatronConvention, 2.525e12],
    ['Mixtral-8x22B', getModel('mixtral-8x22b'), 65_536, megatronConvention, 3.692e11],
    ['Mixtral-8x7B', getModel('mixtral-8x7b'), 4096, full, 8.291e10],
    ['GPT3-175B', gpt3, 2048, full, 1.0767e12],
    ['Llama3-8B, full', llama8b, 8192, full, 5.791e10],
    ['GPT-OSS-120B', getModel('gpt-oss-120b'), 4096, megatronConvention, 3.261e10],
  ])('%s agrees with the published table within 0.5 %%', (_, model, sequence, convention, published) => {
    const ratio = trainingFlopsPerToken(model, sequence, convention) / published;
    expect(Math.abs(ratio - 1)).toBeLessThan(0.005);
  });

  it('is twice the active weights that are multiplied, plus attention over the keys', () => {
    for (const name of ['mixtral-8x7b', 'qwen3-30b-a3b', 'olmoe-1b-7b']) {
      const model = getModel(name);
      const p = countParameters(model);
      const flops = forwardFlopsPerToken(model, 1024);
      expect(flops.total - flops.attentionCore).toBe(2 * (p.active - p.norms - p.embedding));
      expect(flops.attentionCore).toBe(model.layers * 2 * 1024 * model.attentionHeads * model.headDim);
    }
  });

  it('counts windows by averaging the keys of every position', () => {
    const sliding: MoeModel = {
      ...getModel('mixtral-8x7b'),
      window: { kind: 'sliding', tokens: 100, layers: Array(32).fill(true) },
    };
    const chunked: MoeModel = { ...sliding, window: { kind: 'chunked', tokens: 100, layers: Array(32).fill(true) } };
    const s = 1000;
    // Position i sees the half-token convention's min(i + 1/2, window) keys, or those of its chunk.
    let [seen, inChunk] = [0, 0];
    for (let i = 0; i < s; i++) {
      seen += Math.min(i + 0.5, 100);
      inChunk += (i % 100) + 0.5;
    }
    const perKey = 2 * 2 * 32 * 128;
    expect(layerFlops(sliding, 0, s).attentionCore / perKey).toBeCloseTo(seen / s, 6);
    expect(layerFlops(chunked, 0, s).attentionCore / perKey).toBeCloseTo(inChunk / s, 6);
  });
});

describe('parameters', () => {
  // Totals of the safetensors files on Hugging Face.
  it.each([
    ['mixtral-8x7b', 46_702_792_704],
    ['mixtral-8x22b', 140_620_634_112],
    ['qwen3-30b-a3b', 30_532_122_624],
    ['qwen3-235b-a22b', 235_093_634_560],
    ['olmoe-1b-7b', 6_919_161_856],
    ['dbrx', 131_596_523_520],
    ['gpt-oss-120b', 116_829_156_672],
  ])('%s has exactly %i', (name, published) => expect(countParameters(getModel(name)).total).toBe(published));

  it('DeepSeek-V3 has 671 billion, 37 active, and 11.5 billion of its own in the MTP module', () => {
    const p = countParameters(deepseek);
    expect(p.total / 1e9).toBeCloseTo(671.03, 1);
    expect(p.active / 1e9).toBeCloseTo(37.6, 0);
    expect(p.multiToken / 1e9).toBeCloseTo(11.5, 0);
  });

  it('adds up over layers and experts', () => {
    for (const model of modelPresets.values()) {
      const p = countParameters(model);
      const layers = model.moeLayers.map((_, layer) =>
        Object.values(layerParameters(model, layer)).reduce((a, b) => a + b),
      );
      const finalNorm = model.hiddenSize * (model.normBias ? 2 : 1);
      expect(layers.reduce((a, b) => a + b) + finalNorm + p.embedding + p.output).toBe(p.total);
      const moe = model.moeLayers.filter(Boolean).length;
      expect(p.total - p.active).toBeCloseTo((model.experts - model.topK) * expertParameters(model) * moe, -1);
    }
  });
});

describe('shapes written in YAML', () => {
  const text = `
name: mine
hiddenSize: 256
layers: 4
attentionHeads: 8
keyValueHeads: 2
vocabSize: 32Ki
experts: 16
topK: 2
expertFfn: 512
denseFfn: 1024
denseLayers: [0]
normTopK: false
rmsNormEps: 1e-6
slidingWindow: 128
`;
  it('are read', () => {
    expect(readModel(text, 'm.yaml')).toMatchObject({
      family: 'generic',
      vocabSize: 32_768,
      headDim: 32,
      moeLayers: [false, true, true, true],
      denseFfn: 1024,
      normTopK: false,
      rmsNormEps: 1e-6,
      window: { kind: 'sliding', tokens: 128, layers: [true, true, true, true] },
    });
  });

  it('with sigmoid scores have no loss of balance unless one is asked for', () => {
    expect(readModel(`${text}scoring: sigmoid\nselectionBias: true\n`, 'm.yaml')).toMatchObject({
      scoring: 'sigmoid',
      selectionBias: true,
      auxLoss: 'none',
    });
    expect(readModel(`${text}scoring: sigmoid\nauxLossCoefficient: 0.1\n`, 'm.yaml').auxLoss).toBe('pooled');
    expect(readModel(text, 'm.yaml').auxLoss).toBe('pooled');
  });

  it.each([
    ['hiddenSize', 'hidenSize', 'did you mean hiddenSize?'],
    ['topK: 2', 'topK: 20', 'topK: top-20 of 16 experts'],
    ['attentionHeads: 8', 'attentionHeads: 7', 'headDim: 7 heads do not divide hidden size 256'],
    ['[0]', '[4]', 'denseLayers[0]: 4 is out of range'],
    ['denseFfn: 1024\n', '', 'layers without experts have no feed-forward width'],
    ['experts: 16\n', '', '"experts" is missing'],
  ])('are refused with %s as %s', (from, to, part) => {
    let found = '';
    try {
      modelFrom(readDocument(text.replace(from, to), 'm.yaml'));
    } catch (error) {
      if (error instanceof InputError) found = error.format();
    }
    expect(found).toContain(part);
  });

  it('name unknown presets with a suggestion', () => {
    expect(() => getModel('mixtral-8x7')).toThrow('"mixtral-8x7" is not a known model');
    expect(getModel('Mixtral-8x7B').experts).toBe(8);
  });
});
