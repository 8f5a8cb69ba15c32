/** Leaving out, on measurements whose truth is known: links without noise, and links a given share apart. */
import { describe, expect, it } from 'vitest';
import type { Measurement } from '../measurement.js';
import { gpusLeftOut, halves, sizesLeftOut } from './left-out.js';
import { placesApart, relativesApart } from './noise.js';

/** Powers of four from 4 KiB to 1 GiB of an all_gather over 8 ranks: 20 us and 1 ns for each 100 bytes. */
const series = (gpu: string, slower = 1): Measurement[] =>
  Array.from({ length: 10 }, (_, i): Measurement => {
    const bytes = 4 ** (6 + i);
    const seconds = slower * (20e-6 + bytes * 1e-11);
    const inPlaceSeconds = i % 2 === 0 ? seconds : seconds / 1.1;
    const key = { gpu, system: '', library: 'NCCL', op: 'all_gather', ranks: 8, nodes: 1 } as const;
    return { ...key, bytes, seconds, inPlaceSeconds, source: 'made', line: i + 1, origin: 'NCCL' };
  });

describe('what is left out', () => {
  it('is every second size of each series, and the others are fitted', () => {
    const { fitted, left } = halves([...series('H100'), ...series('A100')], 0);
    expect([fitted.length, left.length]).toEqual([10, 10]);
    expect(left.some((one) => fitted.includes(one))).toBe(false);
    expect(halves(series('H100'), 1).fitted).toEqual(halves(series('H100'), 0).left);
  });

  it('is predicted nearly exactly where a link has a latency and a bandwidth', () => {
    const [large, small] = sizesLeftOut('straight', series('H100'), 0);
    expect((large?.rows.length ?? 0) + (small?.rows.length ?? 0)).toBe(5);
    expect(large?.summary.p90AbsoluteError).toBeLessThan(0.02);
  });

  it('of a relative is as wrong as the relatives are apart', () => {
    const both = [...series('H100'), ...series('H200', 1.1)];
    const [apart] = relativesApart(both);
    expect(apart?.median).toBeCloseTo(0.1, 6);
    expect(gpusLeftOut(both).map(({ name }) => name)).toEqual(['H100 from its family', 'H200 from its family']);
    for (const { summary } of gpusLeftOut(both)) expect(summary.medianAbsoluteError).toBeCloseTo(0.1, 1);
  });

  it('differs by place as the same run does', () => {
    const [large] = placesApart(series('H100'));
    // The usual ratio is taken off: half of the rows are 10 % apart.
    expect(large?.rows).toBe(6);
    expect(large?.p90).toBeGreaterThan(0.04);
  });
});
