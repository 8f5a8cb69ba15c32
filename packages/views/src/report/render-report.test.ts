import { describe, expect, it } from 'vitest';
import { exampleReport } from '../../testing/example-report.js';
import { renderReport } from './render-report.js';
import { comparisonText, type RunReport, type StrategyRun } from './run-report.js';
import { smoothed } from './sections.js';

describe('renderReport', () => {
  const page = renderReport(exampleReport());

  it('needs nothing but itself', () => {
    expect(page).not.toMatch(/<script|<link|<img|@import|url\(/u);
    expect(
      [...page.matchAll(/https?:\/\/[^"'\s<]+/gu)]
        .map(([url]) => url)
        .filter((url) => url !== 'http://www.w3.org/2000/svg'),
    ).toEqual([]);
  });

  it('has a heading for every cell of the strategies', () => {
    const [, heads = '', rows = ''] = /<thead><tr>(.*?)<\/tr><\/thead><tbody>(.*?)<\/tbody>/su.exec(page) ?? [];
    const columns = heads.match(/<th[ >]/gu)?.length;
    for (const row of rows.split('</tr>').slice(0, -1)) expect(row.match(/<td[ >]/gu)).toHaveLength(columns ?? 0);
    expect(columns).toBe(6);
  });

  it('says that the network is emulated, what is predicted, and that the example is invented', () => {
    expect(page).toContain('<b>Emulated:</b> the network');
    expect(page).toContain('<b>Predicted:</b>');
    expect(page).toContain('the numbers below are invented'.replace('the', 'The'));
    const real = renderReport({
      ...exampleReport(),
      invented: false,
      timing: { ...exampleReport().timing, origin: 'measured' },
    });
    expect(real).not.toContain('invented to show');
    expect(real).not.toContain('<b>Emulated:</b>');
  });

  it('puts the ratios against the baseline and the best fixed strategy on top', () => {
    expect(page).toContain('<strong>1.89×</strong>');
    expect(page).toContain('<strong>1.10×</strong>');
    expect(page.indexOf('1.89×')).toBeLessThan(page.indexOf('<h2>'));
  });

  /** The example with the others' ratios as given. */
  const compared = (comparison: StrategyRun['comparison']): RunReport => {
    const report = exampleReport();
    const strategies = report.strategies.map((run) => (run.role === 'chosen' ? run : { ...run, comparison }));
    return { ...report, strategies };
  };

  it('does not claim a gain where there is none, nor values that are not there', () => {
    const slower = compared({ median: 0.93, low: 0.9, high: 0.96, pairs: 15, verdict: 'slower' });
    expect(renderReport(slower)).toContain('<div><strong>0.93×</strong>');
    const tie = renderReport(
      compared({ median: 1.04, low: 0.99, high: 1.08, pairs: 15, verdict: 'too close to call' }),
    );
    const top = tie.slice(0, tie.indexOf('<h2>Loss'));
    expect(top).toContain('<div><strong>a tie</strong>');
    expect(top).not.toContain('1.04×');
    const bare = renderReport({
      ...compared(undefined),
      loss: { ...slower.loss, heldOut: [] },
      operations: [],
      expertLoad: [],
    });
    expect(bare).not.toMatch(/NaN|undefined|Infinity/u);
    expect(bare).not.toContain('How close the prediction was');
  });

  it('says the same in words, without the median of a tie', () => {
    const textOf = (report: RunReport) => report.strategies.slice(1).map(comparisonText);
    expect(textOf(exampleReport())).toEqual(['1.10x (1.08x to 1.12x)', '1.89x (1.85x to 1.93x)']);
    expect(
      textOf(compared({ median: 1.04, low: 0.99, high: 1.08, pairs: 15, verdict: 'too close to call' })),
    ).toContain('too close to call (0.99x to 1.08x)');
    expect(textOf(compared(undefined))).toContain('too few steps to compare');
  });

  it('draws every figure for a wide and for a narrow page, and follows the light or dark that is preferred', () => {
    const widths = [...page.matchAll(/<div class="(wide|narrow)"><svg [^>]*? width="([\d.]+)"/gu)].map(
      (m) => [m[1], Number(m[2])] as const,
    );
    expect(widths.filter(([kind]) => kind === 'wide')).toHaveLength(page.match(/<figure/gu)?.length ?? 0);
    expect(widths.filter(([kind]) => kind === 'narrow')).toHaveLength(page.match(/<figure/gu)?.length ?? 0);
    // what 420 px leave beside the margins of page and card
    for (const [kind, width] of widths) expect(width).toBeLessThanOrEqual(kind === 'wide' ? 804 : 368);
    expect(page).toContain('prefers-color-scheme:dark');
  });

  it('links to the files beside it', () => {
    expect(page).toContain('<a href="trace.json">trace.json</a>');
    expect(renderReport({ ...exampleReport(), files: [{ path: 'a b/"c".json', purpose: 'x' }] })).toContain(
      '<a href="a%20b/%22c%22.json">a b/&quot;c&quot;.json</a>',
    );
  });

  it('says where ranks waited for cores, and only there', () => {
    const { timing } = exampleReport();
    expect(page).toContain('that is waiting, not a wrong price');
    expect(renderReport({ ...exampleReport(), timing: { ...timing, sharedCores: false } })).not.toContain(
      'waiting, not a wrong',
    );
  });

  it('lists what ranks held beside what was predicted, the fullest first', () => {
    const [, table = ''] = /<h2>Memory<\/h2>.*?<tbody>(.*?)<\/tbody>/su.exec(page) ?? [];
    const rows = [...table.matchAll(/<tr>(.*?)<\/tr>/gu)].map(([, row = '']) => row.match(/(?<=>)[^<>]+/gu));
    expect(rows).toHaveLength(8);
    expect(rows[0]).toEqual(['rank 7', '29.9 MiB', '30.3 MiB', '30.2 MiB', '+0.54 %']);
    const { memory } = exampleReport();
    const bytes = Array.from({ length: 40 }, (_, rank) => 1e6 + rank);
    const many = { ...memory, routedBytes: bytes, measuredBytes: bytes };
    expect(renderReport({ ...exampleReport(), memory: many }).match(/<td>rank \d+<\/td>/gu)).toHaveLength(16);
  });

  it('escapes what comes from outside', () => {
    const report = exampleReport();
    const hostile = renderReport({ ...report, command: 'monta train "<b>x</b>"', run: '<img src=x>' });
    expect(hostile).not.toContain('<img src=x>');
    expect(hostile).toContain('&lt;b&gt;x&lt;/b&gt;');
  });

  it('survives a trip through JSON', () => {
    expect(renderReport(JSON.parse(JSON.stringify(exampleReport())) as RunReport)).toBe(page);
  });
});

describe('smoothed', () => {
  it('keeps straight lines and constants as they are, ends included', () => {
    const points = Array.from({ length: 40 }, (_, x): [number, number] => [x, 3 * x + 1]);
    for (const [index, [x, y]] of smoothed(points, 15).entries()) {
      expect(x).toBe(index);
      expect(y).toBeCloseTo(3 * index + 1, 9);
    }
  });
});
