/**
 * Every way tokens can travel over MPI: results against the closed form, and the bytes of every message against those
 * that are predicted, port by port. `npm run test:strategies` runs all pairs of halves on 16 ranks, trains with each,
 * and prints what was counted.
 */
import {
  allHalves,
  dispatchProgram,
  exchangesPicks,
  formatLayout,
  getCluster,
  GroupRouting,
  maxOf,
  placedOn,
  RoutingBinding,
  traffic,
  unsupportedStrategy,
  worldSize,
  type Layout,
} from '@monta/core';
import { route } from '@monta/core/cluster';
import { describe, expect, it } from 'vitest';
import { dispatchJob, dispatchShape } from '../../testing/execute/dispatch-jobs.js';
import {
  aloneCase,
  casesOf,
  compare,
  layoutOf,
  rankCase,
  run,
  strategyOf,
  twinKey,
} from '../../testing/execute/rank-cases.js';
import { testsOverMpi } from '../../testing/hosts.js';
import { launchMpi } from '../launch/index.js';
import type { DispatchJob, DispatchRankResult } from './measure-dispatch.js';
import { groupPicks } from './sample-picks.js';

const every = process.env.MONTA_STRATEGIES === 'all';

/** Nodes of the ranks, and the layout. */
const places: readonly (readonly [cluster: string, layout: Partial<Layout>])[] = every
  ? [
      ['laptop-4x4', { tp: 4, dp: 4, ep: 4 }],
      ['laptop-4x4', { tp: 2, dp: 8, ep: 16, etp: 1, sequenceParallel: true }],
    ]
  : [['laptop-2x2', { tp: 2, dp: 2, ep: 2 }]];

/** All pairs, or each half with itself. */
const halves = allHalves().filter(({ dispatch, combine }) => every || dispatch === combine);

/** Rows so wide that sums of them are exchanged in blocks, as large ones are. */
const shapeOf = (layout: Layout) => dispatchShape(layout, { hiddenSize: 192, experts: 16 });

const jobsOf = (layout: Layout): DispatchJob[] =>
  halves
    .map(({ dispatch, combine }, i) => dispatchJob(shapeOf(layout), strategyOf(dispatch, combine, 1 + (i % 2), 1)))
    .flatMap((job) => [job, { ...job, shape: { ...job.shape, payload: 'fp8' as const } }])
    .filter(({ shape, strategy }) => unsupportedStrategy(strategy, shape) === undefined);

/** The routing of every expert group, as the ranks draw it. */
function routed({ shape, routing, seed, strategy }: DispatchJob): RoutingBinding {
  const cut = exchangesPicks(strategy) ? 'tokens' : 'rows';
  return new RoutingBinding(shape.layout, (rank) => {
    const ofGroup = groupPicks(shape, routing, seed, rank).map(({ ids }) => ({ ids, topK: shape.topK }));
    return GroupRouting.fromPicks(shape, ofGroup, { cut });
  });
}

describe.runIf(testsOverMpi)('every strategy over MPI', () => {
  it.each(places)(
    'on %s, %j: right rows, and on every port the bytes that are predicted',
    async (name, part) => {
      const cluster = getCluster(name);
      const layout = placedOn(layoutOf(part), cluster);
      const jobs = jobsOf(layout);
      expect(new Set(jobs.map(({ strategy }) => strategy.dispatch)).size).toBeGreaterThan(4);
      const results = (await launchMpi({
        ranks: worldSize(layout),
        memoryBytes: 8 << 20,
        workerModule: new URL('./dispatch.worker.ts', import.meta.url),
        workerData: jobs,
      })) as DispatchRankResult[][];
      jobs.forEach((job, index) => {
        const { dispatch, combine } = job.strategy;
        const label = `${dispatch}+${combine}${job.shape.payload === undefined ? '' : ' in fp8'}`;
        const ofRanks = results.map((ofRank) => ofRank[index]);
        const runs = ofRanks.flatMap((one) => one?.repetitions.flat() ?? []);
        const errors = runs.map(({ error = NaN }) => error);
        expect(runs).toHaveLength(2 * ofRanks.length);
        expect({ label, wrong: errors.filter((error) => !(error < 1e-5)) }).toEqual({ label, wrong: [] });
        const program = dispatchProgram(job.shape, job.strategy, job.passes);
        const { ports } = traffic({ program, layout, cluster, binding: routed(job) });
        const carried = new Float64Array(ports.length);
        ofRanks.forEach((one, from) =>
          one?.sentBytes?.forEach((bytes, to) => {
            const way = route(cluster, from, to);
            for (const port of [...way.egress, ...way.ingress]) carried[port] = (carried[port] ?? 0) + bytes;
          }),
        );
        expect(ports.some((bytes) => bytes > 0)).toBe(true);
        expect({ label, carried }).toEqual({ label, carried: Float64Array.from(ports) });
        if (every)
          process.stdout.write(
            `| ${formatLayout(layout)} | ${label} | ${carried.filter((bytes) => bytes > 0).length} | ` +
              `${maxOf(carried)} | ${maxOf(ports)} |\n`,
          );
      });
    },
    600_000,
  );
});

/** Two steps with every pair of halves. */
const trained = (layout: Layout) =>
  casesOf(
    layout,
    'over MPI',
    {},
    {
      steps: 2,
      optimizer: { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1, maxNorm: 0.5 },
    },
    halves.map(({ dispatch, combine }, i) => strategyOf(dispatch, combine, 1 + (i % 3), 3 - (i % 3))),
  );

/** Processes may start slowly where a machine has few cores for 16. */
const startSeconds = 300;

describe.runIf(testsOverMpi && every)('training on 16 ranks over MPI', () => {
  it('equals one rank with every pair of halves', async () => {
    const layout = { ...layoutOf({ tp: 2, dp: 8, ep: 8 }), ranksPerNode: 4 };
    const given = trained(layout).map(rankCase);
    expect(given.length).toBeGreaterThan(20);
    const twins = new Map(given.map((one) => [twinKey(one), aloneCase(one)]));
    const alone = await run(1, [...twins.values()]);
    const results = await run(16, given, { launch: (options) => launchMpi({ ...options, startSeconds }) });
    const places = [...twins.keys()];
    expect(results).toHaveLength(given.length);
    expect(results.flatMap((one, i) => compare(one, alone[places.indexOf(twinKey(given[i]))]))).toEqual([]);
  }, 900_000);
});
