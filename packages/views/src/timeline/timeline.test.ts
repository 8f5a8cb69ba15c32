import type { Span, Trace } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { timelineSvg } from './timeline.js';

function span(rank: number, task: string, lane: Span['lane'], times: readonly number[], chunk?: number): Span {
  const operation = `t/${task}${chunk === undefined ? '' : `.${chunk}`}`;
  const [issued = 0, ready = 0, end = 0] = times;
  const what = { operation, template: 't', task, chunk: chunk ?? 0, of: chunk === undefined ? 1 : 2, lane };
  return { step: 0, rank, node: 0, ...what, issued, ready, end, bytes: 0 };
}

function trace(kind: Trace['kind'], spans: readonly Span[]): Trace {
  return { kind, source: 'test', ranks: 4, timeScale: 1, spans };
}

describe('the timeline', () => {
  const spans = [
    span(0, 'dispatch', 'inter', [0, 1, 5], 0),
    span(0, 'dispatch', 'inter', [5, 5, 9], 1),
    span(0, 'experts', 'compute', [5, 5, 10]),
    span(1, 'odd<&>', 'intra', [0, 0, 10]),
  ];

  it('puts every bar where its time is, on one scale for all panels', () => {
    const svg = timelineSvg(
      [
        { title: 'a', trace: trace('simulated', spans) },
        { title: 'b', trace: trace('measured', [span(0, 'dispatch', 'inter', [0, 0, 20], 0)]) },
      ],
      { width: 1090 },
    );
    // 1000 pixels for 20 seconds, from 74; bars leave a hair between them
    const bars = [...svg.matchAll(/<rect x="([\d.]+)" y="\d+" width="([\d.]+)" height="22"/gu)].map((m) => [
      Number(m[1]),
      Number(m[2]) + 0.75,
    ]);
    expect(bars).toEqual([
      [324, 250],
      [74, 50],
      [124, 200],
      [324, 200],
      [74, 1000],
    ]);
  });

  it('draws the ranks, the step and the time that are asked for, and escapes names', () => {
    const svg = timelineSvg([{ title: 'a', trace: trace('simulated', spans) }], { ranks: [1] });
    expect(svg).toContain('>rank 1</text>');
    expect(svg).toContain('>intra</text>');
    expect(svg).not.toContain('rank 0');
    expect(svg).toContain('t/odd&lt;&amp;&gt;');
    expect(svg).not.toContain('odd<');
    expect(timelineSvg([{ title: 'a', trace: trace('simulated', spans) }], { from: 6, to: 8 })).not.toContain(
      't/dispatch.0',
    );
    expect(timelineSvg([{ title: 'a', trace: trace('simulated', spans) }], { step: 1 })).not.toContain('>rank');
  });

  it('colours an operation the same in all panels, whatever its chunk', () => {
    const svg = timelineSvg([{ title: 'a', trace: trace('simulated', spans) }]);
    const fills = [...svg.matchAll(/<title>t\/dispatch[^<]*<\/title>(?:<rect[^>]*class="f-(\w+)"[^>]*\/>)+/gu)].map(
      (m) => m[1],
    );
    expect(new Set(fills).size).toBe(1);
    expect(fills).toHaveLength(2);
  });
});
