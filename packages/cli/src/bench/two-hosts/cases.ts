/**
 * Dispatch and combine between two hosts: every strategy and chunk count measured, predicted from what was measured of the hosts before, and
 * left to the plan. The fastest few and what the plan took are then measured again, in many more rounds: the fastest of a hundred ways in a
 * few rounds is fast by luck.
 */
import {
  allHalves,
  chooseDispatch,
  fixedStrategies,
  InputError,
  median,
  type Strategy,
  type Workload,
} from '@monta/core';
import {
  measureInTurns,
  probeDispatchKernels,
  type DispatchMeasurement,
  type Launcher,
  type RepeatedJob,
} from '@monta/runtime';
import {
  benchPasses,
  dispatchVariants,
  halvesName,
  probedStrategies,
  type BenchPass,
  type DispatchVariant,
} from '../dispatch-cases.js';
import { dispatchCases, type DispatchCase } from '../dispatch-measure.js';
import { benchWorkload, type MachineProbe } from '../dispatch-predict.js';
import { shapeOf, type Hosts } from './hosts.js';
import type { CaseResult, PassResult, RoutingKind, Way } from './types.js';

const routings = { uniform: { kind: 'uniform' }, 'zipf:1': { kind: 'zipf', exponent: 1 } } as const;
const seed = 1;
/** Row elements lie in [-1, 1): a sum of few float32 products. */
const largestError = 1e-5;
/** Each process compiles its code for itself, with the first case; memory is touched for the first time with each. */
const warmUps = { first: 4, others: 1 };
/** Ways of the first rounds that are measured again: no more than so many variants, none slower than the fastest by more than this. */
const [mostFinalists, finalistShare] = [7, 0.25];
/** Rounds of finalists: as many as fill their seconds, within these; so many at a time, since each turn has its own preparations. */
const [fewestFinals, mostFinals, finalsAtATime] = [15, 150, 5];

/** One volume and routing, before anything of it was measured but its kernels. */
export interface PreparedCase {
  readonly tp: number;
  readonly volumeBytes: number;
  readonly routing: RoutingKind;
  readonly variants: readonly DispatchVariant[];
  readonly workload: Workload;
  readonly probe: MachineProbe;
  /** What the plan takes. */
  readonly chosen: Strategy;
}

/** A case after its first rounds. */
export interface ScreenedCase extends PreparedCase {
  readonly cases: readonly DispatchCase[];
  /** What is measured again. */
  readonly finalists: readonly DispatchVariant[];
}

/** Times the kernels of a case, and lets the plan choose. */
export async function prepareCase(
  { tp, seen, machine }: Hosts,
  volumeBytes: number,
  routing: RoutingKind,
  chunkCounts: readonly number[],
): Promise<PreparedCase> {
  const shape = shapeOf(tp, volumeBytes);
  const variants = dispatchVariants(shape, chunkCounts);
  const strategies = probedStrategies(variants);
  const kernels = await probeDispatchKernels({ shape, strategies, routing: routings[routing], seed });
  const probe: MachineProbe = { ...machine, kernels };
  const workload = benchWorkload(seen, shape, routings[routing], seed, probe);
  const planned = chooseDispatch(workload, { chunkCounts, halves: allHalves });
  if (!planned.known) throw new InputError('the dispatch cannot be priced', { expected: planned.missing.join('; ') });
  return { tp, volumeBytes, routing, variants, workload, probe, chosen: planned.best.strategy };
}

/** Measures every variant of all cases, in one job and in turns. */
export async function screenCases(
  launcher: Launcher,
  prepared: readonly PreparedCase[],
  rounds: number,
): Promise<ScreenedCase[]> {
  const measured = await inTurns(
    launcher,
    prepared.map((one) => ({ one, variants: one.variants, turns: rounds, repetitions: 1 })),
  );
  return prepared.map((one, index) => {
    const cases = one.variants.flatMap((variant, place) =>
      dispatchCases(variant, measured[index]?.[place] ?? [], one.workload, one.probe),
    );
    return { ...one, cases, finalists: finalistsOf(one.variants, cases, one.chosen) };
  });
}

/** Measures the finalists of all cases again, in one job and in turns; of each case for about so many seconds. */
export async function finalResults(
  launcher: Launcher,
  screened: readonly ScreenedCase[],
  seconds: number,
): Promise<CaseResult[]> {
  const measured = await inTurns(
    launcher,
    screened.map((one) => {
      const rounds = Math.min(mostFinals, Math.max(fewestFinals, seconds / roundSeconds(one)));
      return {
        one,
        variants: one.finalists,
        turns: Math.ceil(rounds / finalsAtATime),
        repetitions: finalsAtATime,
      };
    }),
  );
  return screened.map((one, index) => {
    const own = measured[index] ?? [];
    const secondsOf = (name: string, pass: BenchPass, chunks: number): number | undefined => {
      const place = one.finalists.findIndex((v) => v.name === name && v.strategy.chunks[pass] === chunks);
      const passes = own[place]?.flatMap(({ passSeconds }) => passSeconds[benchPasses.indexOf(pass)] ?? []);
      return passes && median(passes);
    };
    const rounds = (own[0] ?? []).reduce((sum, { job }) => sum + job.repetitions, 0);
    return resultOf(one, rounds, wayThrough(secondsOf));
  });
}

