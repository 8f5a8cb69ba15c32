/**
 * What is predicted that a rank holds beside what its arena hands out, in thirty real runs of any dispatcher. What the
 * ranks routed is known, as copies by node or rank and drops depend on which tokens picked what.
 */
import {
  allHalves,
  groupMembers,
  GroupRouting,
  maxOf,
  Random,
  rankMemory,
  recomputeModules,
  unsupportedStrategy,
  type Layout,
  type MoeModel,
  type RankRouting,
  type Recompute,
  type StepShape,
} from '@monta/core';
import { exchangesPicks } from '@monta/core/schedule';
import { expect, it } from 'vitest';
import { builtTesting } from '../../testing/built.js';
import type { HeldBytes } from '../../testing/execute/memory.worker.js';
import type { RankCase } from '../../testing/execute/multi-rank-data.js';
import {
  casesOf,
  deepseek,
  deepseek2,
  glm,
  layoutOf,
  mixtral,
  model,
  olmoe,
  rankCase,
  sharing,
  sinking,
  strategyOf,
} from '../../testing/execute/rank-cases.js';
import { launchLocal } from '../launch/index.js';

const sp = { sequenceParallel: true };
const ranksPerNode = 2;
const layouts: readonly (readonly [ranks: number, runs: number, layouts: readonly Layout[]])[] = [
  [1, 3, [layoutOf({})]],
  [
    2,
    9,
    [
      layoutOf({ tp: 2 }),
      layoutOf({ tp: 2, ...sp }),
      layoutOf({ dp: 2, ep: 2 }),
      layoutOf({ dp: 2 }),
      layoutOf({ tp: 2, ep: 2, etp: 1 }),
    ],
  ],
  [
    4,
    18,
    [
      layoutOf({ tp: 2, dp: 2, ep: 2, ranksPerNode }),
      layoutOf({ tp: 2, dp: 2, ep: 2, ...sp, ranksPerNode }),
      layoutOf({ tp: 2, dp: 2, ep: 4, etp: 1, ...sp, ranksPerNode }),
      layoutOf({ tp: 4, ep: 2, etp: 2, ranksPerNode }),
      layoutOf({ dp: 4, ep: 4, ranksPerNode }),
      layoutOf({ dp: 4, ep: 2, ranksPerNode }),
    ],
  ],
];
const recomputes: readonly Recompute[] = ['none', 'selective', 'full', ...recomputeModules.map((module) => [module])];
const models: readonly MoeModel[] = [model, olmoe, mixtral, sharing, sinking, deepseek, deepseek2, glm];

/** A seeded run. */
function drawn(random: Random, layout: Layout): RankCase {
  const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)];
  const halves = allHalves().filter((pair) => unsupportedStrategy(pair, { layout }) === undefined);
  const { dispatch, combine } = pick(halves);
  const changes: Partial<StepShape> = {
    model: pick(models),
    sequence: 16 + random.integer(48),
    microBatches: 1 + random.integer(3),
    passes: pick(['behind', 'behind', 'beside']),
    inFlight: pick([1, 1, 1, 2]),
    recompute: pick(recomputes),
    ...(random.uniform() < 0.3 ? { capacityFactor: 0.5 + random.uniform() } : {}),
  };
  const strategy = strategyOf(dispatch, combine, 1 + random.integer(4), 1 + random.integer(4));
  const more = random.uniform() < 0.25 ? { starved: true } : {};
  return rankCase(casesOf(layout, '', changes, more, [strategy])[0]);
}

/** What the expert group of a rank routed, from what each of its ranks saw. */
const routedBy = ({ step }: RankCase, held: readonly HeldBytes[], rank: number): RankRouting => ({
  rank,
  of: ({ layer, microBatch }) => {
    const { layout, sequence, sequences, strategy } = step;
    const { experts, topK } = step.model;
    const picks = groupMembers(layout, 'expert', rank).map((one) => ({ ids: held[one].ids[layer][microBatch], topK }));
    const shape = { layout, experts, tokens: sequence * sequences };
    return GroupRouting.fromPicks(shape, picks, exchangesPicks(strategy) ? { cut: 'tokens' } : {});
  },
});

/** Rows of the fullest rank's experts over the mean, in the first micro-batch of the last layer. */
function imbalanceOf({ step: { layout, model: of } }: RankCase, held: readonly HeldBytes[]): number {
  const loads = Array.from({ length: layout.ep }, () => 0);
  for (const { ids } of held)
    for (const id of ids.at(-1)?.[0] ?? []) if (id >= 0) loads[Math.floor((id * layout.ep) / of.experts)]++;
  return (maxOf(loads) * layout.ep) / loads.reduce((a, b) => a + b, 0);
}

it('is what thirty varied runs hold, within 2 %', async () => {
  const random = new Random(23);
  const wrong: string[] = [];
  let [runs, skewed, dropped, paired] = [0, 0, 0, 0];
  for (const [ranks, count, given] of layouts) {
    // In the order of what they need, so that the highest so far is each one's own.
    const cases = Array.from({ length: count }, (_, i) => drawn(random, given[i % given.length])).sort(
      (a, b) => rankMemory(a.step).totalBytes - rankMemory(b.step).totalBytes,
    );
    const held = (await launchLocal({
      ranks,
      memoryBytes: 8 << 20,
      maximumMemoryBytes: 1 << 30,
      workerModule: builtTesting('execute/memory.worker'),
      workerData: { cases },
    })) as HeldBytes[][];
    let before = 0;
    for (const [place, one] of cases.entries()) {
      const here = held.map((rank) => rank[place]);
      const foretold = here.map((_, rank) => rankMemory(one.step, routedBy(one, here, rank)));
      const arena = maxOf(here.map(({ arenaBytes }) => arenaBytes));
      const errors = {
        passes: maxOf(
          here.map(({ regionBytes }, rank) => Math.abs(foretold[rank].timeline.peak.bytes / regionBytes - 1)),
        ),
        all: arena > before ? maxOf(foretold.map(({ totalBytes }) => totalBytes)) / arena - 1 : 0,
      };
      before = arena;
      for (const [what, error] of Object.entries(errors))
        if (!(Math.abs(error) < 0.02))
          wrong.push(`${one.name} ${one.step.model.name}: ${what} ${(100 * error).toFixed(2)} %`);
      runs++;
      paired += Number(one.step.microBatches > 1 && one.step.passes === 'beside');
      skewed += Number(imbalanceOf(one, here) > 1.2);
      dropped += Number(here.some(({ ids }) => ids.flat().some((picks) => picks.some((id) => id < 0))));
    }
  }
  expect(wrong).toEqual([]);
  expect(runs).toBe(30);
  expect(paired).toBeGreaterThan(3);
  expect(skewed).toBeGreaterThan(3);
  expect(dropped).toBeGreaterThan(3);
});
