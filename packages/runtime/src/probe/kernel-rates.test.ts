import { describe, expect, it } from 'vitest';
import type { Program, Span } from '@monta/core';
import { fitKernelRates, fitLine } from './kernel-rates.js';

describe('kernel rates', () => {
  it('recovers overhead and rate of a line', () => {
    const { overhead, perUnit } = fitLine([1e6, 4e6, 9e6].map((work) => ({ work, seconds: 2e-5 + work / 5e9 })));
    expect(overhead).toBeCloseTo(2e-5, 9);
    expect(1 / perUnit).toBeCloseTo(5e9, -3);
  });

  it('never gives negative overheads or rates', () => {
    expect(
      fitLine([
        { work: 1, seconds: 1 },
        { work: 2, seconds: 3 },
      ]).overhead,
    ).toBe(0);
    expect(
      fitLine([
        { work: 1, seconds: 2 },
        { work: 4, seconds: 1 },
      ]).perUnit,
    ).toBeGreaterThan(0);
    expect(fitLine([{ work: 10, seconds: 2 }])).toEqual({ overhead: 0, perUnit: 0.2 });
  });

  it('takes the median time of a size, FLOPs for matrix kernels and bytes for the others', () => {
    const work = { rows: 8, chunk: 0, of: 1, flopsPerRow: 100, bytesPerRow: 10, fixedBytes: 5, parts: [] };
    const operation = (id: string, kind: 'gemm' | 'memory') => ({
      id,
      task: id,
      chunk: 0,
      of: 1,
      lane: 'compute' as const,
      body: { kind: 'kernel' as const, name: `k.${kind}`, arguments: {}, work: { ...work, kind } },
      uses: [],
      after: [],
      priority: 0,
    });
    const program: Program = {
      stage: 0,
      nodes: [],
      templates: {
        t: {
          name: 't',
          input: 'replicated',
          output: 'replicated',
          regions: [],
          operations: [operation('a', 'gemm'), operation('b', 'memory')],
        },
      },
    };
    const span = (id: string, seconds: number, step: number): Span => ({
      step,
      rank: 0,
      node: 0,
      operation: `t/${id}`,
      template: 't',
      task: id,
      chunk: 0,
      of: 1,
      lane: 'compute',
      issued: 0,
      ready: 0,
      end: seconds,
      bytes: 85,
    });
    const spans = [span('a', 2, 1), span('a', 400, 2), span('a', 1, 3), span('b', 17, 4)];
    const rates = fitKernelRates([{ program, spans }]);
    expect(rates.get('k.gemm')).toMatchObject({ flopsPerSecond: 400, bytesPerSecond: Infinity, overheadSeconds: 0 });
    expect(rates.get('k.memory')?.bytesPerSecond).toBeCloseTo(5, 12);
    // Side by side on a card, each takes half of the time in which both ran.
    const beside = fitKernelRates([{ program, spans: [span('a', 4, 1), span('b', 34, 1)] }]);
    expect(beside.get('k.gemm')?.flopsPerSecond).toBeCloseTo(400, 9);
    expect(beside.get('k.memory')?.bytesPerSecond).toBeCloseTo(85 / 32, 9);
  });
});
