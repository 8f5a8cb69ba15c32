/**
 * A model of the cluster to scale, as with ships in a basin: a share of the volume over the same share of every
 * bandwidth, and all times stretched by one factor, latencies too. Then every ratio of times is that of the full size,
 * and a machine that moves far fewer bytes than the cluster can carry them.
 */
import type { Cluster } from '../cluster/index.js';
import { costModel, hostInputs } from '../cost/index.js';
import type { Routing } from '../routing/index.js';
import { dtypeBytes, type MoeShape } from '../schedule/index.js';
import { traffic } from '../traffic/index.js';
import { InputError, maxOf } from '../units/index.js';
import { layerPasses, type DispatchVariant } from './dispatch-variants.js';
import { passProgram, routedBinding, simulatePass, type Workload } from './workload.js';

export interface EmulationScale {
  /** Volume here over volume at full size. */
  readonly volumeShare: number;
  /** Seconds here for a second of the cluster. */
  readonly timeScale: number;
  /** In float32, fewer and narrower rows. */
  readonly shape: MoeShape;
  /**
   * Where the shape computes: of the time that its products should take beside what travels, so many times as much as
   * on the cluster, the share that they are wide enough for; memory bounds their width.
   */
  readonly computeShare?: number;
  /** The cluster with bandwidths times `volumeShare`: the fabric stretches its times. */
  readonly emulated: Cluster;
  /** The cluster as the ranks see it: bandwidths times volumeShare / timeScale, latencies times timeScale. */
  readonly seen: Cluster;
}

export interface EmulationRequest {
  readonly cluster: Cluster;
  /** At full size, in the model's type. */
  readonly shape: MoeShape;
  readonly routing: Routing;
  readonly seed: number;
  readonly variants: readonly DispatchVariant[];
  /** Seconds that one run of every variant, forward and backward, may take in all. */
  readonly roundSeconds: number;
  /**
   * Bytes a second, of all ranks, that the emulation may move: a small part of what the machine can, so that its load
   * does not count.
   */
  readonly bytesPerSecond: number;
  /** Chosen when left out. */
  readonly timeScale?: number;
  /** Matrix products of a rank on this machine, FLOP/s, where the shape computes beside what travels. */
  readonly flopsPerSecond?: number;
}

/**
 * Tokens that each TP rank keeps at least, and rows that a chunk of a slice has for an expert on average, so that no
 * chunk is empty.
 */
const [fewestTokens, rowsOfChunk] = [64, 2];
/** Narrowest row, elements: below it, counts and indices would weigh more than rows. */
const narrowest = 16;

const withTiers = (cluster: Cluster, bandwidth: number, latency: number): Cluster => ({
  ...cluster,
  tiers: cluster.tiers.map((tier) => ({
    ...tier,
    bytesPerSecond: tier.bytesPerSecond * bandwidth,
    latencySeconds: tier.latencySeconds * latency,
  })),
});

/** Seconds and bytes of every variant, both passes together, at full size on a network without hosts. */
function fullSize(request: EmulationRequest): { seconds: number; bytes: number }[] {
  const { cluster, shape, routing, seed } = request;
  const binding = routedBinding(shape, routing, seed);
  const model = costModel(
    { ...cluster.device, memoryBytesPerSecond: Number.MAX_VALUE },
    {
      inputs: hostInputs(0),
    },
  );
  const workload: Workload = { cluster, shape, routing, seed, model, scope: 'dispatch' };
  return request.variants.map(({ strategy }) => {
    let [seconds, bytes] = [0, 0];
    for (const pass of layerPasses) {
      const simulation = simulatePass(workload, strategy, pass, binding);
      if (!simulation.known) throw new InputError('this cannot be priced', { expected: simulation.missing.join('; ') });
      seconds += simulation.summary.makespanSeconds;
      const program = passProgram(workload, strategy, pass);
      const { sent } = traffic({ program, layout: shape.layout, cluster, binding });
      for (const row of sent) for (const amount of row) bytes += amount;
    }
    return { seconds, bytes };
  });
}

/**
 * Chooses the scale: the time scale from the seconds that may pass, then the volume from the bytes that the machine may
 * move meanwhile.
 */
export function emulationScale(request: EmulationRequest): EmulationScale {
  const { roundSeconds, bytesPerSecond } = request;
  const full = fullSize(request);
  const total = full.reduce((sum, { seconds }) => sum + seconds, 0);
  const timeScale = request.timeScale ?? (total > 0 ? roundSeconds / total : 1);
  const busiest = maxOf(full.map(({ seconds, bytes }) => (seconds > 0 ? bytes / seconds : 0)));
  const wanted = busiest > 0 ? Math.min(1, (bytesPerSecond * timeScale) / busiest) : 1;
  return scaled(request, wanted, timeScale);
}

