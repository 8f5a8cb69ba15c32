/** Rotary settings of Hugging Face configs against what transformers 5.17 computes (fixtures/make-rotary.py). */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { InputError, readHfConfig } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { ropeFrequencies } from './rope-frequencies.js';

interface Rotation {
  readonly frequencies: readonly number[];
  readonly attentionFactor: number;
}

interface Rotary {
  readonly common: object;
  readonly families: Readonly<Record<string, object>>;
  readonly rotations: Readonly<Record<string, object>>;
  /** By `family, rotation`; null where its model does not run. */
  readonly results: Readonly<Record<string, Rotation | null>>;
}

const file = fileURLToPath(new URL('../../testing/transformer/rotary.json', import.meta.url));
const { common, families, rotations, results } = JSON.parse(readFileSync(file, 'utf8')) as Rotary;

function rotationOf(config: object): Rotation {
  const model = readHfConfig(JSON.stringify(config), 'tiny/config.json');
  const width = model.latentAttention?.ropeHeadDim ?? model.rotaryDim ?? model.headDim;
  const { frequencies, attentionFactor } = ropeFrequencies(width, model.ropeTheta, model.ropeScaling);
  return { frequencies: [...frequencies], attentionFactor };
}

describe('rotary settings', () => {
  const cases = Object.keys(rotations);
  it.each(Object.keys(families))('of %s are read as transformers reads them', (family) => {
    for (const name of cases) {
      const config = { ...common, model_type: family, ...families[family], ...rotations[name] };
      const expected = results[`${family}, ${name}`];
      if (expected === null) {
        expect(() => rotationOf(config), name).toThrow(InputError);
        continue;
      }
      const { frequencies, attentionFactor } = rotationOf(config);
      expect(frequencies, name).toHaveLength(expected?.frequencies.length ?? 0);
      for (const [index, frequency] of frequencies.entries())
        expect(frequency / (expected?.frequencies[index] ?? 0), `${name} ${index}`).toBeCloseTo(1, 5);
      expect(attentionFactor, name).toBeCloseTo(expected?.attentionFactor ?? 0, 6);
    }
  });
});
