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

/** What is read and computed here, frequencies as logarithms; null where the configuration is refused. */
function rotationOf(config: object): Rotation | null {
  try {
    const model = readHfConfig(JSON.stringify(config), 'tiny/config.json');
    const width = model.latentAttention?.ropeHeadDim ?? model.rotaryDim ?? model.headDim;
    const { frequencies, attentionFactor } = ropeFrequencies(width, model.ropeTheta, model.ropeScaling);
    return { frequencies: [...frequencies].map(Math.log), attentionFactor };
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

const near = ({ frequencies, attentionFactor }: Rotation): Rotation => ({
  frequencies: frequencies.map((frequency) => expect.closeTo(Math.log(frequency), 5) as number),
  attentionFactor: expect.closeTo(attentionFactor, 6) as number,
});

describe('rotary settings of Hugging Face configs', () => {
  const cases = Object.keys(families).flatMap((family) => Object.keys(rotations).map((name) => ({ family, name })));
  it.each(cases)('$family, $name', ({ family, name }) => {
    const config = { ...common, model_type: family, ...families[family], ...rotations[name] };
    const expected = results[`${family}, ${name}`] ?? null;
    expect(rotationOf(config)).toEqual(expected === null ? null : near(expected));
  });
});