const elements = (of: MoeShape): number => of.tokens * of.hiddenSize * dtypeBytes[of.dtype];

/** Bytes of a rank that weights, their gradients and inner rows of what is computed may take. */
const mostComputeBytes = 64 * 2 ** 20;
/** Of a GPU's peak, what its products reach. */
const shareOfPeak = 0.6;

/**
 * Widths of what is computed: its products take on this machine, beside what travels here, what they take on the
 * cluster beside what travels there, as far as memory lets them.
 */
function widened(
  { cluster: { device }, shape, flopsPerSecond = 0 }: EmulationRequest,
  narrow: MoeShape,
  timeScale: number,
): { readonly here: MoeShape; readonly computeShare?: number } {
  const { computes = [], layout, shared } = shape;
  if (computes.length === 0 || flopsPerSecond === 0) return { here: narrow };
  const there = device.flopsPerSecond.bf16 * shareOfPeak;
  const factor = ((elementsOf(shape) / elementsOf(narrow)) * timeScale * flopsPerSecond) / there;
  const { hiddenSize, tokens } = narrow;
  const rows = (narrow.tokens * narrow.topK) / layout.ep;
  const expertsHere = narrow.experts / layout.ep;
  const width = (wanted: number, of: number, bytesOfColumn: number): number =>
    of * Math.max(1, Math.round(Math.min(wanted, (of * mostComputeBytes) / bytesOfColumn) / of));
  const bytes = dtypeBytes.f32;
  const expertFfn = width(factor * shape.expertFfn, layout.etp, bytes * (6 * expertsHere * hiddenSize + 6 * rows));
  const sharedFfn =
    shared === undefined ? undefined : width(factor * shared.ffn, layout.tp, bytes * (6 * hiddenSize + 6 * tokens));
  const here = {
    ...narrow,
    expertFfn,
    ...(shared === undefined || sharedFfn === undefined ? {} : { shared: { ...shared, ffn: sharedFfn } }),
  };
  const [had, have] = computes.includes('shared') ? [shared?.ffn ?? 1, sharedFfn ?? 1] : [shape.expertFfn, expertFfn];
  return { here, computeShare: have / (had * factor) };
}

const elementsOf = ({ tokens, hiddenSize }: MoeShape): number => tokens * hiddenSize;

/** The scale whose volume share is nearest to `wanted`: fewer tokens first, then narrower rows. */
function scaled(request: EmulationRequest, wanted: number, timeScale: number): EmulationScale {
  const { cluster, shape, variants } = request;
  const rowElements = (wanted * shape.tokens * shape.hiddenSize * dtypeBytes[shape.dtype]) / dtypeBytes.f32;
  const chunks = maxOf(variants.map(({ strategy }) => Math.max(strategy.chunks.forward, strategy.chunks.backward)));
  const perRank = Math.max(fewestTokens, Math.ceil((rowsOfChunk * chunks * shape.experts) / shape.topK));
  const tokens = Math.min(shape.tokens, shape.layout.tp * perRank);
  const hiddenSize = Math.max(narrowest, Math.min(shape.hiddenSize, Math.round(rowElements / tokens)));
  const narrow: MoeShape = { ...shape, tokens, hiddenSize, dtype: 'f32' };
  const { here, computeShare } = widened(request, narrow, timeScale);
  const volumeShare = elements(here) / elements(shape);
  return {
    volumeShare,
    timeScale,
    shape: here,
    ...(computeShare === undefined ? {} : { computeShare }),
    emulated: withTiers(cluster, volumeShare, 1),
    seen: withTiers(cluster, volumeShare / timeScale, timeScale),
  };
}

/** Faster than any memory, so that only the mover counts. */
const unlimited = 1e15;

/** No network: bytes at memory speed, in a volume whose cases take all of `roundSeconds` together. */
export function memorySpeedScale(request: EmulationRequest): EmulationScale {
  const { cluster, roundSeconds, bytesPerSecond } = request;
  const bytes = fullSize(request).reduce((sum, one) => sum + one.bytes, 0);
  const wanted = bytes > 0 ? Math.min(1, (bytesPerSecond * roundSeconds) / bytes) : 1;
  const scale = scaled(request, wanted, 1);
  const tiers = cluster.tiers.map((tier) => ({ ...tier, bytesPerSecond: unlimited, latencySeconds: 0 }));
  return { ...scale, emulated: { ...cluster, tiers }, seen: { ...cluster, tiers } };
}
