/**
 * What each kind of overlap saves: the same training steps with a kind on and off, in turns on real ranks over an
 * emulated network, next to the simulator's prediction.
 */
import type { CostModel, MoeModel, OverlapKind, PairedFigure, StepOverlap, StepShape } from '@monta/core';
import { InputError, median, pairedDifference, pairedRatio } from '@monta/core/units';
import { inChunks, namedStrategies } from '@monta/core/schedule';
import { predictStep, settingModel, settingStep } from '@monta/core/plan';
import { localLauncher, probeStepKernels, train, tryStrategies, type TrainJob } from '@monta/runtime';
import { readTrainConfig } from '../config/train-config.js';
import type { TrainOverrides } from '../config/train-overrides.js';
import { measureOverheads } from '../train/overheads.js';
import { settingOf, type Setting } from '../train/setting.js';
import { jobOf } from '../train/strategies-run.js';

/** A kind of overlap inside a layer, or what runs beside the backward: gradients' reduction, another's forward. */
export type BenchedOverlap = OverlapKind | 'reductions' | 'passes';

/** A kind alone on or off; all others stay as they are. */
type Switch = 'on' | 'off';

function wayOf(kind: BenchedOverlap, to: Switch): StepOverlap {
  const way = to === 'on' ? 'beside' : 'behind';
  if (kind === 'reductions') return { reductions: way };
  if (kind === 'passes') return { reductions: 'behind', passes: way };
  return { reductions: 'behind', overlap: { [kind]: to === 'on' } };
}

/** Chunks that a kind needs to have something to run beside. */
const chunksOf: Readonly<Record<BenchedOverlap, number>> = {
  chunks: 4,
  experts: 4,
  shared: 1,
  weightGradients: 1,
  reductions: 1,
  passes: 1,
};

/** Sequences of a step and of a pass: one pass is enough but for what runs beside another's. */
const batchesOf = (kind: BenchedOverlap): Pick<TrainOverrides, 'batch' | 'microBatch'> =>
  kind === 'passes' ? { batch: 32, microBatch: 2 } : {};

export interface OverlapBenchOptions {
  readonly kind: BenchedOverlap;
  readonly model: MoeModel;
  /** As `--layout` takes it; dp of 1 leaves nothing to reduce. */
  readonly layout: string;
  /** How far the network is slowed. */
  readonly timeScale: number;
  readonly turns: number;
  /** Timed steps of each of the four runs of a turn. */
  readonly steps: number;
  readonly signal: AbortSignal;
  readonly onPhase: (what: string) => void;
}

export interface OverlapBench {
  /** Seconds of a step: medians of all that were timed. */
  readonly measured: Readonly<Record<Switch, number>>;
  readonly predicted: Readonly<Record<Switch, number>>;
  /** Seconds a step that the kind saves. */
  readonly saved: PairedFigure;
  readonly predictedSaved: number;
  /** Step with it over step without. */
  readonly ratio: PairedFigure;
  /** Steps of both ways whose losses were compared, and whether every bit of them is the same. */
  readonly compared: { readonly steps: number; readonly same: boolean };
}

/** Each way comes first as often as last, so that a machine that slows down in a turn slows both. */
const order = ['on', 'off', 'off', 'on'] as const satisfies readonly Switch[];
/** Pairs of `order`: on, off. */
const pairs = [
  [0, 1],
  [3, 2],
] as const;
const warmUps = 5;
const comparedSteps = 4;
/** Small, so that every layer's gradients are a reduction of their own. */
const reductionBytes = 2 ** 18;

type Way = ReturnType<typeof wayOf>;

async function losses(job: TrainJob, way: Way, { fabric }: Setting, signal: AbortSignal): Promise<number[]> {
  const compared = { ...job, step: { ...job.step, ...way }, steps: comparedSteps, tracedSteps: [] };
  const { steps } = await train({ job: compared, signal, ...(fabric === undefined ? {} : { fabric }) });
  return steps.map(({ loss }) => loss);
}

function predictions(
  { cluster, hostCores, config }: Setting,
  step: StepShape,
  model: CostModel,
  kind: BenchedOverlap,
): Record<Switch, number> {
  const seconds = (to: Switch): number => {
    const workload = { cluster, hostCores, model, routing: { kind: 'uniform' }, seed: config.seed } as const;
    const prediction = predictStep({ ...workload, step: { ...step, ...wayOf(kind, to) } });
    if (!prediction.known)
      throw new InputError('the step cannot be priced', { expected: prediction.missing.join('; ') });
    return prediction.seconds;
  };
  return { on: seconds('on'), off: seconds('off') };
}

/** Runs it. Throws `InputError` for a layout that the model or the cluster does not allow. */
export async function benchOverlap(options: OverlapBenchOptions): Promise<OverlapBench> {
  const { kind, model, layout, timeScale, turns, steps, signal, onPhase } = options;
  const config = { ...readTrainConfig(undefined, { layout, timeScale, ...batchesOf(kind) }), model };
  onPhase(`${kind}, ${layout}: probing the machine`);
  const { setting, overheads } = await measureOverheads(settingOf(config), localLauncher, signal);
  const strategy = inChunks(namedStrategies.scattered, chunksOf[kind]);
  const step: StepShape = { ...settingStep(setting, strategy), reductionBytes };
  const prices = settingModel(setting, await probeStepKernels(step, { signal }), overheads);
  const predicted = predictions(setting, step, prices, kind);
  const job: TrainJob = { ...jobOf(setting, strategy), step };
  onPhase(`${kind}, ${layout}: comparing losses`);
  const on = await losses(job, wayOf(kind, 'on'), setting, signal);
  const off = await losses(job, wayOf(kind, 'off'), setting, signal);
  onPhase(`${kind}, ${layout}: ${turns} turns of four runs`);
  const timed = await tryStrategies({
    trial: { job, ways: order.map((to) => ({ strategy, ...wayOf(kind, to) })), warmUps, turns, steps },
    ...(setting.fabric === undefined ? {} : { fabric: setting.fabric }),
    signal,
    onTurn: (done) => onPhase(`${kind}, ${layout}: ${done} of ${turns} turns`),
  });
  /** A way's median of each turn. */
  const ofTurns = (way: number): number[] =>
    Array.from({ length: turns }, (_, turn) => median((timed[way] ?? []).slice(turn * steps, (turn + 1) * steps)));
  const ours = pairs.flatMap(([way]) => ofTurns(way));
  const theirs = pairs.flatMap(([, way]) => ofTurns(way));
  const all = (to: Switch): number[] => timed.filter((_, way) => order[way] === to).flat();
  return {
    measured: { on: median(all('on')), off: median(all('off')) },
    predicted,
    saved: pairedDifference(theirs, ours),
    predictedSaved: predicted.off - predicted.on,
    ratio: pairedRatio(ours, theirs),
    compared: { steps: comparedSteps, same: on.every((loss, index) => Object.is(loss, off[index])) },
  };
}
