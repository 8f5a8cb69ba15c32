/**
 * Every way tokens can travel, on real ranks: losses, gradients and steps against one rank, and the closed form of
 * dispatch alone. Cases are a seeded draw of all, which `npm run test:strategies` runs.
 */
import {
  allHalves,
  dispatchProgram,
  getCluster,
  placedOn,
  Random,
  sameSums,
  traffic,
  unsupportedStrategy,
  worldSize,
  type Layout,
  type Strategy,
} from '@monta/core';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { dispatchJob as jobOf, dispatchShape as shapeOf } from '../../testing/execute/dispatch-jobs.js';
import type { RankCase } from '../../testing/execute/multi-rank-data.js';
import {
  aloneCase,
  bits,
  casesOf,
  compare,
  compareToReference,
  layoutOf,
  rankCase,
  run,
  strategyOf,
  twinKey,
  type Named,
} from '../../testing/execute/rank-cases.js';
import { routed } from '../../testing/execute/port-bytes.js';
import { launchLocal } from '../launch/index.js';
import { measureDispatch, type DispatchJob } from './measure-dispatch.js';

const news = ['deduplicated', 'deduplicated-gathered', 'hierarchical', 'gathered'];
const isNew = ({ dispatch, combine }: Pick<Strategy, 'dispatch' | 'combine'>): boolean =>
  news.includes(dispatch) || news.includes(combine);

/** All pairs with a new half, in chunks that differ by pass. */
const strategies: readonly Strategy[] = allHalves()
  .filter(isNew)
  .map(({ dispatch, combine }, i) => strategyOf(dispatch, combine, 1 + (i % 3), 3 - (i % 3)));
const named = (name: string, forward: number, backward: number): Strategy => strategyOf(name, name, forward, backward);
const mirrored = news.flatMap((name) => [named(name, 1, 1), named(name, 3, 2)]);

const sp = { sequenceParallel: true };
const trained: Partial<RankCase> = {
  steps: 2,
  optimizer: { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1, maxNorm: 0.5 },
};
const on = (ranksPerNode: number, layout: Layout): Layout => ({ ...layout, ranksPerNode });
const all = (layout: Layout, what = '', changes = {}, more = {}): Named[] =>
  casesOf(layout, what, changes, more, [...strategies]);
const few = (layout: Layout, what = '', changes = {}, more = {}): Named[] =>
  casesOf(layout, what, changes, more, mirrored);

const every = process.env.MONTA_STRATEGIES === 'all';

/** So many of the cases, in their order. */
function drawn<T>(cases: readonly T[], count: number, seed: number): T[] {
  if (every || count >= cases.length) return [...cases];
  const places = cases.map((_, i) => i);
  new Random(seed).shuffle(places);
  const taken = new Set(places.slice(0, count));
  return cases.filter((_, i) => taken.has(i));
}

const groups: readonly (readonly [ranks: number, cases: readonly Named[]])[] = [
  [1, drawn(few(on(1, layoutOf({}))), 3, 1)],
  [
    2,
    [
      ...drawn(all(on(2, layoutOf({ tp: 2 }))), 6, 2),
      ...drawn(all(on(1, layoutOf({ dp: 2, ep: 2 }))), 6, 3),
      ...drawn(few(on(2, layoutOf({ tp: 2, ...sp }))), 2, 4),
    ],
  ],
  [
    4,
    [
      ...drawn(all(on(2, layoutOf({ tp: 2, dp: 2, ep: 2 }))), 10, 5),
      ...drawn(few(on(2, layoutOf({ tp: 2, dp: 2, ep: 4, etp: 1, ...sp })), 'starved', {}, { starved: true }), 3, 6),
      ...drawn(few(on(2, layoutOf({ tp: 4, ep: 2, etp: 2, ...sp })), '3 tokens', { sequence: 3, sequences: 1 }), 3, 7),
      ...drawn(few(on(2, layoutOf({ tp: 4, ep: 1, etp: 2 })), '2 micro-batches', { microBatches: 2 }), 2, 8),
    ],
  ],
  [
    8,
    [
      ...drawn(few(on(4, layoutOf({ tp: 2, dp: 4, ep: 4 })), 'trained', {}, trained), 1, 9),
      ...drawn(few(on(2, layoutOf({ tp: 2, dp: 4, ep: 8, etp: 1 }))), 2, 10),
      ...drawn(few(on(4, layoutOf({ dp: 8, ep: 4, etp: 2 }))), 1, 11),
      ...drawn(few(on(2, layoutOf({ dp: 8, ep: 4 }))), 1, 12),
    ],
  ],
];

it('draws every half in either direction', () => {
  const strategiesOf = groups.flatMap(([, cases]) => cases.map(({ step }) => step.strategy));
  expect(new Set(strategiesOf.map(({ dispatch }) => dispatch))).toEqual(
    new Set(allHalves().map(({ dispatch }) => dispatch)),
  );
  expect(new Set(strategiesOf.map(({ combine }) => combine))).toEqual(
    new Set(allHalves().map(({ combine }) => combine)),
  );
});

describe.each(groups)('%i ranks', (ranks, cases) => {
  it(`equal one rank in ${cases.length} layouts and strategies`, async () => {
    const given = cases.map(rankCase);
    const twins = new Map(given.map((one) => [twinKey(one), aloneCase(one)]));
    const results = await run(ranks, given);
    const alone = await run(1, [...twins.values()]);
    const places = [...twins.keys()];
    const wrong = results.flatMap((result, i) => compare(result, alone[places.indexOf(twinKey(given[i]))]));
    expect(results).toHaveLength(given.length);
    expect(wrong).toEqual([]);
  });
});

