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

  const anyCell = fc.stringMatching(/^[a-z0-9.]{1,14}( [a-z]{1,9}){0,4}$/u);
  const anyTable = fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 5 })).chain(([columns, rows]) =>
    fc.record({
      headers: fc.array(anyCell, { minLength: columns, maxLength: columns }),
      rows: fc.array(fc.array(anyCell, { minLength: columns, maxLength: columns }), {
        minLength: rows,
        maxLength: rows,
      }),
      align: fc.array(fc.constantFrom('left' as const, 'right' as const, 'number' as const), {
        minLength: columns,
        maxLength: columns,
      }),
    }),
  );
  const draw = (
    { headers, rows, align }: { headers: string[]; rows: string[][]; align: ('left' | 'right' | 'number')[] },
    columns: number,
  ) =>
    renderTable(
      headers.map((header, index) => ({ header, align: index === 0 ? 'left' : (align[index] ?? 'left') })),
      rows,
      { style: createStyle(false, columns), marked: 0 },
    );

  it('fits the terminal, from 60 columns on, and names what it leaves out', () => {
    fc.assert(
      fc.property(anyTable, fc.integer({ min: 60, max: 200 }), (table, columns) => {
        const narrow = draw(table, columns);
        for (const line of narrow.split('\n')) expect(textWidth(line)).toBeLessThanOrEqual(columns);
        const whole = draw(table, Infinity);
        const words = (text: string) => text.replaceAll(/\s+/gu, ' ');
        const left = words(narrow.split('left out for want of room:')[1] ?? '');
        table.headers.forEach((header) => expect(words(narrow)).toContain(header.split(' ')[0]));
        expect(left === '' ? words(narrow).length : words(whole).length).toBe(words(whole).length);
      }),
    );
  });

  it('leaves out the least important columns first', () => {
    const columns = [
      { header: 'layout' },
      { header: 'schedule', priority: 9 },
      { header: 'step', priority: 1 },
      { header: 'memory', priority: 2 },
    ];
    const text = renderTable(columns, [['a'.repeat(40), 'b'.repeat(20), 'c'.repeat(8), 'd'.repeat(8)]], {
      style: createStyle(false, 60),
    });
    expect(text).toContain('left out for want of room: schedule');
    expect(text).toContain('c'.repeat(8));
    expect(text).toContain('d'.repeat(8));
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

  it('breaks long values at words, and leaves commands and what is lined up', () => {
    const command = `monta bench dispatch ${'--model x '.repeat(8).trim()}`;
    const grid = 'r0  r1  r2'.repeat(8);
    const text = renderFacts([['Why', `${'a few words '.repeat(9)}end\n${command}\n${grid}`]], createStyle(false, 60));
    const lines = text.split('\n').map((line) => line.trim());
    expect(lines).toContain(command);
    expect(lines).toContain(grid);
    for (const line of text.split('\n').slice(0, 2)) expect(textWidth(line)).toBeLessThanOrEqual(60);
  });
});
