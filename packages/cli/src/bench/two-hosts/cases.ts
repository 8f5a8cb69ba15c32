/** Dispatch and combine between two hosts: every strategy and chunk count measured, predicted from the links, and left to the plan. */
import { allHalves, chooseDispatch, InputError, type Workload } from '@monta/core';
import { dispatchVariants, halvesName, type BenchPass } from '../dispatch-cases.js';
import { measureVariants, type DispatchCase } from '../dispatch-measure.js';
import { shapeOf, type Hosts } from './hosts.js';
import type { CaseResult, PassResult, RoutingKind, Way } from './types.js';

const routings = { uniform: { kind: 'uniform' }, 'zipf:1': { kind: 'zipf', exponent: 1 } } as const;
/** Row elements lie in [-1, 1): a sum of few float32 products. */
const largestError = 1e-5;

/** Every strategy and chunk count of one volume and routing. */
export async function caseResult(
  { tp, launcher, probe }: Hosts,
  volumeBytes: number,
  routing: RoutingKind,
  chunkCounts: readonly number[],
  rounds: number,
): Promise<{ readonly result: CaseResult; readonly workload: Workload }> {
  const shape = shapeOf(tp, volumeBytes);
  const variants = dispatchVariants(shape, chunkCounts);
  const { cases, workload } = await measureVariants({
    ground: { seen: probe.cluster, shape, launcher, hostCores: probe.hostCores },
    variants,
    routing: routings[routing],
    seed: 1,
    rounds,
  });
  const wrong = cases.find(({ deviation }) => !(deviation <= largestError));
  if (wrong) throw new Error(`${wrong.name} in ${wrong.chunks} chunks, ${wrong.pass}: off by ${wrong.deviation}`);
  const planned = chooseDispatch(workload, { chunkCounts, halves: allHalves });
  if (!planned.known) throw new InputError('the dispatch cannot be priced', { expected: planned.missing.join('; ') });
  const { strategy } = planned.best;
  const way = wayThrough(cases);
  const fixed = [way('duplicated', 1, 1), way('sliced', 1, 1), way('scattered', 1, 1), way('sliced', 4, 4)];
  const result: CaseResult = {
    tp,
    volumeBytes,
    routing,
    passes: cases.map(passResult),
    chosen: present(way(halvesName(strategy), strategy.chunks.forward, strategy.chunks.backward)),
    best: fastest(waysOf(cases, way)),
    duplicated: present(way('duplicated', 1, 1)),
    bestFixed: fastest(fixed.filter((one) => one !== undefined)),
  };
  return { result, workload };
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

function wayThrough(cases: readonly DispatchCase[]): WayThrough {
  const seconds = (name: string, pass: BenchPass, chunks: number): number | undefined =>
    cases.find((one) => one.name === name && one.pass === pass && one.chunks === chunks)?.medianSeconds;
  return (strategy, forwardChunks, backwardChunks) => {
    const forward = seconds(strategy, 'forward', forwardChunks);
    const backward = seconds(strategy, 'backward', backwardChunks);
    return forward === undefined || backward === undefined
      ? undefined
      : { strategy, forwardChunks, backwardChunks, seconds: forward + backward };
  };
}

/** All ways: halves are the same in both passes, chunk counts are not. */
function waysOf(cases: readonly DispatchCase[], way: WayThrough): Way[] {
  const names = [...new Set(cases.map(({ name }) => name))];
  const counts = [...new Set(cases.map(({ chunks }) => chunks))];
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
