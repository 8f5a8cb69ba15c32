/**
 * What the model cannot tell apart is tried before it is chosen: the ways that it predicts close to the best run for a
 * few seconds, and predictions and runs together decide. What is measured of a case afterwards is measured anew.
 */
import type { Candidate, LayerPass, Strategy } from '@monta/core';
import { judgeWays, layerPasses } from '@monta/core/plan';
import type { Launcher } from '@monta/runtime';
import type { PreparedCase, SettledCase } from './prepared-case.js';
import { measureCases, passRuns, turnsFor } from './turns.js';
import { firstVariants, passVariant, present, variantName, variantNames } from './ways.js';

/** Variants that are tried at most. */
const mostTried = 8;
/** Runs of each, at least and at most. */
const runs = [15, 60] as const;

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
    const runsOf = (name: string, pass: LayerPass): number[] =>
      passRuns(measured[index]?.[variants.findIndex((variant) => variantName(variant) === name)] ?? [], pass);
    return { ...one, settled: likeliest(tried, one, runsOf) };
  });
}

/** Passes are judged one by one; the way with the least sum wins. */
function likeliest(
  tried: readonly Candidate[],
  { probe, modelError }: PreparedCase,
  runsOf: (variant: string, pass: LayerPass) => number[],
): Strategy {
  const ways = tried.map(({ strategy, ...prices }) =>
    layerPasses.map((pass) => ({
      name: `${passVariant(strategy, pass)} ${pass}`,
      predictedSeconds: prices[pass].seconds + probe.startSeconds,
      measured: runsOf(passVariant(strategy, pass), pass),
    })),
  );
  const { fastest } = judgeWays(ways, modelError);
  return present(tried[fastest]).strategy;
}
