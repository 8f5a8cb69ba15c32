/**
 * Real jobs of 2, 4 and 8 ranks against one rank: the same losses, gradients and steps, whatever the layout and the
 * dispatcher.
 */
import { describe, expect, it } from 'vitest';
import type { RankCase } from '../../testing/execute/multi-rank-data.js';
import {
  aloneCase,
  casesOf,
  compare,
  compareToReference,
  deepseek,
  deepseek2,
  glm,
  layoutOf,
  mixtral,
  olmoe,
  rankCase,
  run,
  sharing,
  sinking,
  strategyOf,
  topOne,
  twinKey,
  type Named,
} from '../../testing/execute/rank-cases.js';

/** AdamW with clipping: two steps, after which the weights must agree too. */
const trained: Partial<RankCase> = {
  steps: 2,
  optimizer: { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1, maxNorm: 0.5 },
};
const pipelined = [strategyOf('sliced', 'sliced', 2, 3)];
const scattered = [strategyOf('sliced', 'scattered', 3, 2)];
const both = [...pipelined, ...scattered];
const sp = { sequenceParallel: true };

const groups: readonly (readonly [ranks: number, cases: readonly Named[]])[] = [
  [
    2,
    [
      ...casesOf(layoutOf({ tp: 2 })),
      ...casesOf(layoutOf({ tp: 2, ...sp })),
      ...casesOf(layoutOf({ dp: 2, ep: 2 })),
      ...casesOf(layoutOf({ dp: 2 }), '', {}, trained),
      ...casesOf(layoutOf({ tp: 2, ep: 2, etp: 1 })),
      ...casesOf(layoutOf({ dp: 2, ep: 1, etp: 2 })),
    ],
  ],
  [
    4,
    [
      ...casesOf(layoutOf({ tp: 2, dp: 2, ep: 2 }), 'trained', {}, trained),
      ...casesOf(layoutOf({ tp: 2, dp: 2, ep: 2, ...sp }), 'starved', {}, { starved: true }),
      ...casesOf(layoutOf({ tp: 2, dp: 2, ep: 1, ...sp }), 'trained', {}, trained, scattered),
      ...casesOf(layoutOf({ tp: 2, dp: 2, ep: 4, etp: 1 }), '2 micro-batches', { microBatches: 2 }),
      ...casesOf(layoutOf({ tp: 4, ep: 2, etp: 2, ...sp }), 'olmoe', { model: olmoe }, trained),
      ...casesOf(layoutOf({ tp: 4 }), 'olmoe', { model: olmoe }, trained, pipelined),
      ...casesOf(layoutOf({ tp: 4 }), '3 tokens', { sequence: 3, sequences: 1 }),
      ...casesOf(layoutOf({ tp: 4, ep: 4, etp: 1, ...sp }), '3 tokens', { sequence: 3, sequences: 1 }),
      ...casesOf(layoutOf({ tp: 2, dp: 2, ep: 2 }), 'mixtral, tied', { model: mixtral }, {}, pipelined),
      ...casesOf(layoutOf({ dp: 4, ep: 2 }), 'top-1', { model: topOne }, trained, scattered),
      ...casesOf(
        layoutOf({ tp: 4, ep: 2, etp: 2, ...sp }),
        'sharing, 3 tokens',
        { model: sharing, sequence: 3 },
        trained,
        both,
      ),
      ...casesOf(layoutOf({ tp: 4, ep: 2, etp: 2, ...sp }), 'sinking', { model: sinking }, trained, both),
      ...casesOf(
        layoutOf({ tp: 4, ep: 2, etp: 2, ...sp }),
        'deepseek',
        { model: deepseek, sequence: 3 },
        trained,
        both,
      ),
      ...casesOf(layoutOf({ tp: 2, dp: 2, ep: 2 }), 'deepseek2', { model: deepseek2, microBatches: 2 }, trained, both),
      ...casesOf(layoutOf({ tp: 2, dp: 2, ep: 2 }), 'sharing', { model: sharing, microBatches: 2 }, trained, both),
    ],
  ],
  [
    8,
    [
      ...casesOf(layoutOf({ tp: 2, dp: 4, ep: 2 }), 'trained', {}, trained),
      ...casesOf(layoutOf({ tp: 4, dp: 2, ep: 2, ...sp }), 'trained', {}, trained, [...pipelined, ...scattered]),
      ...casesOf(layoutOf({ tp: 4, dp: 2, ep: 8, etp: 1 }), 'starved', {}, { starved: true }),
      ...casesOf(layoutOf({ tp: 4, dp: 2, ep: 2, etp: 2 }), 'olmoe', { model: olmoe }, trained),
    ],
  ],
];

