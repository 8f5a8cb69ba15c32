/** Cases of the multi-rank tests: tiny random models, layouts and dispatchers, and how results are compared. */
import {
  completeModel,
  isTrained,
  parameters,
  Random,
  unsupportedStrategy,
  type Layout,
  type ModelShape,
  type StepShape,
  type Strategy,
} from '@monta/core';
import { launchLocal } from '#runtime/launch/index.js';
import { shiftLabels } from '#runtime/transformer/index.js';
import { parameterShapes } from '../transformer/reference-parameters.js';
import { referenceStep } from '../transformer/reference.js';
import { relativeError } from '../numbers.js';
import { builtTesting } from '../built.js';
import { caseTensor, type CaseResult, type RankCase } from './multi-rank-data.js';
import { fromReference } from './lone-rank.js';

const usualWorker = builtTesting('execute/multi-rank.worker');

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
export const model = completeModel(shape);
export const olmoe = completeModel({
  ...shape,
  family: 'olmoe',
  qkNorm: 'allHeads',
  normTopK: false,
  moeLayers: [false, true],
  attentionBias: 'all',
});

export const mixtral = completeModel({ ...shape, family: 'mixtral', qkNorm: 'none', tieEmbeddings: true, topK: 2 });
export const topOne = completeModel({
  ...shape,
  topK: 1,
  normTopK: false,
  window: { kind: 'sliding', tokens: 3, layers: [true, false] },
});

/** A shared expert with a gate of its own, biases, and a dense layer. */
export const sharing = completeModel({
  ...shape,
  name: 'sharing',
  family: 'qwen2_moe',
  qkNorm: 'none',
  attentionBias: 'queryKeyValue',
  normTopK: false,
  sharedExpertFfn: 20,
  sharedExpertGate: true,
  moeLayers: [false, true],
});

/** Sinks, biases everywhere, bounded gates, rescaled positions. */
export const sinking = completeModel({
  ...shape,
  name: 'sinking',
  family: 'gpt_oss',
  qkNorm: 'none',
  attentionBias: 'all',
  attentionSinks: true,
  expertBias: true,
  clampedSwiglu: { alpha: 1.702, limit: 0.3 },
  window: { kind: 'sliding', tokens: 3, layers: [true, false] },
  ropeType: 'yarn',
  ropeScaling: {
    kind: 'yarn',
    factor: 4,
    originalPositions: 40,
    betaFast: 4,
    betaSlow: 1,
    truncate: false,
    attentionFactor: 1.14,
  },
});

/**
 * Latent attention, sigmoid scores in groups with a bias of selection, a factor, a shared expert, a dense first layer.
 */
export const deepseek = completeModel({
  ...shape,
  name: 'deepseek',
  family: 'deepseek_v3',
  qkNorm: 'none',
  keyValueHeads: 4,
  headDim: 5,
  latentAttention: { queryRank: 7, keyValueRank: 6, nopeHeadDim: 3, ropeHeadDim: 4, valueHeadDim: 5 },
  attentionBias: 'all',
  ropeInterleaved: true,
  scoreScaling: 1.3,
  scoring: 'sigmoid',
  selectionBias: true,
  expertGroups: { groups: 4, chosen: 2, by: 'twoLargest' },
  routedScaling: 2.5,
  auxLoss: 'none',
  sharedExpertFfn: 8,
  moeLayers: [false, true],
});

/** DeepSeek-V2's kind: no rank of queries, softmax in groups, every layer with experts. */
export const deepseek2 = completeModel({
  ...shape,
  name: 'deepseek2',
  family: 'deepseek_v2',
  qkNorm: 'none',
  keyValueHeads: 4,
  headDim: 3,
  latentAttention: { keyValueRank: 6, nopeHeadDim: 5, ropeHeadDim: 2, valueHeadDim: 3 },
  ropeInterleaved: true,
  normTopK: false,
  expertGroups: { groups: 4, chosen: 2, by: 'largest' },
  routedScaling: 4,
  auxLoss: 'none',
  sharedExpertFfn: 12,
});

/** GLM-4.5's kind: rotation of half a head, norms of queries and keys, biases, sigmoid scores. */
export const glm = completeModel({
  ...shape,
  name: 'glm',
  family: 'glm4_moe',
  headDim: 8,
  rotaryDim: 4,
  attentionBias: 'queryKeyValue',
  scoring: 'sigmoid',
  selectionBias: true,
  auxLoss: 'none',
  sharedExpertFfn: 8,
  moeLayers: [false, true],
});

export const layoutOf = (part: Partial<Layout>): Layout => {
  const all = { tp: 1, cp: 1, dp: 1, pp: 1, ep: 1, sequenceParallel: false, ...part };
  const etp = part.etp ?? all.tp;
  return { ...all, etp, edp: (all.tp * all.dp) / (etp * all.ep) };
};

