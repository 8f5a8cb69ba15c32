import { describe, expect, it } from 'vitest';
import * as fc from 'fast-check';
import { renderFacts, renderTable } from './table.js';
import { createStyle } from './style.js';
import { textWidth } from './text-width.js';

describe('renderTable', () => {
  it('lines up decimal points and units, and marks a row', () => {
    const text = renderTable(
      [{ header: 'strategy' }, { header: 'forward', align: 'number' }, { header: 'bytes', align: 'number' }],
      [
        ['scattered', '4.31 ms', '33.6 MB'],
        ['sliced', '9.742', '1,033.6'],
        ['duplicated', 'unknown', '0'],
      ],
      { marked: 0, indent: 1 },
    );
    expect(text).toBe(
      [
        '   strategy     forward       bytes',
        ' ▸ scattered   4.31  ms     33.6 MB',
        '   sliced      9.742     1,033.6',
        '   duplicated   unknown      0',
      ].join('\n'),
    );
  });

  it('keeps every decimal point of a column in one place', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 2, maxLength: 8 }),
        (values) => {
          const cells = values.map((value) => [value.toFixed(Math.abs(Math.trunc(value)) % 4)]);
          const lines = renderTable([{ header: '', align: 'number' }], cells).split('\n');
          const ends = lines.map((line) => (line.includes('.') ? line.indexOf('.') : line.length));
          expect(new Set(ends).size).toBe(1);
        },
      ),
    );
  });

  it('is as wide with colour as without', () => {
    const columns = [{ header: 'name' }, { header: 'value', align: 'number' as const }];
    const rows = [
      ['a', '1.5 s'],
      ['bb', '22'],
    ];
    const plain = renderTable(columns, rows, { marked: 1 });
    const coloured = renderTable(columns, rows, { marked: 1, style: createStyle(true) });
    expect(coloured).toContain('\u001B[');
    expect(coloured.split('\n').map(textWidth)).toEqual(plain.split('\n').map(textWidth));
  });

  it('refuses rows of another length', () => {
    expect(() => renderTable([{ header: 'a' }], [['1', '2']])).toThrow(/2 cells/u);
  });
});

describe('renderFacts', () => {
  it('lines up values and their continuation', () => {
    expect(
      renderFacts([
        ['Why', 'NVLink binds'],
        ['Margin', 'small\nbut real'],
      ]),
    ).toBe('Why     NVLink binds\nMargin  small\n        but real');
  });
});
