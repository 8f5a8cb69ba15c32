/** Digits of ranks, against ports looked at one by one. */
import { describe, expect, it } from 'vitest';
import { randomWorld } from '../../testing/random-worlds.js';
import { route, type Cluster } from '../cluster/index.js';
import { worldSize } from '../layout/mesh.js';
import { Random } from '../units/random.js';
import { digitsOf, moved, type Digit } from './symmetry.js';

/** Whether every port that two routes share is shared by what becomes of them, and no other. */
function keepsPorts(digit: Digit, ranks: number, cluster: Cluster): boolean {
  const there = new Map<number, number>();
  const back = new Map<number, number>();
  for (let from = 0; from < ranks; from++)
    for (let to = 0; to < ranks; to++) {
      const [one, other] = [route(cluster, from, to), route(cluster, moved(from, digit), moved(to, digit))];
      if (one.tier !== other.tier || one.slowdown !== other.slowdown) return false;
      for (const [ports, later] of [
        [one.egress, other.egress],
        [one.ingress, other.ingress],
      ] as const)
        for (const [index, port] of ports.entries()) {
          const next = later[index] ?? -1;
          if ((there.get(port) ?? next) !== next || (back.get(next) ?? port) !== port) return false;
          there.set(port, next);
          back.set(next, port);
        }
    }
  return true;
}

describe('the digits of a layout', () => {
  it('keep shared ports and routes on random clusters', () => {
    const random = new Random(11);
    let digits = 0;
    for (let draw = 0; draw < 150; draw++) {
      const { cluster, layout } = randomWorld(random);
      for (const digit of digitsOf(layout, cluster)) {
        digits += 1;
        expect(keepsPorts(digit, worldSize(layout), cluster), `${cluster.name} ${JSON.stringify(digit)}`).toBe(true);
      }
    }
    expect(digits).toBeGreaterThan(150);
  });
});
