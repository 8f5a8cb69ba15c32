import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readHfConfig } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { SafetensorsFile } from '#runtime/checkpoint/safetensors-reader.js';
import { adamWStep } from '#runtime/transformer/adam-w.js';
import { clippingFactor } from '#runtime/transformer/gradient-norm.js';
import { referenceStep } from './reference.js';
import { nameInMemory, readGptOss, readParameters } from './reference-parameters.js';
import { relativeError } from '../numbers.js';

const fixtures = fileURLToPath(new URL('../../../../fixtures/hf/', import.meta.url));

function load(name: string) {
  const folder = `${fixtures}${name}`;
  const model = readHfConfig(readFileSync(`${folder}/config.json`, 'utf8'), `${folder}/config.json`);
  const expected = SafetensorsFile.open(`${folder}/expected.safetensors`);
  const [batches, batch, sequence] = expected.info('input_ids').shape;
  const ids = new Int32Array(batches * batch * sequence);
  expected.readInt32('input_ids', ids);
  const idsOf = (i: number): Int32Array => ids.subarray(i * batch * sequence, (i + 1) * batch * sequence);
  return { folder, model, expected, idsOf, batches, sequence, parameters: readParameters(model, folder) };
}

function read(file: SafetensorsFile, name: string): Float32Array {
  const out = new Float32Array(file.info(name).elements);
  file.readFloat32(name, out);
  return out;
}

const largestDifference = (a: ArrayLike<number>, b: Float32Array): number =>
  b.reduce((largest, value, i) => Math.max(largest, Math.abs(value - a[i])), 0);

describe.each(['tiny-mixtral', 'tiny-qwen3-moe', 'tiny-olmoe', 'tiny-qwen2-moe', 'tiny-gpt-oss', 'tiny-deepseek-v3'])(
  'reference against Hugging Face: %s',
  (name) => {
    it('logits, losses, router logits and every gradient', () => {
      const { folder, model, expected, idsOf, sequence, parameters } = load(name);
      const result = referenceStep(model, parameters, idsOf(0), idsOf(0), sequence);
      // far inside the tolerance of 1e-4: what is left is Hugging Face's float32 rounding
      expect(largestDifference(result.logits, read(expected, 'logits'))).toBeLessThan(2e-6);
      expect(Math.abs(result.loss - read(expected, 'loss')[0])).toBeLessThan(2e-6);
      expect(Math.abs(result.auxiliaryLoss - read(expected, 'aux_loss')[0])).toBeLessThan(2e-6);
      expect(Math.abs(result.gradientNorm - read(expected, 'grad_norm')[0])).toBeLessThan(5e-6);
      expect([...result.routerLogits.keys()]).toEqual(model.moeLayers.flatMap((moe, layer) => (moe ? [layer] : [])));
      for (const [layer, logits] of result.routerLogits)
        expect(largestDifference(logits, read(expected, `router_logits.${layer}`))).toBeLessThan(2e-6);
      const gradients = SafetensorsFile.open(`${folder}/grads.safetensors`);
      expect([...result.gradients.keys()].map((key) => nameInMemory(model, key)).sort()).toEqual(
        [...gradients.header.tensors.keys()].sort(),
      );
      const wanted =
        model.family === 'gpt_oss'
          ? readGptOss(model, (key) => read(gradients, key))
          : new Map([...result.gradients.keys()].map((key) => [key, read(gradients, key)]));
      const wrong = [...result.gradients].filter(
        ([parameter, gradient]) => !(relativeError(gradient, wanted.get(parameter) ?? []) < 1e-5),
      );
      expect(wrong.map(([parameter]) => parameter)).toEqual([]);
      gradients.close();
      expected.close();
    });

    it('12 steps of AdamW', () => {
      const { folder, model, expected, idsOf, batches, sequence, parameters } = load(name);
      expected.close();
      const parsed: unknown = JSON.parse(readFileSync(`${folder}/trajectory.json`, 'utf8'));
      const { loss_and_grad_norm: trajectory } = parsed as { loss_and_grad_norm: [number, number][] };
      expect(trajectory).toHaveLength(batches);
      // The bias of selection is no parameter.
      const trained = [...parameters].filter(([key]) => !key.endsWith('.e_score_correction_bias'));
      const states = trained.map(([, values]) => ({
        parameter: Float32Array.from(values),
        gradient: new Float32Array(values.length),
        firstMoment: new Float32Array(values.length),
        secondMoment: new Float32Array(values.length),
      }));
      const settings = { learningRate: 3e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 };
      trajectory.forEach(([loss, norm], i) => {
        const result = referenceStep(model, parameters, idsOf(i), idsOf(i), sequence);
        expect(Math.abs(result.loss - loss)).toBeLessThan(1e-4);
        expect(Math.abs(result.gradientNorm - norm)).toBeLessThan(1e-3);
        trained.forEach(([key], p) => states[p].gradient.set(result.gradients.get(key) ?? []));
        adamWStep(states, settings, i + 1, clippingFactor(result.gradientNorm, 1));
        trained.forEach(([, values], p) => {
          values.set(states[p].parameter);
        });
      });
    });
  },
);
