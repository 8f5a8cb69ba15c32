import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tierBetween } from '../cluster/ports.js';
import { getCluster } from '../cluster/presets.js';
import { InputError } from '../units/errors.js';
import type { AxisGroup, Group } from './layout.js';
import {
  allGroups,
  checkPlacement,
  coordinates,
  coordinatesStagesInside,
  epOfPlace,
  etpOfPlace,
  expertNodes,
  groupIndex,
  groupKinds,
  groupMembers,
  groupNumber,
  groupSize,
  holdsExpert,
  localExperts,
  nodeOf,
  placedOn,
  placeGroup,
  replicaIndex,
  sliceIndex,
  sliceOfPlace,
  worldSize,
} from './mesh.js';
import { formatLayout, parseLayout, resolveLayout } from './resolve.js';

function failure(run: () => unknown): InputError {
  try {
    run();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error('expected an InputError');
}

const divisors = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);
const degree = fc.constantFrom(1, 2, 3, 4);
/** Any valid layout: the stage's ranks are split over etp, ep, edp along divisors. */
const layouts = fc
  .tuple(degree, degree, degree, degree, fc.nat(), fc.nat(), fc.boolean())
  .map(([tp, cp, dp, pp, x, y, sp]) => {
    const stage = tp * cp * dp;
    const etps = divisors(stage);
    const etp = etps[x % etps.length];
    const eps = divisors(stage / etp);
    return resolveLayout({ tp, cp, dp, pp, etp, ep: eps[y % eps.length], sequenceParallel: sp });
  });

const nodeSizes = fc.integer({ min: 1, max: 9 });
const isAxis = (group: Group): group is AxisGroup => group !== 'node' && group !== 'rail';

describe('resolveLayout', () => {
  it('fills in the paper’s layout', () => {
    expect(parseLayout('tp=8,dp=2,ep=2')).toEqual({
      tp: 8,
      cp: 1,
      dp: 2,
      pp: 1,
      ep: 2,
      etp: 8,
      edp: 1,
      sequenceParallel: false,
    });
    expect(parseLayout('tp=2,ep=2,sp', 16)).toMatchObject({ dp: 8, edp: 4, etp: 2, sequenceParallel: true });
  });

  it('gives both mappings the same ranks', () => {
    fc.assert(
      fc.property(layouts, (l) => {
        expect(l.etp * l.ep * l.edp * l.pp).toBe(worldSize(l));
      }),
    );
  });

  it('says which product is wrong and what would work', () => {
    expect(failure(() => parseLayout('tp=8,dp=2,ep=3')).format()).toBe(
      'etp·ep = 8·3 = 24 does not divide tp·cp·dp = 8·1·2 = 16\n' +
        '  expected etp·ep·edp = tp·cp·dp for a whole edp\n' +
        '  with etp=8, ep can be 1, 2',
    );
    expect(failure(() => parseLayout('tp=8,dp=4', 16)).hint).toBe('dp=2 would fit');
    expect(failure(() => parseLayout('tp=3', 16)).message).toBe('tp·cp·pp = 3·1·1 = 3 does not divide the 16 ranks');
    expect(failure(() => parseLayout('tp=4,etp=3')).hint).toContain('it can be 1, 2, 4');
    expect(failure(() => resolveLayout({ tp: 0 })).path).toBe('tp');
  });

  it.each(['tq=8', 'tp=8=2', 'tp', 'tp=x', 'tp=-1', 'tp=8,tp=4', '', 'sp=maybe', 'tp=1.5'])('refuses "%s"', (text) => {
    expect(failure(() => parseLayout(text)).exitCode).toBe(2);
  });

  it('reads back the text that it wrote', () => {
    fc.assert(
      fc.property(layouts, (layout) => {
        expect(parseLayout(formatLayout(layout))).toEqual(layout);
      }),
    );
    expect(formatLayout(parseLayout('ep=2,dp=2,tp=8'))).toBe('tp=8,dp=2,ep=2');
  });
});

