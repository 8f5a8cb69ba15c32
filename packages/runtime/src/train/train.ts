/** Runs a training job on the ranks of a launcher: threads of this machine, or processes over MPI. */
import { maxOf } from '@monta/core/units';
import { worldSize } from '@monta/core/layout';
import { lastTurn } from '@monta/core/schedule';
import type { TimedStep, Trace } from '@monta/core';
import type { FabricOptions } from '../comm/local/fabric.js';
import { localLauncher, type Launcher } from '../launch/index.js';
import type { CheckpointReport, RankOutcome, StepReport, TrainJob, TrainReport } from './job.js';
import { rankJob, trainingMemory } from './rank-job.js';
import { prepareStart, type TrainStart } from './start.js';
import { mostKept, Thinned } from './thinned.js';

/** Shares of experts that the reports of a run may hold in all. */
const mostShares = 2 ** 20;

/** Reports of steps that are kept: fewer where each has shares of many experts. */
const keptSteps = ({ step: { model } }: TrainJob): number =>
  Math.min(mostKept, Math.max(64, 2 * Math.floor(mostShares / model.experts / 2)));

export interface TrainOptions {
  readonly job: TrainJob;
  /**
   * Runs the ranks; default: threads of this process. Ranks that are processes read the text themselves, and all hosts
   * must see the folders of checkpoints under the same paths.
   */
  readonly launcher?: Launcher;
  /** Emulates a cluster's network; without it bytes move at memory speed. */
  readonly fabric?: FabricOptions;
  readonly onReport?: (report: TrainReport) => void;
  /** Told once, before the ranks start: where the run begins, and what is worth knowing about it. */
  readonly onStart?: (start: TrainStart) => void;
  readonly signal?: AbortSignal;
}

export interface TrainResult {
  /** How many steps and evaluations there were. */
  readonly done: { readonly steps: number; readonly evaluations: number };
  /** Of a long run a few thousand, evenly over it, so that its length takes no memory (`Thinned`). */
  readonly steps: readonly StepReport[];
  /** Every step up to the last turn of the job's ways; none without turns. */
  readonly turnSteps: readonly TimedStep[];
  readonly evaluations: readonly { readonly step: number; readonly crossEntropy: number }[];
  readonly checkpoints: readonly CheckpointReport[];
  /** Measured spans of the traced steps. */
  readonly trace: Trace;
  /** Seconds for which the emulated network stood still because the machine had no processor for it. */
  readonly fabricLostSeconds: number;
  /** Bytes that passed each port of the emulated network, in the order of `portsOf(cluster)`; evaluation included. */
  readonly portBytes: Float64Array;
  /** By rank, the most that it held at a time: weights, gradients, moments, activations and buffers. */
  readonly peakBytes: readonly number[];
  /** By rank, what is predicted for what was routed when it held the most. */
  readonly foretoldBytes: readonly number[];
  /** The most that a rank took of its card, with what kernels took for themselves. */
  readonly peakDeviceBytes?: number;
}

/**
 * Trains and returns what was measured. Rejects with `InputError` when it can't start where it should, with
 * `RankFailure` when a rank fails, and with the signal's reason when stopped; a checkpoint that was being written then
 * is as if it never began.
 */
export async function train({
  job: asked,
  launcher = localLauncher,
  fabric,
  onReport,
  onStart,
  signal,
}: TrainOptions): Promise<TrainResult> {
  const { job, start } = prepareStart(asked);
  onStart?.(start);
  const ranks = worldSize(job.step.layout);
  const kept = new KeptReports(job);
  let fabricLostSeconds = 0;
  let portBytes = new Float64Array();
  const outcomes = (await launcher.launch({
    ranks,
    ...trainingMemory,
    workerModule: new URL('./train.worker.ts', import.meta.url),
    workerData: rankJob(job, launcher),
    fabric,
    trace: job.tracedSteps.length > 0,
    signal,
    onFabricReport: (report) => {
      fabricLostSeconds = report.lostSeconds;
      portBytes = Float64Array.from(report.portBytes);
    },
    onMessage: (_rank, message) => {
      const report = message as TrainReport;
      kept.add(report);
      onReport?.(report);
    },
  })) as RankOutcome[];
  const taken = outcomes.flatMap(({ peakDeviceBytes = [] }) => peakDeviceBytes);
  const source = fabric
    ? `measured on this machine; network emulated: ${fabric.cluster.name} at 1/${fabric.timeScale} of its speed`
    : `measured on ${launcher.place}${launcher === localLauncher ? '; ranks exchange at memory speed' : ''}`;
  const spans = outcomes.flatMap((outcome) => outcome.spans);
  return {
    ...kept.lists(),
    trace: { kind: 'measured', source, ranks, timeScale: fabric?.timeScale ?? 1, spans },
    fabricLostSeconds,
    portBytes,
    peakBytes: outcomes.map(({ peakBytes }) => peakBytes),
    foretoldBytes: outcomes.map(({ foretoldBytes }) => foretoldBytes),
    ...(taken.length === 0 ? {} : { peakDeviceBytes: maxOf(taken) }),
  };
}

/** What a run reports, thinned where it is long. */
class KeptReports {
  readonly #steps: Thinned<StepReport>;
  readonly #evaluations = new Thinned<{ step: number; crossEntropy: number }>();
  readonly #checkpoints = new Thinned<CheckpointReport>();
  readonly #turnSteps: TimedStep[] = [];
  readonly #turnsEnd: number;

  constructor(job: TrainJob) {
    this.#steps = new Thinned<StepReport>(keptSteps(job));
    this.#turnsEnd = job.turns === undefined ? 0 : lastTurn(job.turns.turns);
  }

  add(report: TrainReport): void {
    if (report.kind === 'step') {
      this.#steps.add(report);
      if (report.step <= this.#turnsEnd) this.#turnSteps.push({ step: report.step, seconds: report.seconds });
    } else if (report.kind === 'checkpoint') this.#checkpoints.add(report);
    else this.#evaluations.add({ step: report.step, crossEntropy: report.crossEntropy });
  }

  lists(): Pick<TrainResult, 'done' | 'steps' | 'turnSteps' | 'evaluations' | 'checkpoints'> {
    return {
      done: { steps: this.#steps.added, evaluations: this.#evaluations.added },
      steps: this.#steps.list(),
      turnSteps: this.#turnSteps,
      evaluations: this.#evaluations.list(),
      checkpoints: this.#checkpoints.list(),
    };
  }
}
