import { describe, expect, it } from 'vitest';
import { readDocument } from './document.js';
import { InputError } from '../errors.js';
import { parseBandwidth } from '../quantities.js';

function message(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof InputError) return error.format();
    throw error;
  }
  throw new Error('expected an InputError');
}

const text = `name: x
tiers:
  - { name: a, bandwidth: 200 GB/s }
  - { name: b, bandwidth: 200 Gpbs }
steps: 0
`;

describe('readDocument', () => {
  it('points at a wrong value with line, column and path', () => {
    const tiers = readDocument(text, 'cluster.yaml').map(['name', 'tiers', 'steps']).need('tiers').list();
    const bandwidth = (i: number): number =>
      tiers[i].map(['name', 'bandwidth']).need('bandwidth').quantity(parseBandwidth);
    expect(bandwidth(0)).toBe(200e9);
    expect(message(() => bandwidth(1))).toBe(
      'cluster.yaml:4:27  tiers[1].bandwidth: "200 Gpbs" is not a bandwidth\n' +
        '  expected a number with bytes or bits a second, like 25 GB/s or 200 Gbps\n' +
        '  did you mean 200 Gbps?',
    );
  });

  it('refuses unknown keys with a suggestion, and names missing ones', () => {
    const document = readDocument(text, 'f');
    expect(message(() => document.map(['name', 'tier', 'steps']))).toMatch(
      /^f:2:1 {2}tiers: unknown key "tiers"\n {2}expected one of name, tier, steps\n {2}did you mean tier\?$/u,
    );
    expect(message(() => document.map(['name', 'tiers', 'steps', 'data']).need('data', 'a corpus'))).toBe(
      'f:1:1  "data" is missing\n  expected a corpus',
    );
  });

  it('checks ranges and types', () => {
    const steps = readDocument(text, 'f').map(['name', 'tiers', 'steps']).need('steps');
    expect(steps.integer({ min: 0, max: 9 })).toBe(0);
    expect(message(() => steps.integer({ max: 9 }))).toContain(
      'f:5:8  steps: 0 is out of range\n  expected a whole number from 1 to 9',
    );
    expect(message(() => steps.string())).toContain('0 is not text');
    expect(message(() => steps.boolean())).toContain('expected true or false');
    expect(message(() => steps.map(['a']))).toContain('0 is not a map');
    expect(message(() => steps.list())).toContain('not a list');
    expect(message(() => steps.oneOf(['auto', 'none']))).toContain('expected one of auto, none');
  });

  it('reads JSON with tabs, and follows anchors', () => {
    expect(readDocument('{\n\t"a": [1, 2],\n\t"b": {"c": "\\u00e9"}\n}', 'a.json').value).toEqual({
      a: [1, 2],
      b: { c: 'é' },
    });
    const copy = readDocument('a: &x { n: 3 }\nb: *x\n', 'f').map(['a', 'b']).need('b');
    expect(copy.map(['n']).need('n').integer({ max: 9 })).toBe(3);
  });

  it.each([
    ['', 'f  the file is empty'],
    ['# only a comment\n', 'f  the file is empty'],
    ['a: [1, 2', 'f:1:9  cannot be read as YAML'],
    ['a: 1\na: 2\n', 'f:2:1  cannot be read as YAML: Map keys must be unique'],
    ['{"a": 1', 'cannot be read'],
    ['a: *nowhere', 'f:1:4  *nowhere refers to nothing'],
  ])('refuses %j', (text, start) => expect(message(() => readDocument(text, 'f'))).toContain(start));
});
