/** What a plan takes for a layer before it is measured, and how that compares with all that was measured. */
import type { DispatchVariant, LayerPass, Strategy, TriedPart, Workload } from '@monta/core';
import { InputError, median, minOf } from '@monta/core/units';
import { formatLayout, placedOn } from '@monta/core/layout';
import { fixedStrategies, halvesName, searchedHalves, strategyLabel } from '@monta/core/schedule';
import { chooseDispatch, closePieces, dispatchVariants, judgeWays, layerPasses } from '@monta/core/plan';
import { worstError, type ContestCase, type ContestResult, type ContestWay } from '../../execute/dispatch-contest.js';
import { benchWorkload, bindingOf, predictPass } from '../../probe/dispatch-predict.js';
import type { NamedCase } from './contest-cases.js';
import type { Ground } from './ground.js';

/** A layer, and what is known before it is measured. */
export interface PreparedContest {
  readonly named: NamedCase;
  readonly workload: Workload;
  readonly variants: readonly DispatchVariant[];
  /** What predictions take, and what they leave open, itself first. */
  readonly chosen: Strategy;
  readonly close: readonly { readonly strategy: Strategy; readonly seconds: Readonly<Record<LayerPass, number>> }[];
  readonly contest: ContestCase;
}

/** Lets the plan choose. Throws `InputError` for what cannot be priced. */
export function prepareContest(ground: Ground, named: NamedCase): PreparedContest {
  const { cluster, curves, probe } = ground;
  const { routing, chunkCounts, seed = 1, only, keepFixed = true } = named;
  const shape = { ...named.shape, layout: placedOn(named.shape.layout, cluster) };
  const workload = benchWorkload({
    seen: cluster,
    shape,
    routing,
    seed,
    probe,
    ...(curves === undefined ? {} : { curves }),
  });
  const halves = searchedHalves().filter((one) => only === undefined || only.includes(halvesName(one)));
  const planned = chooseDispatch(workload, { chunkCounts, halves });
  if (!planned.known) throw new InputError(`${named.name} cannot be priced`, { expected: planned.missing.join('; ') });
  // One of those that run the same operations.
  const distinct = new Set(planned.candidates.map(({ strategy }) => halvesName(strategy)));
  const variants = dispatchVariants(shape, chunkCounts).filter(
    ({ name }) => distinct.has(name) && (only === undefined || only.includes(name) || keepFixed),
  );
  const close = closePieces(planned).map(({ strategy, forward, backward }) => ({
    strategy,
    seconds: { forward: forward.seconds, backward: backward.seconds },
  }));
  const placesOf = (strategies: readonly Strategy[]): number[] => [
    ...new Set(
      strategies
        .flatMap((strategy) => layerPasses.map((pass) => placeOf(variants, strategy, pass)))
        .filter((at) => at >= 0),
    ),
  ];
  const tried = close.length > 1 ? placesOf(close.map(({ strategy }) => strategy)) : [];
  const kept = placesOf([...close.map(({ strategy }) => strategy), ...(keepFixed ? fixedStrategies : [])]);
  const strategies = variants.map(({ strategy }) => strategy);
  const contest = { shape, routing, seed, strategies, tried, kept };
  return { named, workload, variants, chosen: planned.best.strategy, close, contest };
}

/** Place of the variant whose pass is that of a strategy; -1 where it is not measured. */
const placeOf = (variants: readonly DispatchVariant[], strategy: Strategy, pass: LayerPass): number =>
  variants.findIndex(
    ({ name, strategy: { chunks } }) => name === halvesName(strategy) && chunks[pass] === strategy.chunks[pass],
  );

/** One pass of one way. */
export interface PassFigure {
  readonly name: string;
  readonly chunks: number;
  readonly pass: LayerPass;
  /** Of every run that counts. */
  readonly seconds: readonly number[];
  readonly medianSeconds: number;
  /** Whether it was measured to the end. */
  readonly final: boolean;
  /** By the calibration, and bytes of the busiest port over its line rate. */
  readonly predictedSeconds?: number;
  readonly boundSeconds?: number;
}

/** A way through both passes, as measured. */
export interface WayFigure {
  readonly label: string;
  readonly seconds: number;
}

export interface ContestFigures {
  readonly name: string;
  readonly layout: string;
  readonly dtype: string;
  /** Dispatched bytes of a replica, as its name says them. */
  readonly mebibytes: number;
  readonly passes: readonly PassFigure[];
  /** Largest difference of a token's result from its closed form, of any way. */
  readonly deviation: number;
  /** What predictions alone take, and what they and the trials of close ways take. */
  readonly predicted: WayFigure;
  readonly plan: WayFigure;
  /** Ways, chunk counts told apart, that were tried. */
  readonly tried: number;
  readonly best: WayFigure;
  /** The fastest of all where no fixed way was measured. */
  readonly bestFixed: WayFigure;
  readonly duplicated?: WayFigure;
}

