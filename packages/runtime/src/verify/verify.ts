/** Recomputes what a folder expects on given ranks and strategies, and tells the largest error of every quantity. */
import type { Layout, MoeModel, Payload, Strategy } from '@monta/core';
import { checkModelLayout, checkRunLayout, worldSize } from '@monta/core/layout';
import { greatestCommonDivisor } from '@monta/core/units';
import { localLauncher, type Launcher } from '../launch/index.js';
import { compareRounded, fp8Tolerances, roundedTolerances } from './compare-rounded.js';
import { tolerances, type Quantity, type QuantityError } from './quantity.js';
import { readExpected, type Expected } from './expected.js';
import type { Patch, RankComputation, VerifyJob } from './verify-rank.js';

/** A gradient this close is right, however small its tensor's largest. */
const absoluteGradient = 1e-6;

export interface Verification {
  readonly strategy: Strategy;
  /** What was compared, each with its largest error. */
  readonly quantities: readonly QuantityError[];
  /** Whether all are within tolerance. */
  readonly passed: boolean;
  /** Tokens of the longest slice of a replica: no expert gets more rows of one. */
  readonly sliceTokens: number;
}

/** What is verified: a folder, on a layout, with strategies. */
export interface VerifyCase {
  readonly folder: string;
  readonly layout: Layout;
  readonly strategies: readonly Strategy[];
}

export interface VerifyOptions {
  readonly signal?: AbortSignal;
  /** Runs the ranks; default: threads of this process. */
  readonly launcher?: Launcher;
  /** What the ranks compute in; default f32. In bf16 they take the routing of f32, and `roundedTolerances` hold. */
  readonly dtype?: 'f32' | 'bf16';
  /**
   * As what rows travel to their experts; default in f32. In fp8 the ranks take the routing of f32, and `fp8Tolerances`
   * hold.
   */
  readonly payload?: Payload | undefined;
}

/** What a rank takes of its machine's memory to begin with, bytes. */
export const verifyRankBytes = 64 * 2 ** 20;

/**
 * The job for a layout. The batch is repeated until its sequences divide among the replicas: means over it, and so
 * losses and gradients, are the same.
 */
function jobOf(
  expected: Expected,
  { folder, layout, strategies }: VerifyCase,
  { dtype = 'f32', payload }: Pick<VerifyOptions, 'dtype' | 'payload'>,
): VerifyJob {
  const { model, batch, sequence, ids, trajectory } = expected;
  const repeats = layout.dp / greatestCommonDivisor(batch, layout.dp);
  const travel = payload === undefined ? {} : { payload };
  return {
    folder,
    step: { model, sequence, sequences: (batch * repeats) / layout.dp, microBatches: 1, dtype, ...travel },
    layout,
    strategies,
    ids: ids.map((one) => Int32Array.from({ length: one.length * repeats }, (_, i) => one[i % one.length] ?? 0)),
    ...(trajectory === undefined ? {} : { trajectory }),
  };
}

/**
 * Verifies folders on layouts of equally many ranks, one after another in one job of ranks; for each case, what came of
 * each of its strategies. Throws `InputError` for a folder or layout that can't be used, rejects with `RankFailure`
 * when a rank fails.
 */
export async function verifyAll(cases: readonly VerifyCase[], options: VerifyOptions = {}): Promise<Verification[][]> {
  const expected = cases.map(({ folder, layout }) => {
    const read = readExpected(folder);
    checkRunLayout(layout);
    checkModelLayout(read.model, layout);
    return read;
  });
  const sizes = new Set(cases.map(({ layout }) => worldSize(layout)));
  const [ranks, ...others] = sizes;
  if (ranks === undefined) return [];
  if (others.length > 0)
    throw new RangeError(`cases of ${[...sizes].join(' and ')} ranks do not fit into one job of ranks`);
  const { launch } = options.launcher ?? localLauncher;
  const jobs = cases.map((one, index) => jobOf(expected[index], one, options));
  const results = (await launch({
    ranks,
    memoryBytes: verifyRankBytes,
    maximumMemoryBytes: 32 * verifyRankBytes,
    workerModule: new URL('./verify.worker.ts', import.meta.url),
    workerData: jobs,
    signal: options.signal,
  })) as RankComputation[][][];
  return cases.map(({ layout, strategies }, place) =>
    strategies.map((strategy, index) => {
      const computed = results.flatMap((ofRank) => ofRank[place]?.[index] ?? []);
      const limits = options.payload !== undefined ? fp8Tolerances : roundedTolerances;
      const exact = options.dtype !== 'bf16' && options.payload === undefined;
      const quantities = exact ? compare(expected[place], computed) : compareRounded(expected[place], computed, limits);
      const { sequence, sequences } = jobs[place].step;
      const sliceTokens = Math.ceil((sequence * sequences) / layout.tp);
      return { strategy, quantities, passed: quantities.every(({ passed }) => passed), sliceTokens };
    }),
  );
}

/** Verifies a folder on one layout, as `verifyAll`. */
export async function verify({
  signal,
  launcher,
  dtype,
  payload,
  ...one
}: VerifyCase & VerifyOptions): Promise<Verification[]> {
  const [results = []] = await verifyAll([one], { signal, launcher, dtype, payload });
  return results;
}

