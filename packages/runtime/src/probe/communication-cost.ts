/**
 * What communication costs where ranks share cores and move their bytes themselves: fitted to dispatches that were
 * measured. Two figures explain those that move next to nothing: core time of every collective, which adds up over all
 * that is under way on the host, and a delay, which does not. A third is needed where bytes leave the host: the core
 * time that the network's protocol takes for each.
 */
import type { Binding, Cluster, HostCores, KernelRate, LayerPass, MoeShape, Strategy, Workload } from '@monta/core';
import { InputError, minOf } from '@monta/core/units';
import { costModel, hostInputs } from '@monta/core/cost';
import { routedBinding, simulatePass } from '@monta/core/plan';

/** A dispatch with uniform routing, and how long it took. */
export interface TimedDispatch {
  readonly shape: MoeShape;
  readonly strategy: Strategy;
  readonly pass: LayerPass;
  /** From the moment when its first collective had all its members. */
  readonly seconds: number;
  /** Kernels as timed alone; without them they take no time. */
  readonly kernels?: ReadonlyMap<string, KernelRate>;
}

export interface CommunicationCost {
  /** Core seconds of a rank for each collective. */
  readonly coreSeconds: number;
  /** Added to every collective. */
  readonly delaySeconds: number;
  /** Bytes a second between hosts that a core moves; only where dispatches that tell it were measured. */
  readonly networkBytesPerSecond?: number;
  /** Root mean square of (simulated / measured - 1) at the figures found. */
  readonly error: number;
}

/** Where the dispatches ran. */
export interface CommunicationGround {
  /** Its latencies come on top of the delay: `withoutLatencies` where they are part of it. */
  readonly cluster: Cluster;
  readonly hostCores: HostCores;
}

/** The cluster without latencies, for a cost model whose collectives carry their own delay. */
export const withoutLatencies = (cluster: Cluster): Cluster => ({
  ...cluster,
  tiers: cluster.tiers.map((tier) => ({ ...tier, latencySeconds: 0 })),
});

/**
 * Share of the delay that passes while bytes flow. A rank that waits looks now and then: at the start for its peers, in
 * the end for the last byte; the delay is measured where there is nothing between the two. (With 0, 1/2 and 1,
 * dispatches of 1/4 to 4 MiB, which were not fitted, were foretold with root mean square errors of 12, 9 and 8 %
 * between two and two ranks at 400 Mbit/s, and of 15 % each between four and four at 2 Gbit/s; with 1, chunks looked
 * too cheap and were chosen where they lost 10 %.)
 */
const latencyOverlap = 0.5;

/**
 * The host's cores with what communication costs them. Only where ranks move their bytes themselves is the delay one of
 * looking; an emulated network's comes after the last byte.
 */
export const withCost = (hostCores: HostCores, cost: Omit<CommunicationCost, 'delaySeconds' | 'error'>): HostCores => ({
  ...hostCores,
  coreSecondsPerCollective: cost.coreSeconds,
  ...(hostCores.movers === undefined || cost.networkBytesPerSecond === undefined
    ? {}
    : { latencyOverlap, movers: { ...hostCores.movers, networkBytesPerSecond: cost.networkBytesPerSecond } }),
});

/** Factors by which the search varies a figure. */
const [coarse, fine] = [
  [3, 1.6],
  [1.3, 1.1],
];
/**
 * Where the search begins: core time and delay as shares of the shortest dispatch. Much of one explains a dispatch as
 * well as much of the other, so there is more than one valley.
 */
const startShares = [
  [1 / 20, 1 / 100],
  [1 / 40, 1 / 20],
  [1 / 200, 1 / 5],
] as const;
/** Below this share of the shortest dispatch, a figure might as well be 0. */
const negligible = 1e-4;
/** Bytes between hosts are expected to be moved at this share of the rate at which a core copies. */
const networkShare = 0.2;
/**
 * What a factor e away from the expected rate adds to the mean square of errors: next to nothing where dispatches tell
 * the rate, but where they do not (the line is slower than the cores) it stays where it is expected.
 */
const priorWeight = 1e-3;

/**
 * Least squares of the relative errors. The search goes down from several starts, coarse to fine: the errors are no
 * smooth function of the figures, since what a dispatch waits for changes with them. Needs dispatches of different
 * chunk counts: with one alone, core time and delay cannot be told apart. `bytes`: some of them move enough bytes to
 * tell what those cost; `hostCores` must have movers then. Throws `InputError` without any.
 */
