import { describe, expect, it } from 'vitest';
import { getModel } from '../model/names.js';
import { InputError } from '../units/errors.js';
import { checkModelLayout, checkSequence, unevenSequence } from './check.js';
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
    ['llama-3-8b', 'dp=8,ep=4', 'ep=4: llama-3-8b has no experts'],
  ])('%s refuses %s', (model, layout, part) => expect(message(model, layout)).toContain(part));

  it('refuses to replicate key-value heads when told so', () => {
    const [model, layout] = [getModel('qwen3-30b-a3b'), parseLayout('tp=8,dp=2,ep=2')];
    expect(() => checkModelLayout(model, layout, { replicateKeyValues: false })).toThrow(
      'exceeds the 4 key-value heads',
    );
    checkModelLayout(model, parseLayout('tp=4,dp=2,ep=2'), { replicateKeyValues: false });
  });
});

describe('checkSequence', () => {
  /** Tokens of each rank of a sequence, dealt one by one: two pieces from both ends by cp, each sliced over tp. */
  function dealt(sequence: number, { tp, cp, sp }: { tp: number; cp: number; sp: boolean }): number[] {
    const pieces = cp === 1 ? 1 : 2 * cp;
    const slices = sp ? tp : 1;
    const held = Array.from({ length: cp * slices }, () => 0);
    for (let token = 0; token < sequence; token++) {
      const piece = Math.floor((token * pieces) / sequence);
      const within = (token * pieces) % sequence;
      const slice = Math.floor((within * slices) / sequence);
      const rank = Math.min(piece, pieces - 1 - piece) * slices + slice;
      held[rank] = (held[rank] ?? 0) + 1;
    }
    return held;
  }

  it.each([
    { text: 'tp=1', tp: 1, cp: 1, sp: false },
    { text: 'tp=4', tp: 4, cp: 1, sp: false },
    { text: 'tp=4,sp', tp: 4, cp: 1, sp: true },
    { text: 'cp=3', tp: 1, cp: 3, sp: false },
    { text: 'tp=2,cp=2', tp: 2, cp: 2, sp: false },
    { text: 'tp=2,cp=2,sp', tp: 2, cp: 2, sp: true },
  ])('takes with $text what deals every rank as many tokens in whole pieces', ({ text, ...degrees }) => {
    for (let sequence = 1; sequence <= 48; sequence++) {
      const pieces = (degrees.cp === 1 ? 1 : 2) * degrees.cp * (degrees.sp ? degrees.tp : 1);
      const even = new Set(dealt(sequence, degrees)).size === 1 && Number.isInteger(sequence / pieces);
      expect(unevenSequence(sequence, parseLayout(text)) === undefined).toBe(even);
    }
  });

  it('says what can be cut instead', () => {
    expect(() => checkSequence(4097, parseLayout('tp=2,cp=4,sp'))).toThrow(
      expect.objectContaining({
        message: 'tp=2, cp=4 with sp cannot cut 4097 tokens into equal pieces',
        expected: 'a sequence of a multiple of 16',
        hint: '4096 or 4112 tokens can be cut so',
      }),
    );
    expect(unevenSequence(3, parseLayout('cp=2'))?.hint).toBe('4 tokens can be cut so');
  });
});