describe.each(groups)('%i ranks', (ranks, named) => {
  it(`equals one rank in ${named.length} layouts and dispatchers`, async () => {
    const cases = named.map(rankCase);
    const twins = new Map(cases.map((given) => [twinKey(given), aloneCase(given)]));
    const results = await run(ranks, cases);
    const alone = await run(1, [...twins.values()]);
    const places = [...twins.keys()];
    const wrong = results.flatMap((result, i) => compare(result, alone[places.indexOf(twinKey(cases[i]))]));
    expect(results).toHaveLength(cases.length);
    expect(wrong).toEqual([]);
  });
});

describe('against the float64 reference', () => {
  it('capacity on 4 ranks drops the same picks in every layout and dispatcher', async () => {
    const drops = { capacityFactor: 0.6 };
    const cases = [
      ...casesOf(layoutOf({ tp: 2, dp: 2, ep: 2 }), 'capacity', drops),
      ...casesOf(layoutOf({ tp: 2, dp: 2, ep: 4, etp: 1, ...sp }), 'capacity', drops),
      ...casesOf(layoutOf({ tp: 4, ep: 2, etp: 2 }), 'capacity', { ...drops, model: olmoe }),
    ].map(rankCase);
    const results = await run(4, cases);
    const compared = results.map((result, i) => compareToReference(result, cases[i]));
    expect(compared.flatMap(({ wrong }) => wrong)).toEqual([]);
    expect(compared.map(({ dropped }) => dropped)).toEqual(cases.map(() => true));
  });

  it('options of models on 2 ranks: window, top-1, tied embeddings, clipping, shared experts, sinks', async () => {
    const clipped = { ...olmoe, clipQkv: 0.5 };
    const cases = [topOne, mixtral, olmoe, clipped, sharing, sinking, deepseek, deepseek2, glm]
      .flatMap((model) => casesOf(layoutOf({ tp: 2, ...sp }), model.name, { model }, {}, pipelined))
      .map(rankCase);
    const results = await run(2, cases);
    expect(results.flatMap((result, i) => compareToReference(result, cases[i]).wrong)).toEqual([]);
    // Clipping does something.
    expect(results[3].results[0].loss).not.toBeCloseTo(results[2].results[0].loss, 4);
  });
});

describe('reductions beside the backward pass', () => {
  it('leave the same bits however gradients are cut, and in every run', async () => {
    const layouts = [layoutOf({ tp: 2, dp: 2, ep: 2 }), layoutOf({ tp: 2, dp: 2, ep: 1, ...sp })];
    const cases = layouts
      .flatMap((layout) => casesOf(layout, '', { microBatches: 2 }, trained, scattered))
      .map(rankCase);
    const cut = (reductionBytes: number): RankCase[] =>
      cases.map((given) => ({ ...given, step: { ...given.step, reductionBytes } }));
    const [whole, ...others] = await Promise.all([1 << 20, 500, 500].map((bytes) => run(4, cut(bytes))));
    for (const other of others) expect(other).toEqual(whole);
  });
});

describe('a job whose memory is too small', () => {
  it('ends on all ranks with the rank and the bytes', async () => {
    const cases = casesOf(layoutOf({ tp: 2 }), '', { sequence: 512, sequences: 4 }, {}, scattered).map(rankCase);
    await expect(run(2, cases, { maximumMemoryBytes: 1 << 20 })).rejects.toThrow(
      /rank \d failed: device memory is full: \d+ bytes asked for/,
    );
  });
});
