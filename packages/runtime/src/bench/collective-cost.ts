/**
 * What a collective costs where ranks share cores: fitted to dispatches that move next to
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
  /** Its latencies come on top of the delay: `withoutLatencies` where they are part of it. */
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

/** Factors by which the search varies a figure, coarse to fine. */
const strides = [4, 2, 1.4, 1.15, 1.05];
/** Below this share of the shortest dispatch, a figure might as well be 0. */
const negligible = 1e-4;

/**
 * Least squares of the relative errors. The search goes down from step to step, coarse to fine: the errors are no smooth function of the figures,
 * since what a dispatch waits for changes with them. Needs dispatches of different chunk counts: with one alone, the two figures cannot be
 * told apart. Throws `InputError` without any.
 */
export function fitCollectiveCost(empty: readonly EmptyDispatch[], ground: CollectiveGround): CollectiveCost {
  if (empty.length === 0) throw new InputError('no dispatch was measured', { expected: 'one or more' });
  const shortest = Math.min(...empty.map(({ seconds }) => seconds));
  const least = shortest * negligible;
  const known = new Map<string, number>();
  const errorAt = (figures: Figures): number => {
    const key = figures.map((figure) => figure.toExponential(6)).join();
    const error =
      known.get(key) ?? meanSquare(empty.map((one) => simulatedSeconds(one, ground, figures) / one.seconds - 1));
    known.set(key, error);
    return error;
  };
  let best: Figures = [shortest / 40, shortest / 10];
  for (const stride of strides)
    for (let improved = true; improved;) {
      const [core, delay] = best;
      const around = [stride, 1, 1 / stride].flatMap((a) =>
        [stride, 1, 1 / stride].map((b): Figures => [clip(core * a, least), clip(delay * b, least)]),
      );
      const next = around.reduce((found, one) => (errorAt(one) < errorAt(found) ? one : found), best);
      improved = errorAt(next) < errorAt(best);
      best = next;
    }
  const [coreSeconds, delaySeconds] = best.map((figure) => (figure <= least ? 0 : figure)) as [number, number];
  return { coreSeconds, delaySeconds, error: Math.sqrt(errorAt(best)) };
}

/** Core seconds and delay of a collective. */
type Figures = readonly [number, number];

const clip = (figure: number, least: number): number => Math.max(figure, least);

const meanSquare = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value * value, 0) / values.length;

function simulatedSeconds(
  { shape, strategy, pass }: EmptyDispatch,
  { cluster, hostCores, kernels }: CollectiveGround,
  [coreSeconds, delaySeconds]: Figures,
): number {
  const { multiprocessors: _, ...device } = cluster.device;
  const workload: Workload = {
    cluster,
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
