import { completeModel, readHfConfig, type ModelShape } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { huggingFaceConfig, withWeightType } from './hugging-face-config.js';
import { configSchemas } from '../../testing/checkpoint/schemas.js';

const shape: ModelShape = {
  name: 'small',
  hiddenSize: 8,
  layers: 3,
  attentionHeads: 4,
  keyValueHeads: 2,
  vocabSize: 21,
  experts: 4,
  topK: 2,
  expertFfn: 4,
};

/** A number that the text writes with a point or an exponent, as Python's floats need it. */
const isFraction = (text: string, key: string): boolean => new RegExp(`"${key}": -?\\d+(\\.\\d+|e)`).test(text);

describe('config.json', () => {
  it.each<[keyof typeof configSchemas, Partial<ModelShape>]>([
    ['mixtral', { family: 'mixtral', tieEmbeddings: true, padTokenId: 3 }],
    ['mixtral', { family: 'generic', window: { kind: 'sliding', tokens: 4, layers: [true, true, true] } }],
    ['qwen3_moe', { family: 'qwen3_moe', qkNorm: 'perHead', headDim: 6, normTopK: false }],
    ['qwen3_moe', { family: 'generic', qkNorm: 'perHead', moeLayers: [true, false, true], denseFfn: 12 }],
    [
      'qwen3_moe',
      { family: 'qwen3_moe', qkNorm: 'perHead', window: { kind: 'sliding', tokens: 4, layers: [true, true, true] } },
    ],
    ['olmoe', { family: 'olmoe', qkNorm: 'allHeads', normTopK: false, clipQkv: 8 }],
    ['olmoe', { family: 'generic', qkNorm: 'allHeads', rmsNormEps: 1e-6, ropeTheta: 5e5, maxPositions: 99 }],
  ])('of %s is accepted by a strict schema and describes the same model', (family, more) => {
    const model = completeModel({ maxPositions: 64, ...shape, ...more });
    const text = huggingFaceConfig(model, 'BF16');
    expect(configSchemas[family].parse(JSON.parse(text)).torch_dtype).toBe('bfloat16');
    for (const key of ['rope_theta', 'rms_norm_eps', 'router_aux_loss_coef', 'attention_dropout'])
      expect(isFraction(text, key)).toBe(true);
    const { name: _, denseFfn, ...read } = readHfConfig(text, 'small/config.json');
    const { name: __, denseFfn: given, ...expected } = model;
    expect(read).toEqual({ ...expected, family });
    // A width that no layer has is not told apart from the experts' own.
    expect(model.moeLayers.includes(false) ? denseFfn : 0).toBe(given);
  });

  it('keeps the text of a foreign config and adds a type that it lacks', () => {
    expect(withWeightType('{\n  "rope_theta": 1e6,\n  "dtype": "float32"\n}', 'F16')).toBe(
      '{\n  "rope_theta": 1e6,\n  "dtype": "float16"\n}',
    );
    expect(JSON.parse(withWeightType('{"x": 0.0}', 'BF16'))).toEqual({ torch_dtype: 'bfloat16', x: 0 });
  });

  it.each<[string, Partial<ModelShape>]>([
    ['its query and key norm', { family: 'mixtral', qkNorm: 'perHead' }],
    ['layers without experts', { family: 'generic', moeLayers: [true, false, true], denseFfn: 4 }],
    ['qwen2_moe', { family: 'qwen2_moe' }],
    [
      'a window of some layers',
      { family: 'qwen3_moe', qkNorm: 'perHead', window: { kind: 'sliding', tokens: 4, layers: [false, true, true] } },
    ],
  ])('is refused where no family computes the same: %s', (_, more) => {
    expect(() => huggingFaceConfig(completeModel({ ...shape, ...more }), 'F32')).toThrow(
      /can't be written as a Hugging Face/,
    );
  });
});
