/**
 * Dispatch and combine between two hosts: predicted from what was measured of the hosts before, left to the plan, and
 * then every strategy and chunk count measured. The fastest few and what the plan took are measured again, in many more
 * rounds: the fastest of a hundred ways in a few rounds is fast by luck.
 */
import type { DispatchVariant, LayerPass, Strategy } from '@monta/core';
import { InputError, maxOf, median } from '@monta/core/units';
import { fixedStrategies, halvesName, searchedHalves } from '@monta/core/schedule';
import { chooseDispatch, closeShare, dispatchVariants, probedStrategies } from '@monta/core/plan';
import {
  probeDispatchKernels,
  type Launcher,
  benchWorkload,
  type MachineProbe,
  dispatchCases,
  type DispatchCase,
} from '@monta/runtime';
import { shapeOf, type Hosts } from './hosts.js';
import type { PreparedCase, SettledCase } from './prepared-case.js';
import { measureCases, passRuns, routings, seed, turnsFor } from './turns.js';
import type { CaseResult, PassResult, RoutingKind, Way } from './types.js';
import {
  fastest,
  firstVariants,
  present,
  variantName,
  variantNames,
  variantsOfWay,
  wayThrough,
  waysOf,
  type WayThrough,
} from './ways.js';

/**
 * Ways of the first rounds that are measured again: no more than so many variants, none slower than the fastest by more
 * than this.
 */
const [mostFinalists, finalistShare] = [7, 0.25];
/** Runs of finalists: as many as fill their seconds, within these. */
const finalRuns = [15, 150] as const;

/** A case after its first rounds. */
export interface ScreenedCase extends SettledCase {
  readonly cases: readonly DispatchCase[];
  /** What is measured again. */
  readonly finalists: readonly DispatchVariant[];
}

/** Times the kernels of a case, and lets the plan choose. */
export async function prepareCase(
  { tp, seen, machine, cost }: Hosts,
  volumeBytes: number,
  routing: RoutingKind,
  chunkCounts: readonly number[],
): Promise<PreparedCase> {
  const shape = shapeOf(tp, volumeBytes);
  const variants = dispatchVariants(shape, chunkCounts);
  const strategies = probedStrategies(variants);
  const kernels = await probeDispatchKernels({ shape, strategies, routing: routings[routing], seed });
  const probe: MachineProbe = { ...machine, kernels };
  const workload = benchWorkload({ seen, shape, routing: routings[routing], seed, probe });
  const planned = chooseDispatch(workload, { chunkCounts, halves: searchedHalves() });
  if (!planned.known) throw new InputError('the dispatch cannot be priced', { expected: planned.missing.join('; ') });
  const near = planned.within(closeShare);
  const chosen = planned.best.strategy;
  return { tp, volumeBytes, routing, variants, workload, probe, chosen, near, modelError: cost.error };
}

/** Measures every variant of all cases, in one job and in turns. */
export async function screenCases(
  launcher: Launcher,
  settled: readonly SettledCase[],
  rounds: number,
): Promise<ScreenedCase[]> {
  const measured = await measureCases(
    launcher,
    settled.map((one) => ({ one, variants: one.variants, turns: rounds, repetitions: 1 })),
  );
  return settled.map((one, index) => {
    const cases = one.variants.flatMap((variant, place) =>
      dispatchCases({
        dispatchVariant: variant,
        rounds: measured[index]?.[place] ?? [],
        workload: one.workload,
        probe: one.probe,
      }),
    );
    return { ...one, cases, finalists: finalistsOf(one, cases) };
  });
}

/** Measures the finalists of all cases again, in one job and in turns; of each case for about so many seconds. */
export async function finalResults(
  launcher: Launcher,
  screened: readonly ScreenedCase[],
  seconds: number,
): Promise<CaseResult[]> {
  const measured = await measureCases(
    launcher,
    screened.map((one) => ({ one, variants: one.finalists, ...turnsFor(seconds, roundSeconds(one), finalRuns) })),
  );
  return screened.map((one, index) => {
    const own = measured[index] ?? [];
    const secondsOf = (name: string, pass: LayerPass, chunks: number): number | undefined => {
      const place = one.finalists.findIndex((v) => variantName(v) === `${name} ${chunks}`);
      const turns = own[place];
      return turns && median(passRuns(turns, pass));
    };
    const rounds = (own[0] ?? []).reduce((sum, { job }) => sum + job.repetitions, 0);
    return resultOf(one, rounds, wayThrough(secondsOf));
  });
}

/** What one run of all finalists takes. */
function roundSeconds({ cases, finalists }: ScreenedCase): number {
  const names = new Set(finalists.map(variantName));
  return cases
    .filter(({ name, chunks }) => names.has(`${name} ${chunks}`))
    .reduce((sum, { medianSeconds }) => sum + medianSeconds, 0);
}

function resultOf(
  { tp, volumeBytes, routing, cases, chosen, settled, finalists }: ScreenedCase,
  rounds: number,
  way: WayThrough,
): CaseResult {
  const timed = (strategy: Strategy): Way | undefined =>
    way(halvesName(strategy), strategy.chunks.forward, strategy.chunks.backward);
  return {
    tp,
    volumeBytes,
    routing,
    passes: cases.map(passResult),
    rounds,
    predicted: present(timed(chosen)),
    chosen: present(timed(settled)),
    best: fastest(waysOf(finalists, way)),
    duplicated: present(way('duplicated', 1, 1)),
    bestFixed: fastest(fixedStrategies.flatMap((one) => timed(one) ?? [])),
  };
}

/** The variants of the fastest ways, of the fixed ones, and of what was chosen. */
function finalistsOf({ variants, chosen, settled }: SettledCase, cases: readonly DispatchCase[]): DispatchVariant[] {
  const way = wayThrough(
    (name, pass, chunks) =>
      cases.find((one) => one.name === name && one.pass === pass && one.chunks === chunks)?.medianSeconds,
  );
  const ways = waysOf(variants, way).sort((a, b) => a.seconds - b.seconds);
  const limit = (ways[0]?.seconds ?? 0) * (1 + finalistShare);
  const close = ways.filter(({ seconds }) => seconds <= limit).map(variantsOfWay);
  const names = new Set([
    ...firstVariants(close, mostFinalists),
    ...[...fixedStrategies, chosen, settled].flatMap(variantNames),
  ]);
  return variants.filter((variant) => names.has(variantName(variant)));
}

function passResult({ name, chunks, pass, measured, ...one }: DispatchCase): PassResult {
  const { medianSeconds, fastestSeconds, boundSeconds, predictedSeconds } = one;
  return {
    strategy: name,
    chunks,
    pass,
    medianSeconds,
    fastestSeconds,
    slowestSeconds: maxOf(measured),
    boundSeconds,
    predictedSeconds,
  };
}
