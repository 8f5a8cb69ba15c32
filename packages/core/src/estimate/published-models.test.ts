/** Every model that a published row names: known, estimated as a hybrid, or refused with what is missing. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { getModel } from '../model/index.js';
import { InputError } from '../units/errors.js';
import { hybridModel } from './hybrid-models.js';
import { readPublishedRuns } from './published-runs.js';

const name = 'published-runs.csv';
const text = readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8');
const models = [...new Set(readPublishedRuns(text, name).map((row) => row.text('model')))].filter((one) => one !== '');

/** `known`, what is missing to describe it, or whatever else is said. */
function answer(model: string): string {
  try {
    getModel(model);
    return 'known';
  } catch (error) {
    if (error instanceof InputError)
      return /it has (?:state-space|layers of linear|compressed sparse)/u.test(error.message)
        ? 'refused with what is missing'
        : error.message;
    throw error;
  }
}

describe('models of published runs', () => {
  it('are each known, or refused with what is missing', () => {
    const others = models.filter((model) => !['known', 'refused with what is missing'].includes(answer(model)));
    expect(others).toEqual([]);
    expect(models.length).toBeGreaterThan(90);
    expect(models.filter((one) => answer(one) === 'known').length).toBeGreaterThan(0.8 * models.length);
  });

  it('of hybrids are refused by programs, which only the estimate describes', () => {
    const hybrids = models.filter((model) => hybridModel(model) !== undefined);
    expect(hybrids.length).toBeGreaterThan(5);
    expect(hybrids.filter((model) => answer(model) !== 'refused with what is missing')).toEqual([]);
  });
});
