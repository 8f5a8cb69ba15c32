/**
 * Every way tokens can travel over MPI: results against the closed form, and the bytes of every message against those
 * that are predicted, port by port. `npm run test:strategies` runs all pairs of halves on 16 ranks, and trains with
 * each; `npm run docs:bytes` writes what was counted into docs/bytes.md.
 */
import { allHalves, type Layout } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { bytesOverMpi, everyPlace, type Place } from '../../testing/execute/port-bytes.js';
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

const every = process.env.MONTA_STRATEGIES === 'all';
const places: readonly Place[] = every ? everyPlace : [['laptop-2x2', { tp: 2, dp: 2, ep: 2 }]];

/** All pairs, or each half with itself. */
const halves = allHalves().filter(({ dispatch, combine }) => every || dispatch === combine);

describe.runIf(testsOverMpi)('every strategy over MPI', () => {
  it.each(places)('on %s, %j: right rows, and on every port the bytes that are predicted', async (name, part) => {
    const all = await bytesOverMpi([name, part], halves);
    expect(new Set(all.map((one) => one.halves)).size).toBeGreaterThan(4);
    for (const one of all) {
      const label = `${one.halves} ${one.payload}`;
      expect(one.errors).toHaveLength(2 * one.layout.tp * one.layout.dp);
      expect({ label, wrong: one.errors.filter((error) => !(error < 1e-5)) }).toEqual({ label, wrong: [] });
      expect(one.predicted.some((bytes) => bytes > 0)).toBe(true);
      expect({ label, carried: one.carried }).toEqual({ label, carried: one.predicted });
    }
  });
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
  });
});