describe('groups', () => {
  it('partition the ranks, in order, and agree on index and number', () => {
    fc.assert(
      fc.property(layouts, fc.constantFrom(...groupKinds), nodeSizes, (degrees, kind, ranksPerNode) => {
        const layout = { ...degrees, ranksPerNode };
        const groups = allGroups(layout, kind);
        expect(groups.flat().sort((a, b) => a - b)).toEqual([...Array(worldSize(layout)).keys()]);
        for (const members of groups) {
          expect(members).toEqual([...members].sort((a, b) => a - b));
          for (const [index, rank] of members.entries()) {
            expect(groupMembers(layout, kind, rank)).toEqual(members);
            expect(groupIndex(layout, kind, rank)).toBe(index);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('of an axis have the size and the number that the layout tells', () => {
    fc.assert(
      fc.property(layouts, fc.constantFrom(...groupKinds.filter(isAxis)), nodeSizes, (degrees, kind, ranksPerNode) => {
        const layout = { ...degrees, ranksPerNode };
        for (const [number, members] of allGroups(layout, kind).entries()) {
          expect(members).toHaveLength(groupSize(layout, kind));
          for (const rank of members) expect(groupNumber(layout, kind, rank)).toBe(number);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('place ranks as the layout’s formula says', () => {
    fc.assert(
      fc.property(layouts, (l) => {
        for (let rank = 0; rank < worldSize(l); rank++) {
          const at = coordinates(l, rank);
          expect(at.tp + l.tp * (at.cp + l.cp * (at.dp + l.dp * at.pp))).toBe(rank);
          expect(at.etp + l.etp * (at.ep + l.ep * (at.edp + l.edp * at.pp))).toBe(rank);
        }
      }),
    );
  });

  it('stand where nested loops say with stages inside replicas', () => {
    const layout = resolveLayout({ tp: 2, cp: 3, dp: 2, pp: 2, ep: 2, etp: 1 });
    let rank = 0;
    for (let dp = 0; dp < layout.dp; dp++)
      for (let pp = 0; pp < layout.pp; pp++)
        for (let cp = 0; cp < layout.cp; cp++)
          for (let tp = 0; tp < layout.tp; tp++)
            expect(coordinatesStagesInside(layout, rank++)).toMatchObject({ tp, cp, dp, pp });
  });

  it('tell replicas, slices and experts of a rank as nested loops do, under context parallelism too', () => {
    fc.assert(
      fc.property(layouts, fc.integer({ min: 1, max: 3 }), (layout, share) => {
        const { tp, cp, dp, pp, etp, ep, edp } = layout;
        const places = new Map<number, { replica: number; slice: number }>();
        for (let stage = 0, rank = 0; stage < pp; stage++)
          for (let replica = 0; replica < dp; replica++)
            for (let context = 0; context < cp; context++)
              for (let slice = 0; slice < tp; slice++) places.set(rank++, { replica, slice });
        const held: number[][] = [];
        for (let copy = 0; copy < pp * edp; copy++)
          for (let owner = 0; owner < ep; owner++)
            for (let shard = 0; shard < etp; shard++)
              held.push(Array.from({ length: share }, (_, i) => owner * share + i));
        for (let rank = 0; rank < worldSize(layout); rank++) {
          expect({ replica: replicaIndex(layout, rank), slice: sliceIndex(layout, rank) }).toEqual(places.get(rank));
          const experts = [...Array(ep * share).keys()];
          expect(experts.filter((expert) => holdsExpert(layout, ep * share, rank, expert))).toEqual(held[rank]);
          expect(localExperts(layout, ep * share)).toBe(share);
        }
      }),
    );
  });

  it('tell of a place in an expert group what the rank there has', () => {
    fc.assert(
      fc.property(layouts, (layout) => {
        for (let rank = 0; rank < worldSize(layout); rank++) {
          const members = groupMembers(layout, 'expert', rank);
          members.forEach((member, place) => {
            const { etp, ep, tp } = coordinates(layout, member);
            const found = [etpOfPlace(layout, place), epOfPlace(layout, place)];
            expect([...found, sliceOfPlace(layout, members[0] ?? NaN, place)]).toEqual([etp, ep, tp]);
          });
        }
      }),
    );
  });

  it('node and rail are those of nested loops over expert groups and nodes, under context parallelism too', () => {
    fc.assert(
      fc.property(layouts, nodeSizes, (degrees, ranksPerNode) => {
        const layout = { ...degrees, ranksPerNode };
        const { etp, ep, edp, pp } = layout;
        // [expert group][node] and [expert group][place on the node]: the ranks there
        const nodes: number[][][] = [];
        const rails: number[][][] = [];
        const owners: Set<number>[][] = [];
        for (let copy = 0, rank = 0; copy < pp * edp; copy++) {
          nodes.push([]);
          rails.push([]);
          owners.push([]);
          for (let owner = 0; owner < ep; owner++)
            for (let shard = 0; shard < etp; shard++, rank++) {
              let [node, place] = [0, rank];
              for (; place >= ranksPerNode; place -= ranksPerNode) node++;
              (nodes[copy][node] ??= []).push(rank);
              (rails[copy][place] ??= []).push(rank);
              (owners[copy][node] ??= new Set()).add(owner);
              expect(nodeOf(layout, rank)).toBe(node);
            }
        }
        nodes.forEach((group, copy) => {
          for (const members of Object.values(group))
            for (const rank of members) {
              expect(groupMembers(layout, 'node', rank)).toEqual(members);
              expect(expertNodes(layout, rank).map((one) => one.owners)).toEqual(Object.values(owners[copy]));
              const places = expertNodes(layout, rank).flatMap(({ sources }) => sources);
              expect(places).toEqual([...Array(etp * ep).keys()]);
            }
          for (const members of Object.values(rails[copy]))
            for (const rank of members) expect(groupMembers(layout, 'rail', rank)).toEqual(members);
        });
      }),
      { numRuns: 300 },
    );
  });

  it('node and rail follow the cluster, and need to know the nodes', () => {
    const layout = parseLayout('tp=8,dp=2,ep=2');
    const placed = placedOn(layout, getCluster('a800-2x8'));
    expect(groupMembers(placed, 'node', 3)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(groupMembers(placed, 'rail', 3)).toEqual([3, 11]);
    expect(placedOn({ ...layout, ranksPerNode: 4 }, getCluster('a800-2x8')).ranksPerNode).toBe(4);
    expect(resolveLayout({ tp: 2, ranksPerNode: 2 })).toMatchObject({ ranksPerNode: 2 });
    expect(failure(() => groupMembers(layout, 'rail', 3)).hint).toContain('place the layout');
    expect(failure(() => nodeOf({ ...layout, ranksPerNode: 1.5 }, 3)).path).toBe('layout.ranksPerNode');
  });

  it('are those of Megatron for the paper’s layout', () => {
    const layout = parseLayout('tp=8,dp=2,ep=2');
    expect(groupMembers(layout, 'ep', 3)).toEqual([3, 11]);
    expect(groupMembers(layout, 'tp', 9)).toEqual([8, 9, 10, 11, 12, 13, 14, 15]);
    expect(groupMembers(layout, 'edp', 3)).toEqual([3]);
    expect(groupMembers(layout, 'expert', 3)).toHaveLength(16);
    const folded = parseLayout('tp=4,dp=2,etp=1,ep=8');
    expect(groupMembers(folded, 'ep', 5)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(groupMembers(folded, 'etp', 5)).toEqual([5]);
    expect(groupMembers(folded, 'dp', 5)).toEqual([1, 5]);
    expect(() => groupMembers(folded, 'ep', 8)).toThrow(RangeError);
  });
});

describe('placement', () => {
  it('finds the tiers of every pair, and the ranks of every node', () => {
    const cluster = getCluster('a800-2x8');
    const layout = parseLayout('tp=8,dp=2,ep=2');
    expect(placeGroup(cluster, groupMembers(layout, 'tp', 3)).tiers).toEqual([0]);
    expect(placeGroup(cluster, groupMembers(layout, 'ep', 3))).toEqual({ tiers: [1], nodes: [[3], [11]] });
    expect(placeGroup(cluster, groupMembers(layout, 'world', 0)).tiers).toEqual([0, 1]);
    expect(placeGroup(cluster, [5])).toEqual({ tiers: [], nodes: [[5]] });
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: 15 }), { minLength: 1 }), (members) => {
        const pairs = members.flatMap((a) => members.filter((b) => b !== a).map((b) => tierBetween(cluster, a, b)));
        expect(placeGroup(cluster, members).tiers).toEqual([...new Set(pairs)].sort((a, b) => a - b));
      }),
    );
  });

  it('refuses a cluster of the wrong size', () => {
    const cluster = getCluster('a800-2x8');
    const small = parseLayout('tp=8');
    expect(failure(() => checkPlacement(small, cluster)).hint).toBe('dp=2 would fill the cluster');
    checkPlacement(small, cluster, true);
    checkPlacement(parseLayout('tp=8,dp=2'), cluster);
    failure(() => checkPlacement(parseLayout('tp=8,dp=4'), cluster, true));
    failure(() => placeGroup(cluster, [16]));
  });
});
