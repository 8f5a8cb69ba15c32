import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { maxMinShares } from './max-min.js';
import type { Demand } from './max-min.js';

const demands = fc.array(
  fc.record({
    count: fc.integer({ min: 1, max: 3 }),
    ports: fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 3 }),
    priority: fc.constant(0),
  }),
  { minLength: 1, maxLength: 8 },
);
const capacities = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 6, maxLength: 6 });

function weighted(list: readonly Omit<Demand, 'weights'>[]): Demand[] {
  return list.map((demand) => ({ ...demand, weights: demand.ports.map((port) => 1 + (port % 2)) }));
}

/** Raises all rates by a tiny step as long as every port of theirs has room. */
function filledInSteps(list: readonly Demand[], capacity: readonly number[], step: number): number[] {
  const rates = list.map(() => 0);
  const used = capacity.map(() => 0);
  const open = list.map(() => true);
  while (open.some(Boolean)) {
    list.forEach((demand, i) => {
      if (!open[i]) return;
      const fits = demand.ports.every(
        (port, k) => (used[port] ?? 0) + demand.count * (demand.weights[k] ?? 1) * step <= (capacity[port] ?? 0) + 1e-9,
      );
      if (!fits) {
        open[i] = false;
        return;
      }
      rates[i] = (rates[i] ?? 0) + step;
      demand.ports.forEach((port, k) => {
        used[port] = (used[port] ?? 0) + demand.count * (demand.weights[k] ?? 1) * step;
      });
    });
  }
  return rates;
}

describe('max-min shares', () => {
  it('agrees with filling the ports drop by drop', () => {
    fc.assert(
      fc.property(demands, capacities, (list, capacity) => {
        const all = weighted(list);
        const step = 1e-3;
        const slow = filledInSteps(all, capacity, step);
        const fast = maxMinShares(all, (port) => capacity[port] ?? 0);
        // one step early on one port shifts what other ports have left, by a few steps per flow
        fast.forEach((share, i) => expect(Math.abs(share.rate - (slow[i] ?? 0))).toBeLessThan(60 * step));
      }),
      { seed: 1, numRuns: 60 },
    );
  });

  it('gives every flow a full port on which nobody is faster, which only the max-min allocation does', () => {
    fc.assert(
      fc.property(demands, capacities, (list, capacity) => {
        const all = weighted(list);
        const shares = maxMinShares(all, (port) => capacity[port] ?? 0);
        const load = (port: number): number =>
          all.reduce((sum, demand, i) => {
            const k = demand.ports.indexOf(port);
            return k < 0 ? sum : sum + demand.count * (demand.weights[k] ?? 1) * (shares[i]?.rate ?? 0);
          }, 0);
        capacity.forEach((limit, port) => expect(load(port)).toBeLessThanOrEqual(limit * (1 + 1e-12)));
        shares.forEach((share, i) => {
          expect(all[i]?.ports).toContain(share.port);
          expect(load(share.port)).toBeCloseTo(capacity[share.port] ?? 0, 9);
          const beside = shares.filter((_, j) => all[j]?.ports.includes(share.port)).map((other) => other.rate);
          expect(Math.max(...beside)).toBeLessThanOrEqual(share.rate * (1 + 1e-12));
        });
      }),
      { seed: 2, numRuns: 300 },
    );
  });

  it('serves higher classes first and gives lower ones the rest', () => {
    const flow = { count: 1, ports: [0], weights: [1] };
    const shares = maxMinShares(
      [
        { ...flow, priority: 0 },
        { ...flow, ports: [0, 1], weights: [1, 1], priority: 1 },
      ],
      (port) => (port === 0 ? 10 : 4),
    );
    expect(shares.map((share) => share.rate)).toEqual([6, 4]);
  });

  it('does not limit what occupies nothing', () => {
    expect(maxMinShares([{ count: 1, ports: [], weights: [], priority: 0 }], () => 1)[0]?.rate).toBe(Infinity);
  });
});
