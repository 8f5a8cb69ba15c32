import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { completeModel, readHfConfig } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { SafetensorsFile } from '../checkpoint/safetensors-reader.js';
import { CpuMemory, createWasmGemm, referenceGemm } from '../device/cpu/index.js';
import { referenceStep } from '../../testing/transformer/reference.js';
import { parameterShapes, readParameters } from '../../testing/transformer/reference-parameters.js';
import { randomArray, relativeError, seededRandom } from '../../testing/numbers.js';
import { Lockstep } from '../../testing/transformer/lockstep.js';

/** Largest absolute difference. */
const difference = (a: ArrayLike<number>, b: Float32Array): number =>
  b.reduce((largest, entry, i) => Math.max(largest, Math.abs(entry - a[i])), 0);

const read = (file: SafetensorsFile, key: string): Float32Array => {
  const out = new Float32Array(file.info(key).elements);
  file.readFloat32(key, out);
  return out;
};

const fixtures = fileURLToPath(new URL('../../../../fixtures/hf/', import.meta.url));

describe.each(['tiny-mixtral', 'tiny-qwen3-moe', 'tiny-olmoe'])(
  'kernels in lockstep against Hugging Face: %s',
  (name) => {
    it.each([
      [1, referenceGemm],
      [2, referenceGemm],
      [4, referenceGemm],
      [4, createWasmGemm(CpuMemory.create({ bytes: 1 << 16 }))],
    ] as const)('tp %i, matrix product %o', (tp, gemm) => {
      const folder = `${fixtures}${name}`;
      const model = readHfConfig(readFileSync(`${folder}/config.json`, 'utf8'), `${folder}/config.json`);
      const weights = new Map(
        [...readParameters(model, folder)].map(([key, values]) => [key, Float32Array.from(values)]),
      );
      const expected = SafetensorsFile.open(`${folder}/expected.safetensors`);
      const [, batch, sequence] = expected.info('input_ids').shape;
      const ids = new Int32Array(batch * sequence);
      expected.readInt32('input_ids', ids);
      const lockstep = new Lockstep(model, weights, tp, ids, sequence, gemm);
      const { logits, loss, auxiliaryLoss } = lockstep.run();
      expect(difference(logits, read(expected, 'logits'))).toBeLessThan(5e-6);
      expect(Math.abs(loss - read(expected, 'loss')[0])).toBeLessThan(5e-6);
      expect(Math.abs(auxiliaryLoss - read(expected, 'aux_loss')[0])).toBeLessThan(5e-6);
      const file = SafetensorsFile.open(`${folder}/grads.safetensors`);
      const wrong = [...lockstep.gradients].filter(
        ([key, gradient]) => !(relativeError(gradient, read(file, key)) < 2e-5),
      );
      expect(wrong.map(([key]) => key)).toEqual([]);
      file.close();
      expected.close();
    });
  },
);

describe('kernels in lockstep against the reference', () => {
  it.each([
    { tp: 2, shape: { topK: 1, tieEmbeddings: true, padTokenId: 2 } },
    { tp: 4, shape: { qkNorm: 'allHeads' as const, normTopK: false, moeLayers: [false, true], denseFfn: 8 } },
    { tp: 4, shape: { qkNorm: 'perHead' as const, keyValueHeads: 1 } },
    { tp: 1, shape: { moeLayers: [false, false], denseFfn: 8 } },
  ])('%o', ({ tp, shape }) => {
    const model = completeModel({
      name: 'tiny',
      hiddenSize: 12,
      layers: 2,
      attentionHeads: 4,
      keyValueHeads: 2,
      headDim: 6,
      vocabSize: 23,
      experts: 6,
      topK: 3,
      expertFfn: 8,
      auxLossCoefficient: 0.1,
      ...shape,
    });
    const random = seededRandom(3);
    const weights = new Map(
      parameterShapes(model).map(({ name, shape: sizes }) => [
        name,
        randomArray(
          sizes.reduce((a, b) => a * b, 1),
          random,
          0.7,
        ),
      ]),
    );
    const ids = Int32Array.from({ length: 14 }, () => Math.floor(random() * 23));
    const lockstep = new Lockstep(model, weights, tp, ids, 7, referenceGemm);
    const { logits, loss } = lockstep.run();
    const doubles = new Map([...weights].map(([key, values]) => [key, Float64Array.from(values)]));
    const expected = referenceStep(model, doubles, ids, ids, 7);
    expect(relativeError(logits, expected.logits)).toBeLessThan(5e-6);
    expect(loss).toBeCloseTo(expected.loss, 5);
    const wrong = [...lockstep.gradients].filter(([key, gradient]) => {
      const wanted = expected.gradients.get(key) ?? [];
      return !(difference(wanted, gradient) < 1e-6 || relativeError(gradient, wanted) < 3e-5);
    });
    expect(wrong.map(([key]) => key)).toEqual([]);
  });
});