/** Keeps the largest error and where it was; NaN counts as infinite. */
class Largest {
  error = 0;
  where = '';

  see(error: number, where: () => string): void {
    const size = Number.isNaN(error) ? Infinity : Math.abs(error);
    if (size <= this.error) return;
    this.error = size;
    this.where = where();
  }

  result(quantity: Quantity): QuantityError {
    const tolerance = tolerances[quantity];
    return { quantity, error: this.error, tolerance, passed: this.error <= tolerance, where: this.where };
  }
}

function seePatch({
  largest,
  patch,
  rows,
  expected,
  name,
}: {
  readonly largest: Largest;
  readonly patch: Patch;
  readonly rows: number;
  readonly expected: (row: number, column: number) => number;
  readonly name: string;
}): void {
  for (let i = 0; i < patch.values.length; i++) {
    const row = (patch.row + Math.floor(i / patch.columns)) % rows;
    const column = patch.column + (i % patch.columns);
    largest.see((patch.values[i] ?? NaN) - expected(row, column), () => `${name}, token ${row}, column ${column}`);
  }
}

/**
 * Logarithms of a router's scores: of a sigmoid's element by element, of a softmax' row by row, which says what logits
 * say up to a constant.
 */
const logScores = (logits: Float32Array, { scoring, experts }: MoeModel): Float64Array =>
  scoring === 'sigmoid'
    ? Float64Array.from(logits, (logit) => -Math.log1p(Math.exp(-logit)))
    : logSoftmax(logits, experts);

function logSoftmax(logits: Float32Array, columns: number): Float64Array {
  const out = new Float64Array(logits.length);
  for (let start = 0; start < logits.length; start += columns) {
    const row = logits.subarray(start, start + columns);
    const largest = row.reduce((a, b) => Math.max(a, b), -Infinity);
    const sum = row.reduce((total, value) => total + Math.exp(value - largest), 0);
    row.forEach((value, i) => (out[start + i] = value - largest - Math.log(sum)));
  }
  return out;
}

/**
 * Of each gradient the smaller of two errors: relative to the tensor's largest expected gradient, and absolute in units
 * that make 1e-6 meet the tolerance. At most the tolerance exactly where one of the two limits is kept.
 */
function seeGradient(largest: Largest, name: string, actual: Float32Array | undefined, expected: Float32Array): void {
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (!actual || actual.length !== expected.length) {
    largest.see(
      Infinity,
      () => `${name}: ${actual ? `${actual.length} elements, not ${expected.length}` : 'not computed'}`,
    );
    return;
  }
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((actual[i] ?? NaN) - (expected[i] ?? NaN));
    const absolute = difference * (tolerances.gradients / absoluteGradient);
    largest.see(scale === 0 ? absolute : Math.min(difference / scale, absolute), () => `${name}[${i}]`);
  }
}

function compare(expected: Expected, computed: readonly RankComputation[]): QuantityError[] {
  const { model, batch, sequence } = expected;
  const rows = batch * sequence;
  const seen = {} as Record<Quantity, Largest>;
  for (const quantity of Object.keys(tolerances) as Quantity[]) seen[quantity] = new Largest();
  const reference = new Map([...expected.routerLogits].map(([layer, logits]) => [layer, logScores(logits, model)]));
  computed.forEach((one, rank) => {
    const at = (): string => `rank ${rank}`;
    seePatch({
      largest: seen.logits,
      patch: one.logits,
      rows,
      expected: (row, column) => expected.logits[row * model.vocabSize + column] ?? NaN,
      name: 'logits',
    });
    for (const [layer, log] of reference) {
      const patch = one.probabilities.get(layer);
      if (!patch) {
        seen['router logits'].see(Infinity, () => `layer ${layer}: not computed on rank ${rank}`);
        continue;
      }
      const logs = { ...patch, values: patch.values.map(Math.log) };
      seePatch({
        largest: seen['router logits'],
        patch: logs,
        rows,
        expected: (row, column) => log[row * model.experts + column] ?? NaN,
        name: `layer ${layer}`,
      });
    }
    seen.loss.see(one.loss - expected.loss, at);
    seen['auxiliary loss'].see(one.auxiliaryLoss - expected.auxiliaryLoss, at);
    seen['gradient norm'].see(one.gradientNorm / expected.gradientNorm - 1, at);
    expected.trajectory?.steps.forEach(([loss, norm], step) => {
      const [l, n] = one.trajectory[step] ?? [NaN, NaN];
      seen.trajectory.see(l - loss, () => `loss of step ${step + 1}`);
      seen.trajectory.see(n / norm - 1, () => `gradient norm of step ${step + 1}`);
    });
  });
  for (const [name, gradient] of expected.gradients ?? [])
    seeGradient(seen.gradients, name, computed[0]?.gradients.get(name), gradient);
  const checked = (Object.keys(tolerances) as Quantity[]).filter(
    (quantity) =>
      (quantity !== 'router logits' || reference.size > 0) &&
      (quantity !== 'gradients' || expected.gradients !== undefined) &&
      (quantity !== 'trajectory' || expected.trajectory !== undefined),
  );
  return checked.map((quantity) => seen[quantity].result(quantity));
}
