import { completeModel } from '@monta/core';
import type { ModelShape } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { referenceStep } from './reference.js';
import type { ReferenceOptions } from './reference.js';
import { parameterShapes } from './reference-parameters.js';
import { seededRandom } from '../numbers.js';

const base: ModelShape = {
  name: 'tiny',
  hiddenSize: 6,
  layers: 2,
  attentionHeads: 4,
  keyValueHeads: 2,
  headDim: 4,
  vocabSize: 11,
  experts: 4,
  topK: 2,
  expertFfn: 3,
  auxLossCoefficient: 0.3,
};
const latent = { queryRank: 3, keyValueRank: 4, nopeHeadDim: 2, ropeHeadDim: 4, valueHeadDim: 3 };
const narrow = { keyValueRank: 4, nopeHeadDim: 2, ropeHeadDim: 4, valueHeadDim: 5 };
const deepseek: Partial<ModelShape> = {
  scoring: 'sigmoid',
  selectionBias: true,
  routedScaling: 2.5,
  auxLoss: 'none',
  experts: 8,
  expertGroups: { groups: 4, chosen: 2, by: 'twoLargest' },
};
const sequence = 5;

function build(shape: Partial<ModelShape>) {
  const model = completeModel({ ...base, ...shape });
  const random = seededRandom(11);
  const parameters = new Map(
    parameterShapes(model).map(({ name, shape: sizes }) => [
      name,
      Float64Array.from({ length: sizes.reduce((a, b) => a * b, 1) }, () => 1.6 * random() - 0.6),
    ]),
  );
  const ids = Int32Array.from({ length: 2 * sequence }, () => Math.floor(random() * model.vocabSize));
  return { model, parameters, ids };
}

/**
 * Options that the checkpoints from Hugging Face don't have; in float64, central differences are good to about 1e-8.
 */
const cases: [string, Partial<ModelShape>, ReferenceOptions][] = [
  ['top-1, renormalised', { topK: 1 }, {}],
  ['top-1, not renormalised', { topK: 1, normTopK: false }, {}],
  ['all experts', { topK: 4 }, {}],
  ['a dense layer between', { layers: 3, moeLayers: [true, false, true], denseFfn: 5 }, {}],
  ['no experts at all', { moeLayers: [false, false], denseFfn: 5 }, {}],
  ['tied embeddings', { tieEmbeddings: true }, {}],
  ['a padding token, tied', { tieEmbeddings: true, padTokenId: 3 }, {}],
  ['norm of each head', { qkNorm: 'perHead', normTopK: false }, {}],
  ['norm over all heads, clipped', { qkNorm: 'allHeads', clipQkv: 0.9 }, {}],
  ['biases', { attentionBias: 'all' }, {}],
  ['biases without output', { attentionBias: 'queryKeyValue' }, {}],
  ['one key/value head', { keyValueHeads: 1 }, {}],
  ['a window on one layer', { window: { kind: 'sliding', tokens: 2, layers: [true, false] } }, {}],
  ['a shared expert', { sharedExpertFfn: 5 }, {}],
  ['a shared expert with a gate', { sharedExpertFfn: 5, sharedExpertGate: true, normTopK: false }, {}],
  ['sinks', { attentionSinks: true, window: { kind: 'sliding', tokens: 2, layers: [true, false] } }, {}],
  ['biases of router and experts', { expertBias: true }, {}],
  ['bounded gates and ups', { expertBias: true, clampedSwiglu: { alpha: 1.7, limit: 0.4 } }, {}],
  ['latent attention', { latentAttention: latent }, {}],
  ['latent attention without a rank of queries, biases', { latentAttention: narrow, attentionBias: 'all' }, {}],
  ['pairs that lie together, some of a head', { ropeInterleaved: true, rotaryDim: 2 }, {}],
  ['sigmoid scores, groups, a factor', deepseek, {}],
  ['softmax in groups, a factor', { ...deepseek, scoring: 'softmax', normTopK: false }, {}],
  ['capacity per slice', {}, { capacity: { factor: 0.8, slice: 5 } }],
];

describe('reference gradients by finite differences', () => {
  it.each(cases)('%s', (name, shape, options) => {
    const { model, parameters, ids } = build(shape);
    const labels = ids.slice();
    labels[3] = -100;
    const result = referenceStep(model, parameters, ids, labels, sequence, options);
    const random = seededRandom(5);
    const errors: [string, number][] = [];
    for (const [parameter, values] of parameters) {
      if (!result.gradients.has(parameter)) continue;
      const gradient = result.gradients.get(parameter) ?? new Float64Array();
      const largest = gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      for (let trial = 0; trial < 3; trial++) {
        const at = Math.floor(random() * values.length);
        // PyTorch's padding_idx hides a true part of the derivative: not to be found by differences
        const hidden =
          parameter === 'model.embed_tokens.weight' && Math.floor(at / model.hiddenSize) === model.padTokenId;
        if (hidden) continue;
        const value = values[at];
        const loss = (change: number): number => {
          values[at] = value + change;
          const moved = referenceStep(model, parameters, ids, labels, sequence, options);
          values[at] = value;
          return moved.loss;
        };
        const difference = (loss(1e-5) - loss(-1e-5)) / 2e-5;
        errors.push([parameter, Math.abs(difference - gradient[at]) / Math.max(largest, 1e-4)]);
      }
    }
    expect(errors.length).toBeGreaterThan(20);
    expect(errors.filter(([, error]) => !(error < 1e-5))).toEqual([]);
    expect(name === 'no experts at all' ? result.auxiliaryLoss : 0).toBe(0);
  });

  it('a padding token gets gradient from the output only', () => {
    const { model, parameters, ids } = build({ padTokenId: 3 });
    ids[1] = 3;
    const { gradients } = referenceStep(model, parameters, ids, ids, sequence);
    const row = gradients.get('model.embed_tokens.weight')?.subarray(3 * model.hiddenSize, 4 * model.hiddenSize);
    expect([...(row ?? [1])]).toEqual(Array(model.hiddenSize).fill(0));
    const tied = build({ padTokenId: 3, tieEmbeddings: true });
    tied.ids[1] = 3;
    const both = referenceStep(tied.model, tied.parameters, tied.ids, tied.ids, sequence).gradients;
    const tiedRow = both.get('model.embed_tokens.weight')?.subarray(3 * model.hiddenSize, 4 * model.hiddenSize);
    expect(tiedRow?.every((value) => value !== 0)).toBe(true);
  });

  it('drops picks only when the capacity binds', () => {
    const { model, parameters, ids } = build({});
    const run = (factor: number) =>
      referenceStep(model, parameters, ids, ids, sequence, { capacity: { factor, slice: 5 } }).loss;
    const free = referenceStep(model, parameters, ids, ids, sequence).loss;
    expect(run(4)).toBe(free);
    expect(run(0.8)).not.toBe(free);
  });

  it('refuses what it does not compute, by name', () => {
    const { model, parameters, ids } = build({});
    const odd = { ...model, postNorms: true, normBias: true };
    expect(() => referenceStep(odd, parameters, ids, ids, sequence)).toThrow(
      /norms with biases, norms behind attention/u,
    );
  });
});