export function fitCommunicationCost(
  timed: readonly TimedDispatch[],
  ground: CommunicationGround,
  { bytes = false }: { readonly bytes?: boolean } = {},
): CommunicationCost {
  if (timed.length === 0) throw new InputError('no dispatch was measured', { expected: 'one or more' });
  const shortest = minOf(timed.map(({ seconds }) => seconds));
  const least = shortest * negligible;
  const expected = bytes ? expectedRate(ground.hostCores) : undefined;
  const bound = timed.map((one): BoundDispatch => ({ ...one, binding: routedBinding(one.shape, routing, seed) }));
  const known = new Map<string, PartialError>();
  const errorAt = (figures: Figures, enough = Infinity): number => {
    const key = JSON.stringify(figures);
    const found = known.get(key) ?? { squares: 0, dispatches: 0 };
    known.set(key, found);
    const prior = priorWeight * distance(figures.networkBytesPerSecond, expected);
    const error = (): number => found.squares / bound.length + prior;
    for (; found.dispatches < bound.length && error() < enough; found.dispatches++) {
      const one = bound[found.dispatches];
      const off = simulatedSeconds(one, ground, figures) / one.seconds - 1;
      found.squares += off * off;
    }
    return error();
  };
  const descend = (from: Figures, by: readonly number[]): Figures => {
    let best = from;
    for (const stride of by)
      for (let improved = true; improved;) {
        improved = false;
        for (const next of neighbours(best, stride, least)) {
          const bar = errorAt(best);
          if (errorAt(next, bar) >= bar) continue;
          best = next;
          improved = true;
          break;
        }
      }
    return best;
  };
  const starts = startShares.map(([core, delay]) => ({
    coreSeconds: shortest * core,
    delaySeconds: shortest * delay,
    ...(expected === undefined ? {} : { networkBytesPerSecond: expected }),
  }));
  const best = descend(
    lowest(
      starts.map((start) => descend(start, coarse)),
      errorAt,
    ),
    fine,
  );
  const figure = (value: number): number => (value <= least ? 0 : value);
  return {
    ...best,
    coreSeconds: figure(best.coreSeconds),
    delaySeconds: figure(best.delaySeconds),
    error: Math.sqrt(errorAt(best) - priorWeight * distance(best.networkBytesPerSecond, expected)),
  };
}

/** With the rows that its routing draws, which are the same for all figures. */
interface BoundDispatch extends TimedDispatch {
  readonly binding: Binding;
}

type Figures = Omit<CommunicationCost, 'error'>;

/** Squares of errors so far: dispatches that no longer matter, because the others err too much, are not simulated. */
interface PartialError {
  squares: number;
  dispatches: number;
}

function expectedRate({ movers }: HostCores): number {
  if (movers === undefined) throw new RangeError('bytes cost nothing on a host without movers');
  return networkShare * movers.bytesPerSecond;
}

/** Square of the logarithm of what rates differ by. */
const distance = (found = 1, expected = 1): number => Math.log(found / expected) ** 2;

/** Core time and delay make up for each other, so they change together too. */
function neighbours(figures: Figures, stride: number, least: number): Figures[] {
  const steps = [stride, 1, 1 / stride];
  const changed = (value: number, factor: number): number => Math.max(value * factor, least);
  const { coreSeconds, delaySeconds, networkBytesPerSecond } = figures;
  const ofCollectives = steps
    .flatMap((a) => steps.map((b) => [a, b] as const))
    .filter(([a, b]) => a !== 1 || b !== 1)
    .map(([a, b]) => ({
      ...figures,
      coreSeconds: changed(coreSeconds, a),
      delaySeconds: changed(delaySeconds, b),
    }));
  if (networkBytesPerSecond === undefined) return ofCollectives;
  const ofBytes = [stride, 1 / stride].map((factor) => ({
    ...figures,
    networkBytesPerSecond: networkBytesPerSecond * factor,
  }));
  return [...ofCollectives, ...ofBytes];
}

/** The one with the smallest error; the first of equals. */
const lowest = (all: readonly Figures[], errorAt: (one: Figures) => number): Figures =>
  all.reduce((found, one) => (errorAt(one) < errorAt(found) ? one : found));

const routing = { kind: 'uniform' } as const;
const seed = 1;

function simulatedSeconds(
  { shape, strategy, pass, kernels, binding }: BoundDispatch,
  { cluster, hostCores }: CommunicationGround,
  figures: Figures,
): number {
  const { device } = cluster;
  const workload: Workload = {
    cluster,
    shape,
    routing,
    seed,
    model: costModel(kernels === undefined ? { ...device, memoryBytesPerSecond: Number.MAX_VALUE } : device, {
      inputs: hostInputs(figures.delaySeconds),
      inputSource: 'a fit',
      kernels: kernels ?? new Map(),
    }),
    hostCores: withCost(hostCores, figures),
    scope: 'dispatch',
  };
  const simulation = simulatePass(workload, strategy, pass, binding);
  if (!simulation.known) throw new InputError('this cannot be priced', { expected: simulation.missing.join('; ') });
  return simulation.summary.makespanSeconds;
}
