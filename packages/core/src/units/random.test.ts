import { describe, expect, it } from 'vitest';
import { Random } from './random.js';
import { maxOf } from './lists.js';

const draws = 200_000;

const first = (random: Random): number[] => Array.from({ length: 5 }, () => random.bits());

describe('Random', () => {
  it('repeats itself for a seed and differs between seeds and streams', () => {
    expect(first(new Random(7))).toEqual(first(new Random(7)));
    const kinds = [new Random(7), new Random(8), new Random(7, 1), new Random(8, 1), new Random(0)].map(first);
    expect(new Set(kinds.map(String)).size).toBe(kinds.length);
  });

  it('is uniform: mean, variance, and equal shares of 64 bins (chi-square within five deviations)', () => {
    const random = new Random(1);
    const bins = new Int32Array(64);
    let [sum, squares, outside] = [0, 0, false];
    for (let i = 0; i < draws; i++) {
      const x = random.uniform();
      outside ||= x < 0 || x >= 1;
      sum += x;
      squares += x * x;
      bins[Math.floor(x * 64)]++;
    }
    expect(outside).toBe(false);
    const mean = sum / draws;
    expect(mean).toBeCloseTo(0.5, 2);
    expect(squares / draws - mean ** 2).toBeCloseTo(1 / 12, 2);
    const chi = bins.reduce((total, n) => total + (n - draws / 64) ** 2 / (draws / 64), 0);
    expect(Math.abs(chi - 63)).toBeLessThan(5 * Math.sqrt(2 * 63));
  });

  it('draws normals with the moments 0, 1, 0, 3', () => {
    const random = new Random(2);
    const moments = [0, 0, 0, 0];
    for (let i = 0; i < draws; i++) {
      const x = random.normal();
      for (let m = 0; m < 4; m++) moments[m] += x ** (m + 1) / draws;
    }
    expect(moments[0]).toBeCloseTo(0, 1);
    expect(moments[1]).toBeCloseTo(1, 1);
    expect(Math.abs(moments[2])).toBeLessThan(0.05);
    expect(Math.abs(moments[3] - 3)).toBeLessThan(0.1);
  });

  it('draws integers in range and evenly', () => {
    const random = new Random(3);
    const seen = new Int32Array(7);
    for (let i = 0; i < 70_000; i++) seen[random.integer(7)]++;
    for (const n of seen) expect(Math.abs(n - 10_000)).toBeLessThan(500);
    expect(() => random.integer(0)).toThrow(RangeError);
  });

  it('picks by Gumbel with the given probabilities', () => {
    const random = new Random(4);
    const p = [0.1, 0.2, 0.7];
    const hits = [0, 0, 0];
    for (let i = 0; i < 50_000; i++) {
      const keys = p.map((q) => Math.log(q) + random.gumbel());
      hits[keys.indexOf(maxOf(keys))]++;
    }
    for (const [i, q] of p.entries()) expect(Math.abs(hits[i] / 50_000 - q)).toBeLessThan(0.01);
  });

  it('shuffles every permutation of three about equally often', () => {
    const random = new Random(5);
    const seen = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const key = random.shuffle([1, 2, 3]).join('');
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    expect(seen.size).toBe(6);
    for (const n of seen.values()) expect(Math.abs(n - 1000)).toBeLessThan(150);
  });
});
