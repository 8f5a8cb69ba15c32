import { writePerfetto, type Trace } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { readSubject } from '../subject/subject.js';
import { layerTrace, openTrace, type OpenedTrace } from './opened-trace.js';

const subject = await readSubject({ fields: { model: '2x70b', cluster: 'a800-2x8' }, files: {} });
const sliders = { tp: 2, ep: 2, tokens: 512, skew: 0, network: 1, inside: 1 };
const bytesOf = (text: string): ArrayBuffer => new TextEncoder().encode(text).buffer;

/** Whether spans of every row follow one another. */
const inOrder = ({ starts, rows, issued }: OpenedTrace): boolean =>
  rows.every((_, row) => {
    const own = issued.slice(starts[row], starts[row + 1]);
    return own.every((moment, at) => at === 0 || moment >= (own[at - 1] ?? 0));
  });

describe('a simulated layer', () => {
  const layer = layerTrace(sliders, subject, 'forward');

  it('has a critical path that fills the time of the pass', () => {
    const on = [...layer.critical.keys()].filter((span) => layer.critical[span] === 1);
    const covered = on
      .map((span) => [layer.issued[span] ?? 0, layer.end[span] ?? 0] as const)
      .sort((a, b) => a[0] - b[0]);
    let [until, filled] = [0, 0];
    for (const [from, to] of covered) {
      filled += Math.max(0, to - Math.max(from, until));
      until = Math.max(until, to);
    }
    expect(on.length).toBeGreaterThan(3);
    expect(filled / layer.seconds).toBeGreaterThan(0.95);
    expect(inOrder(layer)).toBe(true);
  });
});

describe('a dropped trace', () => {
  it('of Monta sets both kinds side by side, lane by lane', () => {
    const span = {
      step: 0,
      rank: 0,
      node: 0,
      operation: 'moe.forward/pack',
      template: 'moe.forward',
      task: 'pack',
      chunk: 0,
      of: 1,
      lane: 'compute',
      issued: 0,
      ready: 0,
      end: 1e-3,
      bytes: 8,
    } as const;
    const trace = (kind: Trace['kind']): Trace => ({
      kind,
      source: 'here',
      ranks: 2,
      timeScale: 1,
      spans: [span, { ...span, rank: 1 }],
    });
    const text = writePerfetto([trace('simulated'), trace('measured')]);
    const opened = openTrace('trace.json', bytesOf(text));
    expect(opened.rows).toEqual([
      'rank 0 · compute · simulated',
      'rank 0 · compute · measured',
      'rank 1 · compute · simulated',
      'rank 1 · compute · measured',
    ]);
    expect(opened.seconds).toBeCloseTo(1e-3, 9);
  });

  it('of the PyTorch profiler shows streams of the device', () => {
    const event = (name: string, cat: string, ts: number, dur: number) => ({
      ph: 'X',
      name,
      cat,
      pid: 0,
      tid: 7,
      ts,
      dur,
    });
    const text = JSON.stringify({
      traceEvents: [
        event('aten::mm', 'cpu_op', 0, 9),
        event('gemm', 'kernel', 100, 50),
        event('nccl', 'kernel', 160, 40),
      ],
    });
    const opened = openTrace('kineto.json', bytesOf(text));
    expect(opened.rows).toEqual(['device 0 · stream 7']);
    expect(opened.tasks).toEqual(['gemm', 'nccl']);
    expect(opened.seconds).toBeCloseTo(100e-6, 12);
  });

  it.each(['{', '[]', '{"traceEvents": {}}', 'hello'])('says what it expected of %s', (text) => {
    expect(() => openTrace('x.json', bytesOf(text))).toThrow(/trace|JSON|span/u);
  });
});
