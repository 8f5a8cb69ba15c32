/** Estimated steps against published ones: errors of seconds, order by GPU and order of layouts. */
import { formatLayout } from '../layout/index.js';
import { median, quantile } from '../units/index.js';
import { linksOf } from '../cost/index.js';
import { stepConstants, type StepConstants } from './constants.js';
import { estimateStep } from './estimate-step.js';
import type { PublishedRun } from './published-runs.js';
import { runOfRow } from './run-of-row.js';
import type { RunSetting } from './run-setting.js';

export interface PricedRun {
  readonly row: PublishedRun;
  readonly setting: RunSetting;
  readonly measuredSeconds: number;
  /** Of a step. */
  readonly predictedSeconds: number;
  /** Relative to the measured seconds, with its sign. */
  readonly error: number;
  /** FLOP/s a GPU in Megatron-LM's convention, from either time. */
  readonly measuredFlopsPerGpu: number;
  /** The same, predicted. */
  readonly predictedFlopsPerGpu: number;
}

export interface RunErrors {
  /** How many rows were priced. */
  readonly rows: number;
  /** Of absolute relative errors. */
  readonly medianAbsoluteError: number;
  readonly p90AbsoluteError: number;
}

export interface RunsValidation extends RunErrors {
  /** Rows in the files. */
  readonly read: number;
  readonly unpriced: readonly { readonly row: PublishedRun; readonly why: string }[];
  readonly details: readonly PricedRun[];
  /** Errors of each model. */
  readonly byModel: readonly (RunErrors & { readonly name: string })[];
  /** Rank correlation of FLOP/s a GPU; GPUs with three rows and more. */
  readonly spearman: readonly { readonly gpu: string; readonly rows: number; readonly value: number }[];
  /** Layouts of one workload on the same GPUs whose measured times differ by over 5 %: how many are ordered right. */
  readonly pairs: { readonly compared: number; readonly right: number };
}

export function summariseErrors(errors: readonly number[]): RunErrors {
  const sizes = errors.map(Math.abs);
  return {
    rows: sizes.length,
    medianAbsoluteError: sizes.length === 0 ? Number.NaN : median(sizes),
    p90AbsoluteError: sizes.length === 0 ? Number.NaN : quantile(sizes, 0.9),
  };
}

/** Ranks from 1, ties sharing their mean. */
function ranks(values: readonly number[]): number[] {
  const order = [...values.keys()].sort((a, b) => (values[a] ?? 0) - (values[b] ?? 0));
  const result = values.map(() => 0);
  for (let start = 0; start < order.length;) {
    let end = start + 1;
    while (end < order.length && values[order[end] ?? 0] === values[order[start] ?? 0]) end++;
    for (const index of order.slice(start, end)) result[index] = (start + end + 1) / 2;
    start = end;
  }
  return result;
}

/** Spearman's rank correlation. */
export function spearman(a: readonly number[], b: readonly number[]): number {
  const [x, y] = [ranks(a), ranks(b)];
  const mean = (a.length + 1) / 2;
  let [xy, xx, yy] = [0, 0, 0];
  x.forEach((value, index) => {
    const [dx, dy] = [value - mean, (y[index] ?? mean) - mean];
    xy += dx * dy;
    xx += dx * dx;
    yy += dy * dy;
  });
  return xy / Math.sqrt(xx * yy);
}

function grouped<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const found = groups.get(key(item));
    if (found === undefined) groups.set(key(item), [item]);
    else found.push(item);
  }
  return groups;
}

const gpuOf = ({ setting }: PricedRun): string => linksOf(setting.cluster.device.name)?.name ?? setting.cluster.name;

/** What must be equal for two runs to differ in their layout alone. */
const workloadOf = (run: PricedRun): string => {
  const { model, precision, sequence, globalBatch } = run.setting;
  return [model.name, gpuOf(run), run.row.text('gpus'), precision, sequence, globalBatch].join(' ');
};

const layoutOf = ({ setting }: PricedRun): string =>
  [formatLayout(setting.layout), setting.virtualStages, setting.microBatch, setting.sharing].join(' ');

const apart = Math.log(1.05);

function orderedPairs(runs: readonly PricedRun[]): RunsValidation['pairs'] {
  let [compared, right] = [0, 0];
  for (const group of grouped(runs, workloadOf).values()) {
    const laid = group.map((run) => ({
      layout: layoutOf(run),
      measured: Math.log(run.measuredSeconds),
      predicted: Math.log(run.predictedSeconds),
    }));
    laid.forEach((a, index) => {
      for (let next = index + 1; next < laid.length; next++) {
        const b = laid[next] ?? a;
        if (a.layout === b.layout || Math.abs(a.measured - b.measured) < apart) continue;
        compared++;
        if ((a.measured - b.measured) * (a.predicted - b.predicted) > 0) right++;
      }
    });
  }
  return { compared, right };
}

/** Prices every row that says enough; the others are named with the reason. */
export function validateRuns(rows: readonly PublishedRun[], constants: StepConstants = stepConstants): RunsValidation {
  const unpriced: { row: PublishedRun; why: string }[] = [];
  const details: PricedRun[] = [];
  for (const row of rows) {
    const run = runOfRow(row);
    if (!run.known) {
      unpriced.push({ row, why: run.why });
      continue;
    }
    const { setting, measuredSeconds } = run;
    const { seconds, modelFlopsPerGpu } = estimateStep(setting, constants);
    details.push({
      row,
      setting,
      measuredSeconds,
      predictedSeconds: seconds,
      error: seconds / measuredSeconds - 1,
      predictedFlopsPerGpu: modelFlopsPerGpu,
      measuredFlopsPerGpu: (modelFlopsPerGpu * seconds) / measuredSeconds,
    });
  }
  return {
    ...summariseErrors(details.map(({ error }) => error)),
    read: rows.length,
    unpriced,
    details,
    byModel: [...grouped(details, ({ setting }) => setting.model.name)].map(([name, runs]) => ({
      name,
      ...summariseErrors(runs.map(({ error }) => error)),
    })),
    spearman: [...grouped(details, gpuOf)]
      .filter(([, runs]) => runs.length > 2)
      .map(([gpu, runs]) => ({
        gpu,
        rows: runs.length,
        value: spearman(
          runs.map(({ measuredFlopsPerGpu }) => measuredFlopsPerGpu),
          runs.map(({ predictedFlopsPerGpu }) => predictedFlopsPerGpu),
        ),
      })),
    pairs: orderedPairs(details),
  };
}
