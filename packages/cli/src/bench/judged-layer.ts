/**
 * One layer over an emulated network: every way to dispatch it measured, and the plan's way beside the fastest. Rounds
 * are told apart: the first are the trials that a plan may see, by the others it is judged.
 */
import {
  chooseDispatch,
  closeCandidates,
  halvesName,
  InputError,
  judgeWays,
  layerPasses,
  median,
  minOf,
  searchedHalves,
  type LayerPass,
  type Strategy,
} from '@monta/core';
import type { DispatchCase } from '@monta/runtime';
import type { DispatchBench } from './dispatch-bench.js';

/** Rounds of a measurement that are trials, and those that judge. */
export const judgedRounds = { trials: 2, judging: 4 } as const;

/** Relative error of predictions about a common factor: what links that are known and kernels timed here leave. */
const modelError = 0.1;

/** A way through both passes, as the judging rounds measured it. */
export interface JudgedWay {
  /** Halves, and chunks forward and backward. */
  readonly name: string;
  readonly seconds: number;
}

export interface JudgedLayer {
  readonly best: JudgedWay;
  /** Predictions and trials of the close ways together. */
  readonly plan: JudgedWay;
  readonly predicted: JudgedWay;
  readonly duplicated?: JudgedWay;
}

type Chunks = Readonly<Record<LayerPass, number>>;

/** The plan's way and the fastest, of a benchmark of `judgedRounds`. Throws `InputError` where nothing is priced. */
export function judgeLayer({ cases, workload }: DispatchBench, chunkCounts: readonly number[]): JudgedLayer {
  const find = (name: string, pass: LayerPass, chunks: number): DispatchCase | undefined =>
    cases.find((one) => one.name === name && one.pass === pass && one.chunks === chunks);
  const seconds = (one: DispatchCase): number => median(one.measured.slice(judgedRounds.trials));
  const way = (halves: string, chunks: Chunks): JudgedWay | undefined => {
    const parts = layerPasses.map((pass) => find(halves, pass, chunks[pass]));
    const sum = parts.reduce((total, part) => total + (part === undefined ? NaN : seconds(part)), 0);
    const name = `${halves} ${layerPasses.map((pass) => chunks[pass]).join('/')}`;
    return Number.isNaN(sum) ? undefined : { name, seconds: sum };
  };
  const measured = (strategy: Strategy): JudgedWay => {
    const found = way(halvesName(strategy), strategy.chunks);
    if (found === undefined) throw new InputError(`${halvesName(strategy)} was not measured`);
    return found;
  };
  const planned = chooseDispatch(workload, {
    chunkCounts,
    halves: searchedHalves().filter((one) => cases.some(({ name }) => name === halvesName(one))),
  });
  if (!planned.known) throw new InputError('the layer cannot be priced', { expected: planned.missing.join('; ') });
  const close = closeCandidates(planned);
  const { fastest } = judgeWays(
    close.map(({ strategy }) =>
      layerPasses.map((pass) => {
        const one = find(halvesName(strategy), pass, strategy.chunks[pass]);
        return {
          name: `${halvesName(strategy)} ${strategy.chunks[pass]} ${pass}`,
          predictedSeconds: one?.predictedSeconds ?? NaN,
          measured: one?.measured.slice(0, judgedRounds.trials) ?? [],
        };
      }),
    ),
    modelError,
  );
  const names = [...new Set(cases.map(({ name }) => name))];
  const ways = names.flatMap((name) => {
    const bestChunks = (pass: LayerPass): number => {
      const own = cases.filter((one) => one.name === name && one.pass === pass);
      const least = minOf(own.map(seconds));
      return own.find((one) => seconds(one) === least)?.chunks ?? 0;
    };
    return way(name, { forward: bestChunks('forward'), backward: bestChunks('backward') }) ?? [];
  });
  const [first, ...others] = ways;
  if (first === undefined) throw new InputError('no way was measured in both passes');
  const duplicated = way('duplicated', { forward: 1, backward: 1 });
  return {
    best: others.reduce((best, one) => (one.seconds < best.seconds ? one : best), first),
    plan: measured((close[fastest] ?? planned.best).strategy),
    predicted: measured(planned.best.strategy),
    ...(duplicated === undefined ? {} : { duplicated }),
  };
}
