/** Real jobs of 2, 4 and 8 ranks against one rank: the same losses, gradients and steps, whatever the layout and the dispatcher. */
import {
  completeModel,
  Random,
  unsupportedStrategy,
  type Layout,
  type ModelShape,
  type StepShape,
  type Strategy,
} from '@monta/core';
import { describe, expect, it } from 'vitest';
import { launchLocal } from '../launch/index.js';
import { shiftLabels } from '../transformer/index.js';
import { relativeError } from '../transformer/testing.js';
import type { CaseResult, RankCase } from './multi-rank.worker.js';

const workerModule = new URL('./multi-rank.worker.ts', import.meta.url);

const shape: ModelShape = {
  name: 'test',
  family: 'qwen3_moe',
  hiddenSize: 16,
  layers: 2,
  attentionHeads: 4,
  keyValueHeads: 2,
  headDim: 6,
  vocabSize: 29,
  experts: 8,
  topK: 3,
  expertFfn: 8,
  denseFfn: 12,
  auxLossCoefficient: 0.05,
  qkNorm: 'perHead',
};
const model = completeModel(shape);
const olmoe = completeModel({
  ...shape,
  family: 'olmoe',
  qkNorm: 'allHeads',
  normTopK: false,
  moeLayers: [false, true],
});

const mixtral = completeModel({ ...shape, family: 'mixtral', qkNorm: 'none', tieEmbeddings: true, topK: 2 });
const topOne = completeModel({
  ...shape,
  topK: 1,
  normTopK: false,
  window: { kind: 'sliding', tokens: 3, layers: [true, false] },
});

const layoutOf = (part: Partial<Layout>): Layout => {
  const all = { tp: 1, cp: 1, dp: 1, pp: 1, ep: 1, sequenceParallel: false, ...part };
  const etp = part.etp ?? all.tp;
  return { ...all, etp, edp: (all.tp * all.dp) / (etp * all.ep) };
};

const strategyOf = (
  dispatch: Strategy['dispatch'],
  combine: Strategy['combine'],
  forward: number,
  backward: number,
): Strategy => ({ dispatch, combine, chunks: { forward, backward } });

const everyStrategy = (['sliced', 'duplicated'] as const).flatMap((dispatch) =>
  (['sliced', 'duplicated', 'scattered'] as const).map((combine, i) =>
    strategyOf(dispatch, combine, 1 + (i % 3), 3 - (i % 3)),
  ),
);

interface Named {
  readonly name: string;
  readonly step: StepShape;
  readonly more: Partial<RankCase>;
}

const describeLayout = ({ tp, dp, ep, etp, edp, sequenceParallel }: Layout): string =>
  `tp${tp} dp${dp} ep${ep} etp${etp} edp${edp}${sequenceParallel ? ' sp' : ''}`;
const describeStrategy = ({ dispatch, combine, chunks }: Strategy): string =>
  `${dispatch}+${combine} ${chunks.forward}/${chunks.backward}`;

/** One layout with every given strategy that serves it. */
function casesOf(
  layout: Layout,
  what = '',
  changes: Partial<StepShape> = {},
  more: Partial<RankCase> = {},
  strategies = everyStrategy,
): Named[] {
  return strategies
    .filter((strategy) => unsupportedStrategy(strategy, { layout }) === undefined)
    .map((strategy) => ({
      name: `${describeLayout(layout)}, ${describeStrategy(strategy)} ${what}`,
      step: { model, layout, sequence: 7, sequences: 2, microBatches: 1, dtype: 'f32', strategy, ...changes },
      more,
    }));
}

/** Ids of all replicas and micro-batches; one global batch for every layout with the same dp. */
function rankCase({ name, step, more }: Named): RankCase {
  const random = new Random(17);
  const tokens = step.sequence * step.sequences;
  let targets = 0;
  const batches = Array.from({ length: step.layout.dp }, () =>
    Array.from({ length: step.microBatches }, () => {
      const ids = Int32Array.from({ length: tokens }, () => random.integer(step.model.vocabSize));
      const shifted = new Int32Array(tokens);
      targets += shiftLabels(ids, step.sequences, step.sequence, shifted);
      return { ids, targets: shifted };
    }),
  );
  return { name, step, batches, targets, seed: 5, deviation: 0.25, ...more };
}

/** The same work on one rank: replicas become sequences of one micro-batch. */
function aloneCase(given: RankCase): RankCase {
  const { step, batches } = given;
  const joined = Array.from({ length: step.microBatches }, (_, m) => {
    const part = (kind: 'ids' | 'targets') => Int32Array.from(batches.flatMap((replica) => [...replica[m][kind]]));
    return { ids: part('ids'), targets: part('targets') };
  });
  return {
    ...given,
    step: {
      ...step,
      layout: layoutOf({}),
      sequences: step.sequences * step.layout.dp,
      strategy: strategyOf('sliced', 'scattered', 1, 1),
    },
    batches: [joined],
  };
}

/** Cases with the same work on one rank. */
const twinKey = (given: RankCase): string => JSON.stringify({ ...given, name: '', step: { ...aloneCase(given).step } });

async function run(ranks: number, cases: readonly RankCase[]): Promise<CaseResult[]> {
  const [first] = await launchLocal({ ranks, memoryBytes: 8 << 20, workerModule, workerData: { cases } });
  return first as CaseResult[];
}

function compare(actual: CaseResult, expected: CaseResult): string[] {
  const wrong: string[] = [];
  const near = (what: string, a: number, b: number, tolerance: number): void => {
    if (!(Math.abs(a - b) < tolerance)) wrong.push(`${actual.name}: ${what} ${a}, expected ${b}`);
  };
  near('evaluation', actual.evaluation, expected.evaluation, 1e-5);
  actual.results.forEach((result, i) => {
    near(`loss of step ${i + 1}`, result.loss, expected.results[i].loss, 1e-5);
    near('auxiliary loss', result.auxiliaryLoss, expected.results[i].auxiliaryLoss, 1e-5);
    near('norm', result.gradientNorm, expected.results[i].gradientNorm, 1e-5 * (1 + expected.results[i].gradientNorm));
  });
  for (const kind of ['gradients', 'weights'] as const)
    for (const [name, tensor] of expected[kind]) {
      const error = relativeError(actual[kind].get(name) ?? [], tensor);
      if (!(error < 1e-4)) wrong.push(`${actual.name}: ${kind} of ${name} differ by ${error}`);
    }
  return wrong;
}

/** AdamW with clipping: two steps, after which the weights must agree too. */
const trained: Partial<RankCase> = {
  steps: 2,
  optimizer: { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1, maxNorm: 0.5 },
};
const pipelined = [strategyOf('sliced', 'sliced', 2, 3)];
const scattered = [strategyOf('sliced', 'scattered', 3, 2)];
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
    ],
  ],
  [
    8,
    [
      ...casesOf(layoutOf({ tp: 2, dp: 4, ep: 2 }), 'trained', {}, trained),
      ...casesOf(layoutOf({ tp: 4, dp: 2, ep: 2, ...sp }), 'trained', {}, trained),
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