describe('strategies that sum where the token is', () => {
  it('have the losses, gradients and weights of one another bit for bit', async () => {
    const layout = on(2, layoutOf({ tp: 2, dp: 2, ep: 2 }));
    const pairs = sameSums().filter((halves) => unsupportedStrategy(halves, { layout }) === undefined);
    expect(pairs.length).toBeGreaterThan(7);
    const strategies = pairs.map(({ dispatch, combine }, i) => strategyOf(dispatch, combine, 1 + (i % 2), 2 - (i % 2)));
    const apart = { chunks: false, experts: false, shared: false, weightGradients: false };
    const cases = [
      ...casesOf(layout, '', {}, trained, strategies),
      ...casesOf(layout, 'nothing beside anything', { overlap: apart }, trained, strategies.slice(0, 2)),
    ];
    const rounded = casesOf(layout, 'in fp8', { payload: 'fp8' }, trained, strategies);
    const [first, ...others] = await run(4, [...cases, ...rounded].map(rankCase));
    const unlike = (some: typeof others, one: typeof first): string[] =>
      some.filter((other) => !isDeepStrictEqual(bits(other), bits(one))).map(({ name }) => name);
    expect(unlike(others.slice(0, cases.length - 1), first)).toEqual([]);
    // Rounding is the same whatever the way, and it is there.
    const [firstRounded, ...othersRounded] = others.slice(cases.length - 1);
    expect(unlike(othersRounded, firstRounded)).toEqual([]);
    expect(unlike([firstRounded], first)).toHaveLength(1);
  });
});

describe('against the float64 reference', () => {
  it('every strategy has its losses and gradients', async () => {
    const cases = [
      ...drawn(few(on(2, layoutOf({ tp: 2, dp: 2, ep: 2 }))), 3, 13),
      ...drawn(few(on(2, layoutOf({ tp: 2, dp: 2, ep: 4, etp: 1 })), 'capacity', { capacityFactor: 0.6 }), 5, 14),
    ].map(rankCase);
    expect(cases.length).toBeGreaterThan(7);
    const results = await run(4, cases);
    expect(results.flatMap((result, i) => compareToReference(result, cases[i]).wrong)).toEqual([]);
  });
});

describe('dispatch alone', () => {
  it('gives etp times the weighted rows in every pair of halves, also with dropped picks', async () => {
    const layouts = [
      on(2, layoutOf({ tp: 2, dp: 2, ep: 2 })),
      on(2, layoutOf({ tp: 4, ep: 2, etp: 2, ...sp })),
      on(2, layoutOf({ tp: 2, dp: 2, ep: 4, etp: 1 })),
    ];
    const jobs = layouts.flatMap((layout, i) =>
      drawn(strategies, 10, 15 + i)
        .filter((strategy) => unsupportedStrategy(strategy, { layout }) === undefined)
        .flatMap((strategy) => [
          jobOf(shapeOf(layout), strategy),
          jobOf(shapeOf(layout, { capacityFactor: 0.5, tokens: 3 }), strategy),
          // Rounded as they travel, and not otherwise.
          jobOf(shapeOf(layout, { payload: 'fp8', tokens: 5 }), strategy),
        ]),
    );
    const measured = await measureDispatch({ jobs });
    expect(measured.filter(({ error }) => !(error < 1e-6)).map(({ job, error }) => ({ job, error }))).toEqual([]);
  });

  const cluster = getCluster('laptop-2x4');
  const placed = (part: Partial<Layout>): Layout => placedOn(layoutOf(part), cluster);

  /** Bytes that every port carried in all jobs, each with so many repetitions, with what came before the first. */
  async function carried(jobs: readonly DispatchJob[], repetitions: readonly number[]): Promise<Float64Array> {
    let bytes = new Float64Array();
    await launchLocal({
      ranks: worldSize(jobs[0].shape.layout),
      memoryBytes: 8 << 20,
      workerModule: new URL('./dispatch.worker.ts', import.meta.url),
      workerData: jobs.map((job, i) => ({ ...job, repetitions: repetitions[i] })),
      fabric: { cluster, timeScale: 1 },
      onFabricReport: (report) => {
        bytes = Float64Array.from(report.portBytes);
      },
    });
    return bytes;
  }

  it.each([
    ['tp 4, etp 4', placed({ tp: 4, dp: 2, ep: 2 })],
    ['tp 2, etp 1', placed({ tp: 2, dp: 4, ep: 8, etp: 1, ...sp })],
  ])('puts on every port the bytes that are predicted: %s', async (_, layout) => {
    const jobs = news
      .flatMap((name) =>
        [{}, { payload: 'fp8' as const }].map((more) => jobOf(shapeOf(layout, more), named(name, 2, 3))),
      )
      .filter(({ shape, strategy }) => unsupportedStrategy(strategy, shape) === undefined);
    expect(jobs).toHaveLength(8);
    // What is before the first repetition falls out of the difference; what each job moves counts differently often.
    const more = jobs.map((__, i) => 2 + i);
    const counted = await carried(jobs, more);
    const once = await carried(
      jobs,
      jobs.map(() => 1),
    );
    const predicted = jobs.map((job) => {
      const program = dispatchProgram(job.shape, job.strategy, job.passes);
      return traffic({ program, layout, cluster, binding: routed(job) }).ports;
    });
    expect(Array.from(counted, (bytes, port) => bytes - once[port])).toEqual(
      Array.from(counted, (__, port) => predicted.reduce((sum, ports, i) => sum + (1 + i) * ports[port], 0)),
    );
    for (const ports of predicted) expect(ports.some((bytes) => bytes > 0)).toBe(true);
  });
});
