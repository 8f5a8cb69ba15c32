import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../units/index.js';
import {
  chunksText,
  formatDispatch,
  halvesName,
  parseDispatch,
  strategyLabel,
  strategyName,
} from './strategy-names.js';
import { allHalves, inChunks, namedStrategies } from './strategies.js';

describe('dispatch as text', () => {
  it('reads back whatever it writes', () => {
    const chunk = fc.integer({ min: 1, max: 64 });
    const strategy = fc
      .tuple(fc.constantFrom(...allHalves()), fc.record({ forward: chunk, backward: chunk }))
      .map(([halves, chunks]) => ({ ...halves, chunks }));
    fc.assert(
      fc.property(strategy, (value) => {
        expect(parseDispatch(formatDispatch(value))).toEqual(value);
      }),
    );
  });

  it('gives pipelined four chunks unless told', () => {
    expect(parseDispatch('pipelined')).toMatchObject({ chunks: { forward: 4, backward: 4 } });
    expect(parseDispatch('pipelined:3/2')).toMatchObject({ chunks: { forward: 3, backward: 2 } });
  });

  it('says that auto has no chunks of its own', () => {
    expect(() => parseDispatch('auto:3')).toThrow('"auto:3": auto chooses the chunks too');
  });

  it.each(['', ':4', 'sliced:', 'sliced:0', 'sliced+sliced+sliced', 'sliced:4/'])('refuses %j', (text) => {
    expect(() => parseDispatch(text)).toThrow(InputError);
  });
});

describe('names', () => {
  it('are those of the field where there is one, and tell all halves apart', () => {
    expect(halvesName(namedStrategies.scattered)).toBe('scattered');
    expect(halvesName(namedStrategies.pipelined)).toBe('sliced');
    expect(halvesName({ dispatch: 'sliced', combine: 'duplicated' })).toBe('sliced+duplicated');
    expect(new Set(allHalves().map(halvesName)).size).toBe(allHalves().length);
  });

  it('call sliced in chunks pipelined, in either pass', () => {
    expect(strategyName(inChunks(namedStrategies.sliced, 1))).toBe('sliced');
    expect(strategyName({ ...namedStrategies.sliced, chunks: { forward: 1, backward: 2 } })).toBe('pipelined');
    expect(strategyName(inChunks(namedStrategies.scattered, 2))).toBe('scattered');
  });

  it('are followed by chunks where there are several', () => {
    expect(chunksText({ forward: 1, backward: 1 })).toBe('');
    expect(strategyLabel(inChunks(namedStrategies.scattered, 4))).toBe('scattered, 4 chunks');
    expect(strategyLabel({ ...namedStrategies.scattered, chunks: { forward: 4, backward: 1 } })).toBe(
      'scattered, 4 / 1 chunks',
    );
  });
});
