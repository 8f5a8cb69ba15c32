import { describe, expect, it } from 'vitest';
import * as fc from 'fast-check';
import { barChart } from './bar-chart.js';
import * as examples from '../../testing/example-plots.js';
import { heatMap } from './heat-map.js';
import { lineChart } from './line-chart.js';
import { makeScale, wrap } from './axes.js';
import { scatter } from './scatter.js';
import { element, escapeXml, estimateTextWidth } from '../svg.js';

/**
 * What is wrong with a drawing: tags out of order, unquoted attributes, bare `<` or `&` in text, coordinates that are
 * no numbers.
 */
function problemsOf(svg: string): string[] {
  const problems: string[] = [];
  if (!svg.startsWith('<svg xmlns="http://www.w3.org/2000/svg"')) problems.push('does not start as SVG');
  for (const match of svg.matchAll(/NaN|Infinity|undefined/gu)) problems.push(`${match[0]} at ${match.index}`);
  const open: string[] = [];
  let end = 0;
  for (const tag of svg.matchAll(/<(\/?)([a-z]+)((?: [\w:-]+="[^"<]*")*)(\/?)>/gu)) {
    const [whole, closing, name = '', , empty] = tag;
    const text = svg.slice(end, tag.index);
    if (/[<>]|&(?!amp;|lt;|gt;|quot;|#39;)/u.test(text)) problems.push(`bare characters in ${text}`);
    end = tag.index + whole.length;
    if (closing === '/') {
      const opened = open.pop();
      if (opened !== name) problems.push(`</${name}> closes <${opened}>`);
    } else if (empty !== '/') open.push(name);
  }
  if (open.length > 0 || svg.slice(end).trim() !== '')
    problems.push(`not closed: ${open.join(', ')} ${svg.slice(end)}`);
  return problems;
}

describe('example plots', () => {
  it.each(Object.entries(examples))('%s is drawn as before', async (name, draw) => {
    const svg = draw();
    expect(problemsOf(svg)).toEqual([]);
    await expect(svg).toMatchFileSnapshot(`./snapshots/${name}.svg`);
  });
});

describe('plots of odd data', () => {
  const axis = { label: 'x' };
  it('draw nothing where there is nothing', () => {
    expect(problemsOf(lineChart({ x: axis, y: axis, series: [] }))).toEqual([]);
    expect(
      problemsOf(lineChart({ x: axis, y: { label: 'y', scale: 'log' }, series: [{ name: 'a', points: [[1, 0]] }] })),
    ).toEqual([]);
    expect(problemsOf(barChart({ value: axis, series: [], rows: [] }))).toEqual([]);
    expect(problemsOf(scatter({ quantity: 'time', series: [], tolerance: 0.1, scale: 'log' }))).toEqual([]);
    expect(problemsOf(heatMap({ x: axis, edges: [0], rows: [], middle: 1, quantity: 'load' }))).toEqual([]);
  });

  it('are sound for any finite numbers', () => {
    const value = fc.double({ min: -1e9, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(value, value), { maxLength: 6 }),
        fc.constantFrom('linear', 'log'),
        (points, scale) => {
          expect(
            problemsOf(
              lineChart({
                x: { label: 'x', scale },
                y: { label: 'y', scale },
                series: [{ name: 's', points, dots: true }],
              }),
            ),
          ).toEqual([]);
          expect(
            problemsOf(
              scatter({
                quantity: 'q',
                scale,
                tolerance: 0.2,
                series: [{ name: 's', points: points.map(([measured, predicted]) => ({ measured, predicted })) }],
              }),
            ),
          ).toEqual([]);
        },
      ),
      {
        numRuns: 60,
        // a domain as narrow as numbers get
        examples: [
          [
            [
              [5e-324, 0],
              [-5e-324, 0],
            ],
            'linear',
          ],
        ],
      },
    );
  });

  it('have no colour that does not follow the reader, light or dark', () => {
    for (const draw of Object.values(examples)) {
      const painted = [...draw().matchAll(/<(\w+)[^>]* (?:fill|stroke)="#[^>]*>/gu)];
      expect(painted.length).toBeGreaterThan(0);
      for (const [tag] of painted) expect(tag).toMatch(/ class="[ft]-\w+"/u);
    }
  });

  it('keep all text inside the drawing, however narrow', () => {
    for (const draw of Object.values(examples)) {
      const svg = draw();
      const width = Number(/ width="(\d+)"/u.exec(svg)?.[1]);
      for (const [, attributes = '', text = ''] of svg.matchAll(/<text ([^>]*)>([^<]*)</gu)) {
        const x = Number(/\bx="([-\d.]+)"/u.exec(attributes)?.[1]);
        const long = estimateTextWidth(text.replaceAll(/&\w+;/gu, 'x'));
        const share = attributes.includes('"end"') ? 1 : attributes.includes('"middle"') ? 0.5 : 0;
        expect(x - share * long).toBeGreaterThanOrEqual(0);
        expect(x + (1 - share) * long).toBeLessThanOrEqual(width);
      }
    }
  });

  it('escape what people name', () => {
    const svg = barChart({ value: axis, series: ['a'], rows: [{ name: '<script>"&', values: [1] }] });
    expect(svg).not.toContain('<script>');
    expect(svg).toContain('&lt;script&gt;&quot;&amp;');
  });

  it('refuse a heat map whose rows do not fit its columns', () => {
    expect(() =>
      heatMap({ x: axis, edges: [0, 1], rows: [{ name: 'r', values: [1, 2] }], middle: 1, quantity: 'q' }),
    ).toThrow(/2 values for 1/u);
  });
});

describe('bars', () => {
  it('are as long as their values', () => {
    const svg = barChart({
      value: { label: 'v' },
      series: ['a'],
      rows: [1, 2, 4].map((value) => ({ name: 'r', values: [value] })),
    });
    const widths = [...svg.matchAll(/<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)"/gu)].map((match) => Number(match[1]));
    const [one = 0, two = 0, four = 0] = widths;
    expect(two / one).toBeCloseTo(2, 2);
    expect(four / one).toBeCloseTo(4, 2);
  });
});

describe('makeScale', () => {
  it('has ticks inside its domain, in order, and few enough to be read', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 1e-9, max: 1e12, noNaN: true }), { minLength: 1, maxLength: 5 }),
        fc.constantFrom('linear' as const, 'log' as const),
        (values, scale) => {
          const made = makeScale({ axis: { label: 'x', scale }, values, range: [0, 500], tickCount: 6 });
          const [low, high] = made.domain;
          expect(made.ticks.length).toBeLessThanOrEqual(13);
          expect(
            made.ticks.every(
              (tick, index) =>
                tick >= low * (1 - 1e-9) &&
                tick <= high * (1 + 1e-9) &&
                (index === 0 || tick > (made.ticks[index - 1] ?? 0)),
            ),
          ).toBe(true);
          for (const value of values) expect(made(value)).toBeGreaterThanOrEqual(-1e-6);
        },
      ),
    );
  });
});

describe('text', () => {
  it('is escaped once', () => expect(escapeXml(`<&"'>`)).toBe('&lt;&amp;&quot;&#39;&gt;'));
  it('is left out of attributes that are undefined', () =>
    expect(element('g', { a: undefined, b: 1.2345 })).toBe('<g b="1.23"/>'));
  it('is wrapped without losing words', () => {
    const text = 'a sentence of several words that has to be broken somewhere';
    expect(wrap(text, 80).join(' ')).toBe(text);
    expect(wrap(text, 80).length).toBeGreaterThan(2);
  });
});
