/** Every way to dispatch one layer on the ranks of a launcher, beside prediction, bound and the plan's choice. */
import type { Cluster } from '@monta/core';
import { runContest, type ContestResult, type ContestRules } from '../../execute/dispatch-contest.js';
import type { Launcher } from '../../launch/index.js';
import type { NamedCase } from './contest-cases.js';
import { contestFigures, prepareContest, type ContestFigures } from './decide.js';
import { calibrateGround, type CalibratedGround, type Ground } from './ground.js';

export interface LayerBenchRequest {
  readonly launcher: Launcher;
  /** How many nodes there are and how many ranks each has. */
  readonly cluster: Cluster;
  readonly named: NamedCase;
  /** Runs of every way that count. */
  readonly rounds: number;
  readonly onPhase: (what: string) => void;
  readonly signal?: AbortSignal;
}

export interface LayerBench {
  readonly ground: Pick<CalibratedGround, 'cluster' | 'lineRates' | 'modelError' | 'seconds'>;
  readonly figures: ContestFigures;
}

/** Runs of ways that a plan would try. */
const trialRuns = 4;

/** Calibrates, lets the plan choose, then measures. Rejects with `RankFailure` when a rank fails. */
export async function benchLayerDispatch(request: LayerBenchRequest): Promise<LayerBench> {
  const { launcher, cluster, named, rounds, onPhase, signal } = request;
  const { layout, dtype } = named.shape;
  const ground = await calibrateGround({ launcher, cluster, layouts: [layout], dtype, onPhase });
  const rules = { trialRuns, finalRuns: rounds, finalShare: Infinity };
  const figures = await measureLayer({ ground, named, rules, onPhase, ...(signal === undefined ? {} : { signal }) });
  return { ground, figures };
}

/** Lets the plan choose on a ground, then measures every way of one layer. */
export async function measureLayer({
  ground,
  named,
  rules,
  onPhase,
  signal,
}: Pick<LayerBenchRequest, 'named' | 'onPhase' | 'signal'> & {
  readonly ground: Ground;
  readonly rules: Omit<ContestRules, 'seconds'>;
}): Promise<ContestFigures> {
  const prepared = prepareContest(ground, named);
  onPhase(`measuring ${prepared.variants.length} ways, those near the fastest ${rules.finalRuns} times each`);
  const results: ContestResult[] = [];
  await runContest({
    job: { ...rules, cases: [prepared.contest], seconds: Infinity },
    launcher: ground.launcher,
    onResult: (result) => results.push(result),
    ...(signal === undefined ? {} : { signal }),
  });
  const [result] = results;
  if (result === undefined) throw new Error('the ranks told nothing');
  return contestFigures(prepared, result, { ground, predictAll: true });
}
