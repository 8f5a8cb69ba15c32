/**
 * What a collective costs where ranks share cores and move their own bytes, as processes over MPI do: fitted to dispatches that move next to
 * nothing, in few and in many chunks. Two figures explain them: core time, which adds up over all that is under way on the host, and a
 * delay, which does not.
 */
import {
  costModel,
  InputError,
  routedBinding,
  simulatePass,
  type Cluster,
  type HostCores,
  type KernelRate,
  type LayerPass,
  type MoeShape,
  type Strategy,
  type Workload,
} from '@monta/core';

/** A dispatch that moved next to nothing, and how long it took. */
export interface EmptyDispatch {
  readonly shape: MoeShape;
  readonly strategy: Strategy;
  readonly pass: LayerPass;
  /** From the moment when its first collective had all its members. */
  readonly seconds: number;
}

export interface CollectiveCost {
  /** Core seconds of a rank for each collective. */
  readonly coreSeconds: number;
  /** Added to every collective. */
  readonly delaySeconds: number;
  /** Root mean square of (simulated / measured - 1) at the figures found. */
  readonly error: number;
}

/** Where the dispatches ran. */
export interface CollectiveGround {
  /** Its latencies count for nothing here: the delay of collectives holds them. */
  readonly cluster: Cluster;
  readonly hostCores: HostCores;
  /** Kernels as timed alone; without them they take no time. */
  readonly kernels?: ReadonlyMap<string, KernelRate>;
}

/** The cluster without latencies, for a cost model whose collectives carry their own delay. */
export const withoutLatencies = (cluster: Cluster): Cluster => ({
  ...cluster,
  tiers: cluster.tiers.map((tier) => ({ ...tier, latencySeconds: 0 })),
});

/** Share of a figure by which it is varied to see what it does. */
const nudge = 0.05;
const iterations = 8;

/**
 * Least squares of the relative errors, by Gauss and Newton; neither figure goes below 0. Needs dispatches of different chunk counts: with one
 * alone, the two figures cannot be told apart. Throws `InputError` without any.
 */
export function fitCollectiveCost(empty: readonly EmptyDispatch[], ground: CollectiveGround): CollectiveCost {
  if (empty.length === 0) throw new InputError('no dispatch was measured', { expected: 'one or more' });
  const errors = (cost: Figures): number[] => empty.map((one) => simulatedSeconds(one, ground, cost) / one.seconds - 1);
  // From the shortest: all its time is one or the other.
  const shortest = Math.min(...empty.map(({ seconds }) => seconds));
  let best: Figures = [shortest / 100, shortest / 20];
  let found = errors(best);
  for (let iteration = 0; iteration < iterations; iteration++) {
    const step = [best[0] || shortest / 1000, best[1] || shortest / 1000].map((figure) => figure * nudge);
    const byCore = differences(errors([best[0] + step[0], best[1]]), found, step[0]);
    const byDelay = differences(errors([best[0], best[1] + step[1]]), found, step[1]);
    const next = solve(best, found, byCore, byDelay);
    const errorsNext = errors(next);
    if (meanSquare(errorsNext) >= meanSquare(found)) break;
    [best, found] = [next, errorsNext];
  }
  const [coreSeconds, delaySeconds] = best;
  return { coreSeconds, delaySeconds, error: Math.sqrt(meanSquare(found)) };
}

/** Core seconds and delay of a collective. */
type Figures = readonly [number, number];

const meanSquare = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value * value, 0) / values.length;

const differences = (after: readonly number[], before: readonly number[], step: number): number[] =>
  after.map((value, index) => (value - before[index]) / step);

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, i) => sum + value * b[i], 0);

/** The figures at which the linearized errors are least, none below 0. */
function solve([a, b]: Figures, errors: readonly number[], byA: readonly number[], byB: readonly number[]): Figures {
  const alone = (at: number, slopes: readonly number[], base: readonly number[]): number =>
    Math.max(0, at - dot(slopes, base) / (dot(slopes, slopes) || 1));
  const [aa, ab, bb] = [dot(byA, byA), dot(byA, byB), dot(byB, byB)];
  const determinant = aa * bb - ab * ab;
  if (determinant > 1e-9 * aa * bb) {
    const [ea, eb] = [dot(byA, errors), dot(byB, errors)];
    const [nextA, nextB] = [a - (ea * bb - eb * ab) / determinant, b - (eb * aa - ea * ab) / determinant];
    if (nextA >= 0 && nextB >= 0) return [nextA, nextB];
  }
  // On the border, where one of them is 0.
  const withoutA = errors.map((error, i) => error - a * byA[i]);
  const withoutB = errors.map((error, i) => error - b * byB[i]);
  const onB: Figures = [0, alone(b, byB, withoutA)];
  const onA: Figures = [alone(a, byA, withoutB), 0];
  const left = ([x, y]: Figures): number =>
    meanSquare(errors.map((error, i) => error + (x - a) * byA[i] + (y - b) * byB[i]));
  return left(onA) < left(onB) ? onA : onB;
}

function simulatedSeconds(
  { shape, strategy, pass }: EmptyDispatch,
  { cluster, hostCores, kernels }: CollectiveGround,
  [coreSeconds, delaySeconds]: Figures,
): number {
  const { multiprocessors: _, ...device } = cluster.device;
  const workload: Workload = {
    cluster: withoutLatencies(cluster),
    shape,
    routing: { kind: 'uniform' },
    seed: 1,
    model: costModel(kernels === undefined ? { ...device, memoryBytesPerSecond: Number.MAX_VALUE } : device, {
      inputs: {
        kernelOverheadSeconds: 0,
        hostOverheadSeconds: 0,
        hostRunsKernels: false,
        collectiveOverheadSeconds: delaySeconds,
      },
      inputSource: 'a fit',
      kernels: kernels ?? new Map(),
    }),
    hostCores: { ...hostCores, collectiveSeconds: coreSeconds },
    scope: 'dispatch',
  };
  const simulation = simulatePass(workload, strategy, pass, routedBinding(shape, workload.routing, workload.seed));
  if (!simulation.known) throw new InputError('this cannot be priced', { expected: simulation.missing.join('; ') });
  return simulation.summary.makespanSeconds;
}
