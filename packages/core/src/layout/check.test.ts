import { describe, expect, it } from 'vitest';
import { getModel } from '../model/names.js';
import { InputError } from '../units/errors.js';
import { checkModelLayout } from './check.js';
import { parseLayout } from './resolve.js';

function message(model: string, layout: string): string {
  try {
    checkModelLayout(getModel(model), parseLayout(layout));
  } catch (error) {
    if (error instanceof InputError) return error.format();
    throw error;
  }
  return '';
}

describe('checkModelLayout', () => {
  it.each([
    ['2x70b', 'tp=8,dp=2,ep=2'],
    ['mixtral-8x7b', 'tp=4,dp=8,ep=8'],
    ['mixtral-8x7b', 'tp=4,dp=2,etp=1,ep=8'],
    ['qwen3-30b-a3b', 'tp=8,dp=2,ep=2'], // 4 key-value heads, each on two ranks
    ['tiny-bytes', 'tp=4,dp=2,ep=2'],
    ['deepseek-v3', 'tp=8,dp=8,ep=8,pp=61'],
  ])('%s takes %s', (model, layout) => expect(message(model, layout)).toBe(''));

  it.each([
    ['mixtral-8x7b', 'tp=3', 'tp=3 does not divide the 32 attention heads'],
    [
      'mixtral-8x22b',
      'tp=12',
      'tp=12 neither divides the 8 key-value heads of mixtral-8x22b nor is a multiple of them',
    ],
    ['2x70b', 'tp=1,dp=4,ep=4', 'ep can be 1, 2'],
    ['mixtral-8x7b', 'tp=2,dp=2,etp=4', 'etp=4 is above tp=2, which is not supported'],
    ['mixtral-8x7b', 'tp=4,dp=3,etp=3', 'etp=3 does not divide tp=4'],
    ['tiny-bytes', 'pp=3', 'pp=3 stages for the 2 layers'],
  ])('%s refuses %s', (model, layout, part) => expect(message(model, layout)).toContain(part));

  it('refuses to replicate key-value heads when told so', () => {
    const [model, layout] = [getModel('qwen3-30b-a3b'), parseLayout('tp=8,dp=2,ep=2')];
    expect(() => checkModelLayout(model, layout, { replicateKeyValues: false })).toThrow(
      'exceeds the 4 key-value heads',
    );
    checkModelLayout(model, parseLayout('tp=4,dp=2,ep=2'), { replicateKeyValues: false });
  });
});