/** `predictAll`: every pass that was measured is predicted. */
export function contestFigures(
  prepared: PreparedContest,
  { ways }: ContestResult,
  { ground, predictAll }: { readonly ground: Ground; readonly predictAll: boolean },
): ContestFigures {
  const { named, workload, variants, chosen, contest } = prepared;
  const passes = variants.flatMap((variant, place) => {
    const { finals, once } = ways[place];
    const counted = finals ?? once;
    return layerPasses.map((pass, index): PassFigure => {
      const seconds = counted.passSeconds[index];
      const predicted = predictAll ? predictedPass(ground, workload, ways[place], pass) : {};
      return {
        name: variant.name,
        chunks: variant.strategy.chunks[pass],
        pass,
        seconds,
        medianSeconds: median(seconds),
        final: finals !== undefined,
        ...predicted,
      };
    });
  });
  const wayOf = (strategy: Strategy): WayFigure | undefined => {
    const parts = layerPasses.map(
      (pass) => passes[layerPasses.length * placeOf(variants, strategy, pass) + layerPasses.indexOf(pass)],
    );
    if (parts.some((one) => one === undefined)) return undefined;
    return { label: strategyLabel(strategy), seconds: parts.reduce((sum, one) => sum + one.medianSeconds, 0) };
  };
  const measuredWay = (strategy: Strategy): WayFigure => {
    const found = wayOf(strategy);
    if (found === undefined) throw new RangeError(`${strategyLabel(strategy)} was not measured`);
    return found;
  };
  const fixed = fixedStrategies.flatMap((strategy) => wayOf(strategy) ?? []);
  const duplicated = fixedStrategies.find((one) => halvesName(one) === 'duplicated');
  const ofDuplicated = duplicated && wayOf(duplicated);
  const settled = settledBy(prepared, ways, ground.modelError);
  const best = bestMeasured(passes, variants);
  return {
    name: named.name,
    layout: formatLayout(named.shape.layout),
    dtype: named.shape.dtype,
    mebibytes: named.mebibytes,
    passes,
    deviation: worstError(ways),
    predicted: measuredWay(chosen),
    plan: measuredWay(settled),
    tried: contest.tried.length,
    best,
    bestFixed: fixed.reduce((fastest, one) => (one.seconds < fastest.seconds ? one : fastest), fixed[0] ?? best),
    ...(ofDuplicated === undefined ? {} : { duplicated: ofDuplicated }),
  };
}

function predictedPass(ground: Ground, workload: Workload, { strategy, checked }: ContestWay, pass: LayerPass) {
  const binding = bindingOf(checked);
  const { seconds, price } = predictPass({ workload, strategy, pass, binding, probe: ground.probe });
  return { predictedSeconds: seconds, boundSeconds: price.boundSeconds };
}

/** What trials and predictions take together, as before a training run; the prediction's choice without trials. */
function settledBy(
  { variants, close, chosen }: PreparedContest,
  ways: readonly ContestWay[],
  modelError: number,
): Strategy {
  if (close.length < 2) return chosen;
  const judged = close.map(({ strategy, seconds }) =>
    layerPasses.map((pass, index): TriedPart => ({
      name: `${halvesName(strategy)} ${strategy.chunks[pass]} ${pass}`,
      predictedSeconds: seconds[pass],
      measured: ways[placeOf(variants, strategy, pass)].trials?.passSeconds[index] ?? [],
    })),
  );
  return close[judgeWays(judged, modelError).fastest]?.strategy ?? chosen;
}

/** The fastest of all that were measured to the end: a pair of halves, each pass in its best chunk count. */
function bestMeasured(passes: readonly PassFigure[], variants: readonly DispatchVariant[]): WayFigure {
  const finals = passes.filter(({ final }) => final);
  const names = [...new Set(finals.map(({ name }) => name))];
  const ways = names.map((name): WayFigure => {
    const best = layerPasses.map((pass) => {
      const ofPass = finals.filter((one) => one.name === name && one.pass === pass);
      const least = minOf(ofPass.map(({ medianSeconds }) => medianSeconds));
      return { chunks: ofPass.find(({ medianSeconds }) => medianSeconds === least)?.chunks ?? 0, least };
    });
    const halves = variants.find((variant) => variant.name === name)?.strategy ?? variants[0].strategy;
    const [forward, backward] = best.map(({ chunks }) => chunks);
    return {
      label: strategyLabel({ ...halves, chunks: { forward, backward } }),
      seconds: best.reduce((sum, { least }) => sum + least, 0),
    };
  });
  return ways.reduce((best, one) => (one.seconds < best.seconds ? one : best));
}
