import { Random } from '@monta/core';
import { describe, expect, it } from 'vitest';
import type { OpenedTrace } from './opened-trace.js';
import { barsOf, nextWith, panned, spanAt, zoomed } from './view.js';

/** Rows of spans that follow one another with gaps, drawn from a seed. */
function drawn(seed: number, rows: number, spans: number): OpenedTrace {
  const random = new Random(seed);
  const [row, task, issued, ready, end]: number[][] = [[], [], [], [], []];
  const starts = [0];
  let latest = 0;
  for (let r = 0; r < rows; r++) {
    let now = random.uniform();
    for (let i = 0; i < spans; i++) {
      now += random.uniform();
      const [wait, run] = [random.uniform(), random.uniform()];
      row.push(r);
      task.push(Math.floor(random.uniform() * 3));
      issued.push(now);
      ready.push(now + wait);
      end.push(now + wait + run);
      now += wait + run;
    }
    starts.push(issued.length);
    latest = Math.max(latest, now);
  }
  return {
    title: '',
    note: '',
    rows: Array.from({ length: rows }, (_, r) => `row ${r}`),
    ranks: [],
    overlaid: false,
    tasks: ['all_to_all', 'expert', 'all_gather'],
    row: Uint16Array.from(row),
    task: Uint16Array.from(task),
    issued: Float64Array.from(issued),
    ready: Float64Array.from(ready),
    end: Float64Array.from(end),
    bytes: new Float64Array(issued.length),
    critical: new Uint8Array(issued.length),
    starts: Uint32Array.from(starts),
    seconds: latest,
  };
}

describe('which bars are drawn', () => {
  it('has every span of the window where each is wide enough, where it is', () => {
    const trace = drawn(1, 3, 40);
    const window = { from: 10, to: 30 };
    const pixels = 1e6;
    for (let row = 0; row < 3; row++) {
      const wanted = [...trace.issued.keys()].filter(
        (span) => trace.row[span] === row && (trace.end[span] ?? 0) > 10 && (trace.issued[span] ?? 0) < 30,
      );
      const bars = [...barsOf(trace, row, window, pixels)];
      expect(bars.map(({ span }) => span)).toEqual(wanted);
      for (const { span, left, ready, right } of bars) {
        const at = (moment: number | undefined): number =>
          Math.min(pixels, Math.max(0, (((moment ?? 0) - 10) / 20) * pixels));
        expect(Math.abs(left - at(trace.issued[span]))).toBeLessThanOrEqual(1);
        expect(Math.abs(ready - at(trace.ready[span]))).toBeLessThanOrEqual(2);
        expect(Math.abs(right - at(trace.end[span]))).toBeLessThanOrEqual(1);
      }
    }
  });

  it('has no more bars than pixels, one after another, and leaves no covered pixel empty', () => {
    const trace = drawn(2, 1, 20_000);
    const pixels = 500;
    const bars = [...barsOf(trace, 0, { from: 0, to: trace.seconds }, pixels)];
    expect(bars.every(({ left }, index) => left >= (bars[index - 1]?.right ?? 0))).toBe(true);
    expect(bars.reduce((sum, { left, right }) => sum + right - left, 0)).toBeGreaterThan(0.98 * pixels);
  });
});

it('finds the span that a moment lies in', () => {
  const trace = drawn(3, 2, 50);
  for (const span of [0, 17, 49, 50, 99]) {
    const row = trace.row[span] ?? 0;
    const middle = ((trace.issued[span] ?? 0) + (trace.end[span] ?? 0)) / 2;
    expect(spanAt(trace, row, middle)).toBe(span);
  }
  expect(spanAt(trace, 0, -1)).toBeUndefined();
});

it('keeps the moment under the pointer where it is, and the window inside the trace', () => {
  const window = { from: 2, to: 6 };
  const closer = zoomed(window, 0.5, 3, 10);
  expect((3 - closer.from) / (closer.to - closer.from)).toBeCloseTo((3 - 2) / 4, 12);
  expect(zoomed(window, 100, 3, 10)).toEqual({ from: 0, to: 10 });
  expect(panned(window, 100, 10)).toEqual({ from: 6, to: 10 });
});

it('finds the next span by its name, and begins again at the end', () => {
  const trace = drawn(4, 1, 30);
  const first = nextWith(trace, 'GATHER', -1);
  expect(first).toBe([...trace.task].indexOf(2));
  expect(nextWith(trace, 'gather', [...trace.task].lastIndexOf(2))).toBe(first);
  expect(nextWith(trace, 'nothing', -1)).toBeUndefined();
});