/** What one run of all finalists takes. */
function roundSeconds({ cases, finalists }: ScreenedCase): number {
  return cases
    .filter(({ name, chunks }) => finalists.some((v) => v.name === name && v.strategy.chunks.forward === chunks))
    .reduce((sum, { medianSeconds }) => sum + medianSeconds, 0);
}

interface Turns {
  readonly one: PreparedCase;
  readonly variants: readonly DispatchVariant[];
  readonly turns: number;
  /** Runs in each turn. */
  readonly repetitions: number;
}

/** Runs all variants of all cases, turn by turn, and returns their measurements by case and variant. */
async function inTurns(launcher: Launcher, all: readonly Turns[]): Promise<DispatchMeasurement[][][]> {
  const repeated = all.flatMap(({ one: { routing, workload }, variants, turns, repetitions }, index) =>
    variants.map(({ strategy }): RepeatedJob => ({
      job: {
        shape: workload.shape,
        strategy,
        passes: benchPasses,
        routing: routings[routing],
        seed,
        warmUps: index === 0 ? warmUps.first : warmUps.others,
        repetitions,
        trace: false,
      },
      turns,
    })),
  );
  const measured = await measureInTurns(repeated, { launcher });
  for (const { job, error } of measured.flat()) checkDeviation(halvesName(job.strategy), error);
  let before = 0;
  return all.map(({ variants }) => measured.slice(before, (before += variants.length)));
}

function resultOf(
  { tp, volumeBytes, routing, cases, chosen, finalists }: ScreenedCase,
  rounds: number,
  way: WayThrough,
): CaseResult {
  return {
    tp,
    volumeBytes,
    routing,
    passes: cases.map(passResult),
    rounds,
    chosen: present(way(halvesName(chosen), chosen.chunks.forward, chosen.chunks.backward)),
    best: fastest(waysOf(finalists, way)),
    duplicated: present(way('duplicated', 1, 1)),
    bestFixed: fastest(
      fixedStrategies.flatMap((one) => way(halvesName(one), one.chunks.forward, one.chunks.backward) ?? []),
    ),
  };
}

/** What the plan took, the fixed ways, and the variants of the fastest ways. */
function finalistsOf(
  variants: readonly DispatchVariant[],
  cases: readonly DispatchCase[],
  chosen: Strategy,
): DispatchVariant[] {
  const way = wayThrough(
    (name, pass, chunks) =>
      cases.find((one) => one.name === name && one.pass === pass && one.chunks === chunks)?.medianSeconds,
  );
  const ways = waysOf(variants, way).sort((a, b) => a.seconds - b.seconds);
  const limit = (ways[0]?.seconds ?? 0) * (1 + finalistShare);
  const keys = new Set<string>();
  for (const { strategy, forwardChunks, backwardChunks, seconds } of ways) {
    const both = [`${strategy} ${forwardChunks}`, `${strategy} ${backwardChunks}`];
    if (seconds > limit || new Set([...keys, ...both]).size > mostFinalists) break;
    for (const key of both) keys.add(key);
  }
  for (const one of [...fixedStrategies, chosen])
    for (const pass of benchPasses) keys.add(`${halvesName(one)} ${one.chunks[pass]}`);
  return variants.filter(({ name, strategy }) => keys.has(`${name} ${strategy.chunks.forward}`));
}

function checkDeviation(what: string, deviation: number): void {
  if (!(deviation <= largestError)) throw new Error(`${what}: a result is off by ${deviation}`);
}

function passResult({ name, chunks, pass, measured, ...one }: DispatchCase): PassResult {
  const { medianSeconds, fastestSeconds, boundSeconds, predictedSeconds } = one;
  return {
    strategy: name,
    chunks,
    pass,
    medianSeconds,
    fastestSeconds,
    slowestSeconds: Math.max(...measured),
    boundSeconds,
    predictedSeconds,
  };
}

type WayThrough = (strategy: string, forwardChunks: number, backwardChunks: number) => Way | undefined;

const wayThrough =
  (secondsOf: (name: string, pass: BenchPass, chunks: number) => number | undefined): WayThrough =>
  (strategy, forwardChunks, backwardChunks) => {
    const forward = secondsOf(strategy, 'forward', forwardChunks);
    const backward = secondsOf(strategy, 'backward', backwardChunks);
    return forward === undefined || backward === undefined
      ? undefined
      : { strategy, forwardChunks, backwardChunks, seconds: forward + backward };
  };

/** All ways of these variants: halves are the same in both passes, chunk counts are not. */
function waysOf(variants: readonly DispatchVariant[], way: WayThrough): Way[] {
  const names = [...new Set(variants.map(({ name }) => name))];
  const counts = [...new Set(variants.map(({ strategy }) => strategy.chunks.forward))];
  return names.flatMap((name) =>
    counts.flatMap((forward) => counts.flatMap((backward) => way(name, forward, backward) ?? [])),
  );
}

const present = (way: Way | undefined): Way => {
  if (way === undefined) throw new Error('the plan chose what was not measured');
  return way;
};

const fastest = (ways: readonly Way[]): Way =>
  ways.reduce((best, way) => (way.seconds < best.seconds ? way : best), present(ways[0]));