export const strategyOf = (
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

export interface Named {
  readonly name: string;
  readonly step: StepShape;
  readonly more: Partial<RankCase>;
}

const describeLayout = ({ tp, dp, ep, etp, edp, sequenceParallel }: Layout): string =>
  `tp${tp} dp${dp} ep${ep} etp${etp} edp${edp}${sequenceParallel ? ' sp' : ''}`;
const describeStrategy = ({ dispatch, combine, chunks }: Strategy): string =>
  `${dispatch}+${combine} ${chunks.forward}/${chunks.backward}`;

/** One layout with every given strategy that serves it. */
export function casesOf(
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
export function rankCase({ name, step, more }: Named): RankCase {
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
export function aloneCase(given: RankCase): RankCase {
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
export const twinKey = (given: RankCase): string =>
  JSON.stringify({ ...given, name: '', step: { ...aloneCase(given).step } });

export interface RunOptions {
  /** Of each rank. */
  readonly maximumMemoryBytes?: number;
  readonly workerModule?: URL;
  /** Threads of this process unless given. */
  readonly launch?: typeof launchLocal;
}

/** Runs cases one after another in one job; what rank 0 returned. */
export async function run(
  ranks: number,
  cases: readonly RankCase[],
  { maximumMemoryBytes = 1 << 30, workerModule = usualWorker, launch = launchLocal }: RunOptions = {},
): Promise<CaseResult[]> {
  const memory = { memoryBytes: Math.min(8 << 20, maximumMemoryBytes), maximumMemoryBytes };
  const [first] = await launch({ ranks, ...memory, workerModule, workerData: { cases } });
  return first as CaseResult[];
}

export function compare(actual: CaseResult, expected: CaseResult): string[] {
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

interface Referenced {
  readonly expected: ReturnType<typeof referenceStep>;
  /** Whether capacity drops picks. */
  readonly dropped: boolean;
}

/** What the float64 reference computes of a case's first step, on all its sequences at once. */
function newReference(given: RankCase): Referenced {
  const { step } = given;
  const list = parameters(step.model, step.layout);
  const values = new Map(
    parameterShapes(step.model).map(({ name, shape }) => [
      name,
      new Float64Array(shape.reduce((product, length) => product * length, 1)),
    ]),
  );
  for (const { name } of list) fromReference(step.model, values, name).set(caseTensor(given, list, name));
  const ids = aloneCase(given).batches[0][0].ids;
  const dropless = referenceStep(step.model, values, ids, ids, step.sequence);
  if (step.capacityFactor === undefined) return { expected: dropless, dropped: false };
  const capacity = { factor: step.capacityFactor, slice: step.sequence * step.sequences };
  const expected = referenceStep(step.model, values, ids, ids, step.sequence, { capacity });
  return { expected, dropped: Math.abs(dropless.loss - expected.loss) > 1e-4 };
}

/** By twin: the reference takes longer than the ranks. */
const references = new Map<string, Referenced>();

function referenceOf(given: RankCase): Referenced {
  const key = twinKey(given);
  const known = references.get(key) ?? newReference(given);
  references.set(key, known);
  return known;
}

/** What differs between a case's first step on real ranks and the float64 reference on all its sequences at once. */
export function compareToReference(actual: CaseResult, given: RankCase): { wrong: string[]; dropped: boolean } {
  const { step } = given;
  const list = parameters(step.model, step.layout);
  const { expected, dropped } = referenceOf(given);
  const wrong: string[] = [];
  const [result] = actual.results;
  for (const name of ['loss', 'crossEntropy', 'auxiliaryLoss', 'gradientNorm'] as const)
    if (!(Math.abs(result[name] - expected[name]) < 1e-5 * (1 + expected[name])))
      wrong.push(`${given.name}: ${name} ${result[name]}, expected ${expected[name]}`);
  for (const { name } of list.filter(isTrained)) {
    const reference = fromReference(step.model, expected.gradients, name);
    const error = relativeError(actual.gradients.get(name) ?? [], reference);
    if (!(error < 1e-4)) wrong.push(`${given.name}: gradient of ${name} differs by ${error}`);
  }
  return { wrong, dropped };
}

/** All bits of a result: losses, then gradients and weights by name. */
export const bits = ({ evaluation, results, gradients, weights }: CaseResult) => ({
  evaluation,
  results: results.map(({ loss, auxiliaryLoss, gradientNorm }) => ({ loss, auxiliaryLoss, gradientNorm })),
  gradients: [...gradients],
  weights: [...weights],
});
