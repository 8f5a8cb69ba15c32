/** Plans of small workloads against all that there is to try, priced one by one. */
import { beforeAll, describe, expect, it } from 'vitest';
import { getCluster, type Cluster } from '../cluster/index.js';
import { costModel } from '../cost/index.js';
import { layoutOf } from '../../testing/strategies.js';
import {
  inChunks,
  plainPair,
  searchedHalves,
  unsupportedStrategy,
  type Halves,
} from '../schedule/dispatchers/strategies.js';
import type { MoeShape } from '../schedule/moe-shape.js';
import { Random } from '../units/random.js';
import { alternativeEtps, chooseDispatch, withEtp, type Choice, type ChoiceOptions } from './choose.js';
import type { Layout } from '../layout/layout.js';
import { placedOn } from '../layout/mesh.js';
import { marginOver } from './explain.js';
import { choiceName, figuresOf, findFlips, type FlipSearch } from './flips.js';
import { passPrice, routedBinding, simulatePass, type Workload } from './workload.js';
import { minOf } from '../units/index.js';

const chunkCounts = [1, 2];

interface Tried {
  readonly names: readonly string[];
  readonly seconds: number;
}

/**
 * Fastest price of every way with the names of those that come to it. What takes exactly as long in every pass and
 * chunk count is the same program; so are, by what they mean, plain halves where a replica is one rank.
 */
function bruteForce(workload: Workload, searched: readonly Halves[]): Tried[] {
  const found = new Map<string, { names: string[]; seconds: number }>();
  for (const etp of alternativeEtps(workload.shape)) {
    const { cluster } = workload;
    const shape = withEtp({ ...workload.shape, layout: placedOn(workload.shape.layout, cluster) }, etp);
    const binding = routedBinding(shape, workload.routing, workload.seed);
    for (const halves of searched) {
      if (unsupportedStrategy(halves, shape) !== undefined) continue;
      const prices = (['forward', 'backward'] as const).map((pass) =>
        chunkCounts.map((chunks) => {
          const simulation = simulatePass({ ...workload, shape }, inChunks(halves, chunks), pass, binding);
          return simulation.known ? passPrice(simulation, cluster, chunks).seconds : Infinity;
        }),
      );
      const name = choiceName({ strategy: inChunks(halves, 1), layout: shape.layout });
      const key = shape.layout.tp === 1 && plainPair(halves) ? 'one' : `${etp} ${prices.flat().join()}`;
      const known = found.get(key);
      if (known) known.names.push(name);
      else found.set(key, { names: [name], seconds: prices.reduce((sum, list) => sum + minOf(list), 0) });
    }
  }
  return [...found.values()].sort((x, y) => x.seconds - y.seconds);
}

/** Machines with a fast and a slow network, and few ranks, so that all can be tried. */
const machines: readonly string[] = ['a800-2x2-1nic', 'h100-2x2', 'h100-1x4', 'b200-2x2', 'h20-2x2'];
const layouts: readonly [Partial<Layout>, ...Partial<Layout>[]] = [
  { tp: 2, dp: 2, ep: 2 },
  { tp: 2, dp: 2, ep: 1 },
  { tp: 4, dp: 1, ep: 1 },
  { tp: 1, dp: 4, ep: 4 },
  { tp: 2, dp: 2, ep: 2, sequenceParallel: true },
];
function drawn(random: Random, index: number): Workload {
  const pick = <T>(list: readonly [T, ...T[]]): T => list[Math.floor(random.uniform() * list.length)] ?? list[0];
  const cluster: Cluster = getCluster(machines[index % machines.length] ?? '');
  const shape: MoeShape = {
    tokens: pick([256, 1024, 4096, 16384]),
    hiddenSize: pick([1024, 4096, 8192]),
    expertFfn: pick([512, 2048, 14336]),
    experts: pick([4, 8, 64]),
    topK: pick([1, 2, 4]),
    layout: layoutOf(pick(layouts)),
    dtype: 'bf16',
  };
  const scope = pick(['layer', 'dispatch'] as const);
  return { cluster, shape, routing: { kind: 'uniform' }, seed: index, model: costModel(cluster.device), scope };
}

