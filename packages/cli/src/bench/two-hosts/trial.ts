/**
 * What the model cannot tell apart is tried before it is chosen: the ways that it predicts close to the best run for a few seconds, and
 * predictions and runs together decide. What is measured of a case afterwards is measured anew.
 */
import { likelySeconds, type Candidate, type Strategy, type Trial } from '@monta/core';
import type { Launcher } from '@monta/runtime';
import { benchPasses, type BenchPass } from '../dispatch-cases.js';
import type { PreparedCase } from './cases.js';
import { measureCases, passRuns, turnsFor } from './turns.js';
import { firstVariants, passVariant, variantName, variantNames } from './ways.js';

/** Variants that are tried at most. */
const mostTried = 8;
/** Runs of each, at least and at most. */
const runs = [15, 60] as const;

/** A case for which the plan is made. */
export interface SettledCase extends PreparedCase {
  /** What trials and predictions together take; the prediction's choice where nothing else is close. */
  readonly settled: Strategy;
}

/** Tries what is close in all cases, in one job; each for about so many seconds. */
export async function settleCases(
  launcher: Launcher,
  prepared: readonly PreparedCase[],
  seconds: number,
): Promise<SettledCase[]> {
  const asked = prepared.map((one) => {
    const names = firstVariants(
      one.near.map(({ strategy }) => variantNames(strategy)),
      mostTried,
    );
    const variants = one.variants.filter((variant) => names.has(variantName(variant)));
    const tried = one.near.filter(({ strategy }) => variantNames(strategy).every((name) => names.has(name)));
    const roundSeconds = (one.near[0]?.seconds ?? 0) * variants.length;
    return { one, variants: tried.length > 1 ? variants : [], tried, ...turnsFor(seconds, roundSeconds, runs) };
  });
  const measured = await measureCases(launcher, asked);
  return asked.map(({ one, variants, tried }, index) => {
    if (variants.length === 0) return { ...one, settled: one.chosen };
    const runsOf = (name: string, pass: BenchPass): number[] =>
      passRuns(measured[index]?.[variants.findIndex((variant) => variantName(variant) === name)] ?? [], pass);
    return { ...one, settled: likeliest(tried, one, runsOf) };
  });
}

/** Passes are judged one by one; the way with the least sum wins. */
function likeliest(
  tried: readonly Candidate[],
  { probe, modelError }: PreparedCase,
  runsOf: (variant: string, pass: BenchPass) => number[],
): Strategy {
  const trials = new Map<string, Trial>();
  const key = (strategy: Strategy, pass: BenchPass): string => `${passVariant(strategy, pass)} ${pass}`;
  for (const { strategy, ...prices } of tried)
    for (const pass of benchPasses)
      trials.set(key(strategy, pass), {
        predictedSeconds: prices[pass].seconds + probe.startSeconds,
        measured: runsOf(passVariant(strategy, pass), pass),
      });
  const judged = likelySeconds([...trials.values()], modelError);
  const seconds = new Map([...trials.keys()].map((name, index) => [name, judged[index] ?? Infinity]));
  const ofWay = ({ strategy }: Candidate): number =>
    benchPasses.reduce((sum, pass) => sum + (seconds.get(key(strategy, pass)) ?? Infinity), 0);
  return tried.reduce((best, one) => (ofWay(one) < ofWay(best) ? one : best)).strategy;
}
