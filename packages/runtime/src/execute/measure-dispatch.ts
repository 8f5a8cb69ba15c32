/** Measures dispatch and combine on the ranks of a launcher. */
import type { MoeShape, Routing, Span, Strategy } from '@monta/core';
import { maxOf } from '@monta/core/units';
import { worldSize } from '@monta/core/layout';
import { localLauncher, type Launcher, type LaunchOptions } from '../launch/index.js';
import type { DispatchRun } from './dispatch-executor.js';

export interface DispatchJob {
  /** dtype: f32, or bf16 on cards. */
  readonly shape: MoeShape;
  readonly strategy: Strategy;
  readonly passes: readonly ('forward' | 'backward')[];
  readonly routing: Routing;
  readonly seed: number;
  readonly warmUps: number;
  readonly repetitions: number;
  readonly trace: boolean;
  /** Whether every repetition's result is compared with its closed form. Default: true. */
  readonly checked?: boolean;
}

/** What a rank returns for one job. */
export interface DispatchRankResult {
  readonly repetitions: readonly (readonly DispatchRun[])[];
  readonly spans: readonly Span[];
  readonly counts: Int32Array;
  readonly peakBytes: number;
  /** Bytes sent to each rank in all repetitions, where the backend counts them by peer. */
  readonly sentBytes?: Float64Array;
}

export interface DispatchMeasurement {
  readonly job: DispatchJob;
  /** By repetition: seconds from the last rank's start to the last rank's end, added over the passes. */
  readonly seconds: readonly number[];
  /** The same by pass, [pass][repetition]. */
  readonly passSeconds: readonly (readonly number[])[];
  /**
   * Largest difference from the closed form, of any rank, pass and repetition that was checked; row elements lie in
   * [-1, 1).
   */
  readonly error: number;
  /** By rank: [source][expert] rows of its expert group, to bind a simulation to. */
  readonly counts: readonly Int32Array[];
  /** Of all ranks; `step` counts repetitions. */
  readonly spans: readonly Span[];
  /** Largest bytes of buffers on a rank. */
  readonly peakBytes: number;
}

export interface MeasureDispatchOptions {
  /** All of one number of ranks; they run one after another in one job. */
  readonly jobs: readonly DispatchJob[];
  /** Runs the ranks; default: threads of this process. */
  readonly launcher?: Launcher;
  readonly fabric?: LaunchOptions['fabric'];
  /** Seconds for which the emulated network stood still for want of a processor. */
  readonly onLostSeconds?: (seconds: number) => void;
  readonly signal?: AbortSignal;
}

const initialMemoryBytes = 64 * 2 ** 20;

/** Runs the jobs and returns what was measured, in their order. Rejects with `RankFailure` when a rank fails. */
export async function measureDispatch(options: MeasureDispatchOptions): Promise<DispatchMeasurement[]> {
  const { jobs, launcher = localLauncher, fabric, signal, onLostSeconds } = options;
  const sizes = new Set(jobs.map(({ shape }) => worldSize(shape.layout)));
  if (sizes.size > 1) throw new RangeError(`the jobs have ${[...sizes].join(' and ')} ranks, expected one number`);
  const [ranks] = sizes;
  if (ranks === undefined) return [];
  const results = (await launcher.launch({
    ranks,
    memoryBytes: initialMemoryBytes,
    workerModule: new URL('./dispatch.worker.ts', import.meta.url),
    workerData: jobs,
    trace: jobs.some(({ trace }) => trace),
    ...(fabric === undefined ? {} : { fabric }),
    ...(signal === undefined ? {} : { signal }),
    ...(onLostSeconds === undefined
      ? {}
      : { onFabricReport: ({ lostSeconds }: { lostSeconds: number }) => onLostSeconds(lostSeconds) }),
  })) as DispatchRankResult[][];
  return jobs.map((job, index) =>
    measurement(
      job,
      results.map((ofRank) => ofRank[index]),
    ),
  );
}

/** A job that runs in several turns; its warm-ups come before the first. */
export interface RepeatedJob {
  readonly job: DispatchJob;
  readonly turns: number;
}

/**
 * Runs jobs in turns, all in one launch, so that what disturbs the machine for a while disturbs them alike. Returns the
 * measurements of each, turn by turn.
 */
export async function measureInTurns(
  repeated: readonly RepeatedJob[],
  options: Omit<MeasureDispatchOptions, 'jobs'>,
): Promise<DispatchMeasurement[][]> {
  const most = Math.max(0, maxOf(repeated.map(({ turns }) => turns)));
  const plan = Array.from({ length: most }, (_, turn) =>
    repeated.flatMap(({ job, turns }, index) =>
      turn < turns ? [{ index, job: turn === 0 ? job : { ...job, warmUps: 0 } }] : [],
    ),
  ).flat();
  const measured = await measureDispatch({ ...options, jobs: plan.map(({ job }) => job) });
  const results = repeated.map((): DispatchMeasurement[] => []);
  plan.forEach(({ index }, at) => results[index].push(measured[at]));
  return results;
}

/** What the ranks of a job returned, put together. */
export function measurement(job: DispatchJob, ranks: readonly DispatchRankResult[]): DispatchMeasurement {
  const passSeconds = job.passes.map((_, pass) =>
    Array.from({ length: job.repetitions }, (__, repetition) => {
      const runs = ranks.map(({ repetitions }) => repetitions[repetition][pass]);
      return maxOf(runs.map(({ end }) => end)) - maxOf(runs.map(({ start }) => start));
    }),
  );
  const errors = ranks.flatMap(({ repetitions }) => repetitions.flat().flatMap(({ error }) => error ?? []));
  return {
    job,
    passSeconds,
    seconds: Array.from({ length: job.repetitions }, (_, i) => passSeconds.reduce((sum, pass) => sum + pass[i], 0)),
    error: errors.some(Number.isNaN) ? NaN : Math.max(0, maxOf(errors)),
    counts: ranks.map(({ counts }) => counts),
    spans: ranks.flatMap(({ spans }) => spans),
    peakBytes: maxOf(ranks.map(({ peakBytes }) => peakBytes)),
  };
}