describe('forty plans over half of the pairs of halves, drawn', () => {
  const random = new Random(40);
  const workloads = Array.from({ length: 40 }, (_, index) => drawn(random, index));
  /** Pairs of halves of each plan, half of all. */
  const pairs = workloads.map(() => {
    const list = searchedHalves();
    random.shuffle(list);
    return list.slice(0, Math.ceil(list.length / 2));
  });
  const optionsOf = ({ shape }: Workload, halves: readonly Halves[]): ChoiceOptions => ({
    chunkCounts,
    expertTensorParallel: alternativeEtps(shape),
    halves,
  });
  const planned: { workload: Workload; halves: readonly Halves[]; choice: Choice; all: Tried[] }[] = [];
  beforeAll(() => {
    for (const [index, workload] of workloads.entries()) {
      const halves = pairs[index] ?? [];
      const choice = chooseDispatch(workload, optionsOf(workload, halves));
      if (!choice.known) throw new Error(choice.missing.join());
      planned.push({ workload, halves, choice, all: bruteForce(workload, halves) });
    }
  });

  it('choose what is fastest of all that there is, with its price', () => {
    for (const { choice, all } of planned) {
      expect(choice.best.seconds).toBeCloseTo(all[0]?.seconds ?? Number.NaN, 12);
      expect(all[0]?.names).toContain(choiceName(choice.best));
    }
  });

  it('name the runner-up and its real margin, and call a tie what is one', () => {
    for (const { choice, all } of planned) {
      const [first, second] = all;
      expect(choice.runnerUp?.seconds ?? -1).toBeCloseTo(second?.seconds ?? -1, 12);
      expect(choice.runnerUp === undefined).toBe(second === undefined);
      const margin = choice.runnerUp && marginOver(choice.best, choice.runnerUp);
      const share = second && first ? second.seconds / first.seconds - 1 : undefined;
      expect(margin?.share ?? -1).toBeCloseTo(share ?? -1, 9);
      expect(margin?.tie).toBe(share === undefined ? undefined : share < (margin?.modelError ?? 0));
    }
  });

  it('print one row of plain halves where a replica is one rank', () => {
    const single = planned.filter(({ workload }) => workload.shape.layout.tp === 1);
    expect(single.length).toBeGreaterThan(2);
    for (const { choice } of single) {
      const plain = choice.candidates.filter(({ strategy }) => plainPair(strategy));
      expect(plain.length).toBeLessThanOrEqual(1);
      const programs = choice.candidates.map(({ program }) => program);
      expect(new Set(programs).size).toBe(programs.length);
    }
  });

  it('flip where they say: there the choice is the other one, just before still the present one', () => {
    let flipped = 0;
    let steady = 0;
    for (const { workload, halves: many } of planned) {
      // Every figure of a plan costs a dozen searches, so they go through a few pairs only.
      const halves = many.slice(0, 3);
      const options = { ...optionsOf(workload, halves), onlyBest: true };
      const choice = chooseDispatch(workload, options);
      if (!choice.known) throw new Error(choice.missing.join());
      const search: FlipSearch = findFlips(workload, choice.best, options);
      const present = choiceName(choice.best);
      const winnersAt = (figure: string, value: number): readonly string[] => {
        const found = figuresOf(workload).find((one) => one.figure === figure);
        return found ? (bruteForce(found.at(value / found.now).workload, halves)[0]?.names ?? []) : [];
      };
      for (const { figure, at, until, to } of search.flips) {
        flipped += 1;
        const there = winnersAt(figure, at);
        expect(there).toContain(to);
        expect(there).not.toContain(present);
        expect(winnersAt(figure, until)).toContain(present);
      }
      for (const { figure, tried } of search.steady) {
        steady += 1;
        // One end each, the lower and the upper in turns: pricing everything anew is what this test takes long for.
        const ends = [tried.at(steady % 2 === 0 ? 0 : -1)].filter((value) => value !== undefined);
        for (const end of ends) expect(winnersAt(figure, end)).toContain(present);
      }
    }
    expect(flipped).toBeGreaterThan(3);
    expect(steady).toBeGreaterThan(3);
  });
});
