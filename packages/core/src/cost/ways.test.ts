/** Moves of groups that are others' but for where they begin. */
import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { fabricOf } from '../traffic/index.js';
import { Random } from '../units/random.js';
import { unitMove } from './ways.js';

describe('the move of a group', () => {
  it('is the same whether another group like it was asked for before or not', () => {
    const random = new Random(5);
    let like = 0;
    for (const name of ['h100-4x8', 'a100-8x4', 'b200-2x8'])
      for (const [collective, of, algorithm] of [
        ['all_to_all', 'pairs', 'direct'],
        ['all_gather', 'blocks', 'ring'],
        ['all_reduce', 'blocks', 'tree'],
      ] as const) {
        const first = Array.from({ length: 4 + random.integer(4) }, (_, index) => index);
        const cluster = getCluster(name);
        const fabric = fabricOf(cluster);
        const members = first.map((rank) => rank + fabric.repeats);
        unitMove({ fabric, name: collective, members: first }, of, algorithm);
        const second = unitMove({ fabric, name: collective, members }, of, algorithm);
        const fresh = fabricOf({ ...cluster });
        const alone = unitMove({ fabric: fresh, name: collective, members }, of, algorithm);
        if (second.like !== undefined && alone.like === undefined) like += 1;
        expect(second.flows).toEqual(alone.flows);
        expect([second.rings, second.portSeconds]).toEqual([alone.rings, alone.portSeconds]);
        second.like?.move.flows.forEach(({ route }, index) => {
          const own = route.ports.map((port) => fabric.moved(port, fabric.repeats));
          expect(own).toEqual(second.flows[index]?.route.ports);
        });
      }
    expect(like).toBe(9);
  });
});
