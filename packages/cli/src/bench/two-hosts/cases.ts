/**
 * Dispatch and combine between two hosts: every strategy and chunk count measured, predicted from the links, and left to the plan. The fastest
 * few and what the plan took are then measured again, in more rounds: the fastest of a hundred ways in a few rounds is fast by luck.
 */
import { allHalves, chooseDispatch, fixedStrategies, InputError, type Strategy, type Workload } from '@monta/core';
import { measureDispatch, type DispatchJob, type Launcher } from '@monta/runtime';
import { benchPasses, dispatchVariants, halvesName, type BenchPass, type DispatchVariant } from '../dispatch-cases.js';
import { measureVariants, type DispatchCase } from '../dispatch-measure.js';
import { median } from '../dispatch-predict.js';
import { shapeOf, type Hosts } from './hosts.js';
import type { CaseResult, PassResult, RoutingKind, Way } from './types.js';

const routings = { uniform: { kind: 'uniform' }, 'zipf:1': { kind: 'zipf', exponent: 1 } } as const;
const seed = 1;
/** Row elements lie in [-1, 1): a sum of few float32 products. */
const largestError = 1e-5;
/** Ways of the first rounds that are measured again: no more than so many variants, none slower than the fastest by more than this. */
const [mostFinalists, finalistShare] = [8, 0.3];
/** Each process compiles its code for itself. */
const finalWarmUps = 3;

/** A case after its first rounds. */
export interface ScreenedCase {
  readonly tp: number;
  readonly volumeBytes: number;
  readonly routing: RoutingKind;
  readonly cases: readonly DispatchCase[];
  readonly workload: Workload;
  /** What the plan takes, before anything of the case was measured. */
  readonly chosen: Strategy;
  /** What is measured again. */
  readonly finalists: readonly DispatchVariant[];
}

/** Every strategy and chunk count of one volume and routing. */
export async function screenCase(
  { tp, launcher, probe }: Hosts,
  volumeBytes: number,
  routing: RoutingKind,
  chunkCounts: readonly number[],
  rounds: number,
): Promise<ScreenedCase> {
  const shape = shapeOf(tp, volumeBytes);
  const variants = dispatchVariants(shape, chunkCounts);
  const { cases, workload } = await measureVariants({
    ground: { seen: probe.cluster, shape, launcher, hostCores: probe.hostCores },
    variants,
    routing: routings[routing],
    seed,
    rounds,
  });
  for (const { name, chunks, pass, deviation } of cases)
    checkDeviation(`${name} in ${chunks} chunks, ${pass}`, deviation);
  const planned = chooseDispatch(workload, { chunkCounts, halves: allHalves });
  if (!planned.known) throw new InputError('the dispatch cannot be priced', { expected: planned.missing.join('; ') });
  const chosen = planned.best.strategy;
  return { tp, volumeBytes, routing, cases, workload, chosen, finalists: finalistsOf(variants, cases, chosen) };
}

/** Measures the finalists of all cases again, in one job and in turns. */
export async function finalResults(
  launcher: Launcher,
  screened: readonly ScreenedCase[],
  rounds: number,
): Promise<CaseResult[]> {
  const jobs = screened.flatMap(({ workload: { shape }, routing, finalists }) =>
    finalists.map(({ strategy }): DispatchJob => ({
      shape,
      strategy,
      passes: benchPasses,
      routing: routings[routing],
      seed,
      warmUps: 0,
      repetitions: 1,
      trace: false,
    })),
  );
  const measured = await measureDispatch({
    launcher,
    jobs: Array.from({ length: rounds }, (_, round) =>
      jobs.map((job) => (round === 0 ? { ...job, warmUps: finalWarmUps } : job)),
    ).flat(),
  });
  for (const { job, error } of measured) checkDeviation(halvesName(job.strategy), error);
  let before = 0;
  return screened.map((one) => {
    const first = before;
    before += one.finalists.length;
    const seconds = (name: string, pass: BenchPass, chunks: number): number | undefined => {
      const index = one.finalists.findIndex((v) => v.name === name && v.strategy.chunks[pass] === chunks);
      if (index < 0) return undefined;
      const own = measured.filter((_, at) => at % jobs.length === first + index);
      return median(own.flatMap(({ passSeconds }) => passSeconds[benchPasses.indexOf(pass)] ?? []));
    };
    return resultOf(one, wayThrough(seconds));
  });
}

function resultOf({ tp, volumeBytes, routing, cases, chosen, finalists }: ScreenedCase, way: WayThrough): CaseResult {
  return {
    tp,
    volumeBytes,
    routing,
    passes: cases.map(passResult),
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
