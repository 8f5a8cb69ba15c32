/**
 * Many ways to dispatch one layer, measured so that the fastest can be told from the others: each once with its results
 * checked, those that a plan would try for as many runs as it would, all once more, and then those near the fastest
 * again and again. Always in turns, many layers in one launch, each layer's figures told as soon as they are there.
 */
import type { MoeShape, Routing, Strategy } from '@monta/core';
import { maxOf } from '@monta/core/units';
import { worldSize } from '@monta/core/layout';
import { layerPasses } from '@monta/core/plan';
import { localLauncher, type Launcher, type LaunchOptions } from '../launch/index.js';
import type { DispatchRun } from './dispatch-executor.js';
import { measurement, type DispatchMeasurement, type DispatchRankResult } from './measure-dispatch.js';

/** One layer. */
export interface ContestCase {
  /** dtype: f32, or bf16 on cards. */
  readonly shape: MoeShape;
  readonly routing: Routing;
  readonly seed: number;
  readonly strategies: readonly Strategy[];
  /** Places of strategies that are run before the others, as a plan tries them. */
  readonly tried: readonly number[];
  /** Places of strategies that are measured to the end, however slow. */
  readonly kept: readonly number[];
}

export interface ContestRules {
  /**
   * A way whose checked run was slower than the fastest's by more than this share is not run again: its time is that of
   * the checked run. All are unless given.
   */
  readonly onceShare?: number;
  /** Runs of each that is tried, and of each that is measured to the end. */
  readonly trialRuns: number;
  readonly finalRuns: number;
  /** Whatever one run showed to be no slower than the fastest by more than this share is measured to the end. */
  readonly finalShare: number;
  /** Rows of every result that are looked at, spread over it; all unless given. */
  readonly checkedRows?: number;
  /** No new layer is begun after so many seconds. */
  readonly seconds: number;
}

export interface ContestJob extends ContestRules {
  readonly cases: readonly ContestCase[];
}

/** One way to dispatch. Each measurement has as many repetitions as the way had runs. */
export interface ContestWay {
  readonly strategy: Strategy;
  /** The run whose results were checked. */
  readonly checked: DispatchMeasurement;
  readonly trials?: DispatchMeasurement;
  readonly once: DispatchMeasurement;
  readonly finals?: DispatchMeasurement;
}

export interface ContestResult {
  /** Place in the job. */
  readonly place: number;
  readonly ways: readonly ContestWay[];
}

/** By run and pass. */
export type Runs = readonly (readonly DispatchRun[])[];

/** What a rank did of one way. */
export interface RankWay {
  readonly checked: Runs;
  readonly trials: Runs;
  readonly once: Runs;
  readonly finals: Runs;
  readonly counts: Int32Array;
  readonly peakBytes: number;
}

export interface RankCase {
  readonly place: number;
  readonly ways: readonly RankWay[];
}

const initialMemoryBytes = 64 * 2 ** 20;

/** Runs a contest on the ranks of a launcher. Rejects with `RankFailure` when a rank fails; what was told stands. */
export async function runContest({
  job,
  launcher = localLauncher,
  onResult,
  ...options
}: {
  readonly job: ContestJob;
  readonly launcher?: Launcher;
  readonly onResult: (result: ContestResult) => void;
} & Pick<LaunchOptions, 'fabric' | 'signal' | 'stuckAfterSeconds'>): Promise<void> {
  const [first] = job.cases;
  if (first === undefined) return;
  const ranks = worldSize(first.shape.layout);
  if (job.cases.some(({ shape }) => worldSize(shape.layout) !== ranks))
    throw new RangeError('the layers of a contest run on one number of ranks');
  const heard = new Map<number, (RankCase | undefined)[]>();
  await launcher.launch({
    ranks,
    memoryBytes: initialMemoryBytes,
    workerModule: new URL('./dispatch-contest.worker.ts', import.meta.url),
    workerData: job,
    trace: false,
    ...options,
    onMessage: (rank, message) => {
      const one = message as RankCase;
      const ofRanks = heard.get(one.place) ?? Array.from({ length: ranks }, () => undefined);
      heard.set(one.place, ofRanks);
      ofRanks[rank] = one;
      const all = ofRanks.filter((told) => told !== undefined);
      if (all.length < ranks) return;
      heard.delete(one.place);
      onResult(resultOf(job.cases[one.place], all));
    },
  });
}

function resultOf(one: ContestCase, ranks: readonly RankCase[]): ContestResult {
  const ways = one.strategies.map((strategy, way): ContestWay => {
    const of = (part: 'checked' | 'trials' | 'once' | 'finals'): DispatchMeasurement => {
      const results = ranks.map(({ ways: all }): DispatchRankResult => {
        const { counts, peakBytes } = all[way];
        return { repetitions: all[way][part], counts, peakBytes, spans: [] };
      });
      const { shape, routing, seed } = one;
      const repetitions = results[0].repetitions.length;
      const job = { shape, strategy, passes: layerPasses, routing, seed, warmUps: 0, repetitions, trace: false };
      return measurement(job, results);
    };
    const has = (part: 'trials' | 'once' | 'finals'): boolean => ranks[0].ways[way][part].length > 0;
    return {
      strategy,
      checked: of('checked'),
      once: of(has('once') ? 'once' : 'checked'),
      ...(has('trials') ? { trials: of('trials') } : {}),
      ...(has('finals') ? { finals: of('finals') } : {}),
    };
  });
  return { place: ranks[0].place, ways };
}

/** Largest difference of a way's result from its closed form. */
export const worstError = (ways: readonly ContestWay[]): number => maxOf(ways.map(({ checked }) => checked.error));
