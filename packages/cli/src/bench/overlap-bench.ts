/**
 * What reductions of gradients beside the backward pass save: the same training steps with reductions beside it and
 * behind it, in turns on real ranks over an emulated network, next to the simulator's prediction.
 */
import {
  inChunks,
  InputError,
  median,
  namedStrategies,
  pairedDifference,
  pairedRatio,
  predictStep,
  type CostModel,
  type MoeModel,
  type PairedFigure,
  type StepShape,
} from '@monta/core';
import { localLauncher, probeStepKernels, train, tryStrategies, type TrainJob } from '@monta/runtime';
import { readTrainConfig } from '../config/train-config.js';
import { measureOverheads } from '../train/overheads.js';
import { settingModel, settingOf, stepOf, type Setting } from '../train/setting.js';
import { jobOf } from '../train/strategies-run.js';

type Reductions = NonNullable<StepShape['reductions']>;

export interface OverlapBenchOptions {
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
  readonly measured: Readonly<Record<Reductions, number>>;
  readonly predicted: Readonly<Record<Reductions, number>>;
  /** Seconds a step that reductions beside the backward save. */
  readonly saved: PairedFigure;
  readonly predictedSaved: number;
  /** Step beside over step behind. */
  readonly ratio: PairedFigure;
  /** Steps of both ways whose losses were compared, and whether every bit of them is the same. */
  readonly compared: { readonly steps: number; readonly same: boolean };
}

/** Each way comes first as often as last, so that a machine that slows down in a turn slows both. */
const order = ['beside', 'behind', 'behind', 'beside'] as const satisfies readonly Reductions[];
/** Pairs of `order`: beside, behind. */
const pairs = [
  [0, 1],
  [3, 2],
] as const;
const warmUps = 5;
const comparedSteps = 4;
/** Small, so that every layer's gradients are a reduction of their own. */
const reductionBytes = 2 ** 18;

async function losses(job: TrainJob, reductions: Reductions, setting: Setting, signal: AbortSignal): Promise<number[]> {
  const { fabric } = setting;
  const compared = { ...job, step: { ...job.step, reductions }, steps: comparedSteps, tracedSteps: [] };
  const { steps } = await train({ job: compared, signal, ...(fabric === undefined ? {} : { fabric }) });
  return steps.map(({ loss }) => loss);
}

function predictions(setting: Setting, step: StepShape, model: CostModel): Record<Reductions, number> {
  const seconds = (reductions: Reductions): number => {
    const { cluster, hostCores } = setting;
    const workload = { cluster, hostCores, model, routing: { kind: 'uniform' }, seed: setting.config.seed } as const;
    const prediction = predictStep({ ...workload, step: { ...step, reductions } });
    if (!prediction.known)
      throw new InputError('the step cannot be priced', { expected: prediction.missing.join('; ') });
    return prediction.seconds;
  };
  return { beside: seconds('beside'), behind: seconds('behind') };
}

/** Runs it. Throws `InputError` for a layout that the model or the cluster does not allow. */
export async function benchOverlap(options: OverlapBenchOptions): Promise<OverlapBench> {
  const { model, layout, timeScale, turns, steps, signal, onPhase } = options;
  const config = { ...readTrainConfig(undefined, { layout, timeScale }), model };
  onPhase(`${layout}: probing the machine`);
  const { setting, overheads } = await measureOverheads(settingOf(config), localLauncher, signal);
  const strategy = inChunks(namedStrategies.scattered, 1);
  const step: StepShape = { ...stepOf(setting, strategy), reductionBytes };
  const prices = settingModel(setting, await probeStepKernels(step, { signal }), overheads);
  const predicted = predictions(setting, step, prices);
  const job: TrainJob = { ...jobOf(setting, strategy), step };
  onPhase(`${layout}: comparing losses`);
  const beside = await losses(job, 'beside', setting, signal);
  const behind = await losses(job, 'behind', setting, signal);
  onPhase(`${layout}: ${turns} turns`);
  const timed = await tryStrategies({
    trial: { job, ways: order.map((reductions) => ({ strategy, reductions })), warmUps, turns, steps },
    ...(setting.fabric === undefined ? {} : { fabric: setting.fabric }),
    signal,
  });
  /** A way's median of each turn. */
  const ofTurns = (way: number): number[] =>
    Array.from({ length: turns }, (_, turn) => median((timed[way] ?? []).slice(turn * steps, (turn + 1) * steps)));
  const ours = pairs.flatMap(([way]) => ofTurns(way));
  const theirs = pairs.flatMap(([, way]) => ofTurns(way));
  const all = (reductions: Reductions): number[] => timed.filter((_, way) => order[way] === reductions).flat();
  return {
    measured: { beside: median(all('beside')), behind: median(all('behind')) },
    predicted,
    saved: pairedDifference(theirs, ours),
    predictedSaved: predicted.behind - predicted.beside,
    ratio: pairedRatio(ours, theirs),
    compared: { steps: comparedSteps, same: beside.every((loss, index) => Object.is(loss, behind[index])) },
  };
}
