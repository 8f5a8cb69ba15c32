/** Moves of groups that are others' but for where they begin. */
import { describe, expect, it } from 'vitest';
import { randomWorld } from '../../testing/random-worlds.js';
import { getCluster } from '../cluster/index.js';
import { groupMembers, placedOn } from '../layout/mesh.js';
import { fabricOf } from '../traffic/index.js';
import { Random } from '../units/random.js';
import { pairwiseSeconds } from './nccl.js';
import { busiestPort, fastestWay, unitMove } from './ways.js';

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

describe('the move of one byte between all pairs', () => {
  it('of a group with the same ranks in each node is told by the flows of the first, on random clusters', () => {
    const random = new Random(7);
    let grids = 0;
    for (let draw = 0; draw < 200; draw++) {
      const { cluster, layout } = randomWorld(random);
      const fabric = fabricOf(cluster);
      const group = (['ep', 'expert', 'dense', 'rail'] as const)[random.integer(4)] ?? 'ep';
      const members = groupMembers(placedOn(layout, cluster), group, 0);
      const request = { fabric, name: 'all_to_all', members } as const;
      const algorithm = random.integer(2) === 0 ? 'direct' : 'ring';
      const move = unitMove(request, 'pairs', algorithm);
      if (move.grid === undefined) continue;
      grids += 1;
      expect(move.flows).toHaveLength(members.length * (members.length - 1));
      expect(move.portSeconds / busiestPort(fabric, move.flows).seconds).toBeCloseTo(1, 12);
      const load = { kind: 'even', of: 'pairs', bytes: 1e6 } as const;
      const { latencies } = fastestWay(request, load, 'nccl');
      members.forEach((rank, index) => {
        const peers = members.filter((one) => one !== rank);
        expect((latencies[index] ?? 0) / pairwiseSeconds(fabric, rank, peers)).toBeCloseTo(1, 12);
      });
    }
    expect(grids).toBeGreaterThan(20);
  });
});
