import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { median, quantile } from '../../units/quantiles.js';
import { fittedOn, kernelCoefficients } from './coefficients.js';
import { amounts, attentionFlops } from './features.js';
import { fitCoefficients } from './fit.js';
import { fitKernels, leaveShapesOut, type KernelError } from './leave-out.js';
import { readKernels } from './measured.js';

const read = (name: string) => readKernels(readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8'), name);
const published = read('kernels-h200.csv');
const more = read('kernels-h200-more.csv');
const all = [...published, ...more];
const { multiprocessors } = fittedOn;

const wanted = [
  { group: 'GEMM', name: /^gemm_/u, above: 50e-6, median: 0.04, p90: 0.1 },
  { group: 'grouped GEMM', name: /^grouped/u, above: 50e-6, median: 0.08, p90: 0.2 },
  { group: 'attention', name: /^attention/u, above: 50e-6, median: 0.05, p90: 0.12 },
  { group: 'memory-bound', name: /^(?:copy|add|row_gather)/u, above: 50e-6, median: 0.08, p90: 0.2 },
  { group: 'memory-bound, fused', name: /_fused/u, above: 100e-6, median: 0.08, p90: 0.2 },
];

function judge(errors: readonly KernelError[], bar: (typeof wanted)[number]) {
  const own = errors.filter(({ kernel }) => bar.name.test(kernel.name) && kernel.seconds > bar.above);
  const absolute = own.map(({ error }) => Math.abs(error));
  const naive = own.map(({ naiveError }) => Math.abs(naiveError)).filter(Number.isFinite);
  return { rows: own.length, median: median(absolute), p90: quantile(absolute, 0.9), naiveMedian: median(naive) };
}

describe('kernels whose shape was left out of the fit', () => {
  const errors = leaveShapesOut(all, all, multiprocessors);
  it.each(wanted)('$group: median within $median, 90th percentile within $p90', (bar) => {
    const found = judge(errors, bar);
    expect(found.rows).toBeGreaterThan(4);
    expect(found.median).toBeLessThan(bar.median);
    expect(found.p90).toBeLessThan(bar.p90);
  });

  it('keep to the same bars on another H200, fitted on the first one alone', () => {
    const other = leaveShapesOut(published, more, multiprocessors);
    for (const bar of wanted.filter(({ group }) => group !== 'attention')) {
      const found = judge(other, bar);
      expect(found.median).toBeLessThan(bar.median);
      expect(found.p90).toBeLessThan(bar.p90);
    }
  });

  it('are predicted better than at one rate for all of a kind', () => {
    for (const bar of wanted.slice(0, 3)) {
      const found = judge(errors, bar);
      expect(found.median).toBeLessThan(0.8 * found.naiveMedian);
    }
  });
});

describe('coefficients', () => {
  it('are what the fit to all kernels gives', () => {
    const fitted = fitKernels(all, multiprocessors);
    for (const [kind, own] of Object.entries(fitted))
      own.forEach((value, index) => {
        const kept = kernelCoefficients[kind as keyof typeof fitted][index] ?? Number.NaN;
        expect(Math.abs(kept - value)).toBeLessThan(1e-3 * value + 1e-12);
      });
  });

  it('of samples made of known ones come back, in spite of an outlier', () => {
    const known = [3, 0.5, 0.2];
    const samples = Array.from({ length: 30 }, (_, i) => {
      const own = [1, ((i * 7) % 11) + 1, ((i * 5) % 13) + 1];
      const seconds = own.reduce((sum, amount, k) => sum + amount * (known[k] ?? 0), 0);
      return { amounts: own, seconds: i === 4 ? 3 * seconds : seconds };
    });
    fitCoefficients(samples).forEach((value, k) => expect(value / (known[k] ?? 1)).toBeCloseTo(1, 1));
  });
});

describe('amounts', () => {
  it('count FLOPs of causal attention as the sum over the keys that each token sees', () => {
    const [sequence, keyDim, valueDim] = [37, 5, 3];
    let pairs = 0;
    for (let token = 0; token < sequence; token++) pairs += token + 1;
    const shape = { kind: 'attention', batch: 2, heads: 3, sequence, keyDim, valueDim } as const;
    for (const window of [1, 7, 36, 37, 100]) {
      let inside = 0;
      for (let token = 0; token < sequence; token++) inside += Math.min(token + 1, window);
      expect(attentionFlops({ ...shape, window })).toBe(2 * 3 * inside * 2 * (keyDim + valueDim));
    }
    expect(attentionFlops(shape)).toBe(2 * 3 * pairs * 2 * (keyDim + valueDim));
    // dV and dP over v, scores again, dQ and dK over d
    const backward = { ...shape, kind: 'attentionBackward' } as const;
    expect(attentionFlops(backward)).toBe(2 * 3 * pairs * 2 * (3 * keyDim + 2 * valueDim));
  });

  it('fill the last wave of tiles', () => {
    const waves = (rows: number): number =>
      amounts({ kind: 'gemm', rows, columns: 256 * 132, depth: 64 }, 132)[2]?.of ?? Number.NaN;
    expect([waves(128), waves(129), waves(256), waves(257)]).toEqual([1, 2, 2, 3]);
  });
});
