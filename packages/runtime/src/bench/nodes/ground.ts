/**
 * What a run over the ranks of a launcher is predicted from: links and collectives of every group of ranks, kernels,
 * and what ranks add to a pass, measured on them before. No layer that is measured afterwards goes into it.
 */
import type { Cluster, CollectiveCurves, Layout, Measurement, MoeShape, Probe, Strategy, Tier } from '@monta/core';
import { maxOf, median } from '@monta/core/units';
import { placedOn } from '@monta/core/layout';
import { dispatchProgram, dtypeBytes, priceKey } from '@monta/core/schedule';
import { CalibrationLookup, fitCalibration } from '@monta/core/cost';
import { dispatchVariants, layerPasses, probedStrategies } from '@monta/core/plan';
import { measureInTurns, type DispatchMeasurement, type RepeatedJob } from '../../execute/measure-dispatch.js';
import type { Launcher } from '../../launch/index.js';
import { fitKernelRates } from '../../probe/kernel-rates.js';
import { probeNetwork } from '../../probe/network.js';
import { benchWorkload, bindingOf, predictPass, readHost, type MachineProbe } from '../../probe/dispatch-predict.js';

export interface GroundRequest {
  readonly launcher: Launcher;
  /** How many nodes there are and how many ranks each has; its own figures of links are not looked at. */
  readonly cluster: Cluster;
  /** Layouts whose layers are measured later. */
  readonly layouts: readonly Layout[];
  /** In which rows travel. */
  readonly dtype: MoeShape['dtype'];
  /** What the layers that kernels are timed in are divided by, in width and volume; 1 unless given. */
  readonly smaller?: number | undefined;
  readonly onPhase?: (what: string) => void;
}

export interface Ground {
  readonly launcher: Launcher;
  /** With links as they are, measured or emulated. */
  readonly cluster: Cluster;
  /** Of collectives that were measured; without them links say what they take. */
  readonly curves?: CollectiveCurves;
  readonly probe: MachineProbe;
  /** Relative deviation of predictions from what is measured here, about a common factor. */
  readonly modelError: number;
}

/** Over a network whose links and collectives were measured. */
export interface CalibratedGround extends Ground {
  readonly curves: CollectiveCurves;
  readonly links: Probe;
  readonly measurements: readonly Measurement[];
  /** By tier, from the inside out: the most that anything reached from a rank in the calibration, bytes/s. */
  readonly lineRates: readonly number[];
  readonly seconds: number;
}

const routing = { kind: 'uniform' } as const;
const seed = 1;
/** Of the layers that the kernels are timed in. */
const probed = { hiddenSize: 4096, experts: 8, topK: 2 } as const;
/** Dispatched bytes of a replica, of those layers: apart enough to tell a kernel's rate from its overhead. */
const probedBytes = [4 * 2 ** 20, 32 * 2 ** 20];
const probedChunks = [1, 4];
/** Turns, and runs before the first. */
const [turns, warmUps] = [2, 1];
/** Rows of next to nothing: of what a card moves at a time, a few for every rank. */
const tiny = { rowElements: 8, tokensOfRank: 4 };

/** Measures. Takes some 20 seconds on cards, and two launches. */
export async function calibrateGround(request: GroundRequest): Promise<CalibratedGround> {
  const { launcher, cluster, layouts, dtype, smaller = 1, onPhase = () => undefined } = request;
  const start = performance.now();
  const [inner, outer] = cluster.tiers;
  const count = outer?.size ?? 1;
  onPhase('calibrating links and collectives');
  const network = await probeNetwork({ hosts: { launcher, count, ranksPerHost: inner.size } });
  const { calibration } = fitCalibration(network.measurements);
  const lineRates = cluster.tiers.map((_, tier) => lineRate(network.measurements, network.probe, tier, inner.size));
  const seen = asMeasured(cluster, network.probe, lineRates);
  const jobs = calibrationJobs(
    layouts.map((layout) => placedOn(layout, cluster)),
    { dtype, smaller },
  );
  onPhase(`timing kernels in ${jobs.length} layers`);
  const measured = await measureInTurns(jobs, { launcher });
  const isTiny = (index: number): boolean => jobs[index].job.shape.hiddenSize === tiny.rowElements;
  const kernels = fitKernelRates(
    measured.flatMap((ofJob, index) =>
      isTiny(index) ? [] : [{ program: programOf(ofJob[0]), spans: ofJob.flatMap(({ spans }) => spans) }],
    ),
  );
  const { cores } = network.hostCopying;
  const hostCores = { cores, ranksPerHost: network.hostCopying.ranks };
  const tinies = measured.filter((_, index) => isTiny(index)).flat();
  const probe = readHost(tinies, seen, { hostCores, kernels });
  const curves = new CalibrationLookup(calibration);
  return {
    launcher,
    cluster: seen,
    curves,
    probe,
    modelError: modelError(
      measured.filter((_, index) => !isTiny(index)),
      { seen, probe, curves },
    ),
    links: network.probe,
    measurements: network.measurements,
    lineRates,
    seconds: (performance.now() - start) / 1e3,
  };
}

/**
 * Layers of next to nothing and of two volumes: all that the first layout allows, and of other layouts what runs
 * kernels that were not timed before.
 */
function calibrationJobs(
  layouts: readonly Layout[],
  { dtype, smaller }: { readonly dtype: MoeShape['dtype']; readonly smaller: number },
): RepeatedJob[] {
  const seen = new Set<string>();
  const hiddenSize = probed.hiddenSize / smaller;
  const rowBytes = probed.topK * hiddenSize * dtypeBytes[dtype];
  return layouts.flatMap((layout, place) => {
    const shape: MoeShape = { ...probed, hiddenSize, tokens: 0, expertFfn: 1, layout, dtype };
    const sized = probedBytes.map((bytes) => ({ ...shape, tokens: Math.round(bytes / smaller / rowBytes) }));
    const all = probedStrategies(dispatchVariants(shape, probedChunks));
    const needed = strategiesOfKernels(sized[0], all, seen);
    const strategies = place === 0 ? all : needed;
    const nothing = { ...shape, hiddenSize: tiny.rowElements, tokens: tiny.tokensOfRank * layout.tp };
    return (place === 0 ? [nothing, ...sized] : sized).flatMap((of) =>
      strategies.map((strategy): RepeatedJob => ({
        job: { shape: of, strategy, passes: layerPasses, routing, seed, warmUps, repetitions: 1, trace: true },
        turns,
      })),
    );
  });
}

/** Of strategies those, in their order, whose dispatches together have every kernel that any has. */
export function strategiesOfKernels(shape: MoeShape, strategies: readonly Strategy[], seen = new Set<string>()) {
  return strategies.filter((strategy) => {
    const kernels = kernelsOf(shape, strategy).filter((key) => !seen.has(key));
    for (const key of kernels) seen.add(key);
    return kernels.length > 0;
  });
}

/** What the kernels of a layer are priced by. */
const kernelsOf = (shape: MoeShape, strategy: Strategy): string[] =>
  Object.values(dispatchProgram(shape, strategy, layerPasses).templates).flatMap(({ operations }) =>
    operations.flatMap(({ body, uses }) => (body.kind === 'kernel' ? [priceKey(body.name, uses)] : [])),
  );

const programOf = ({ job: { shape, strategy, passes } }: DispatchMeasurement) =>
  dispatchProgram(shape, strategy, passes);

/** Of layers that were measured several times, every pass: the standard deviation of log(predicted / median). */
function modelError(
  measured: readonly (readonly DispatchMeasurement[])[],
  { seen, probe, curves }: { readonly seen: Cluster; readonly probe: MachineProbe; readonly curves: CollectiveCurves },
): number {
  const logs = measured.flatMap((ofJob) => {
    const { shape, strategy } = ofJob[0].job;
    const workload = benchWorkload({ seen, shape, routing, seed, probe, curves });
    return layerPasses.map((pass, index) => {
      const { seconds } = predictPass({ workload, strategy, pass, binding: bindingOf(ofJob[0]), probe });
      return Math.log(seconds / median(ofJob.flatMap(({ passSeconds }) => passSeconds[index])));
    });
  });
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  return Math.sqrt(logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / logs.length);
}

/**
 * Bytes that a rank sends over a tier in a collective of groups of one rank a node, or of one node's ranks, a second.
 */
function lineRate(measurements: readonly Measurement[], { tiers }: Probe, tier: number, ranksPerNode: number): number {
  const rates = measurements.flatMap(({ op, ranks, nodes, bytes, seconds }) => {
    const crosses = tier === 0 ? nodes === 1 && ranks === ranksPerNode : nodes === ranks;
    if (!crosses || ranks < 2 || (op !== 'all_to_all' && op !== 'all_gather')) return [];
    return [(bytes * (1 - 1 / ranks)) / seconds];
  });
  return Math.max(tiers[tier]?.bytesPerSecond ?? 0, maxOf(rates), 0);
}

/**
 * Links as measured. Every rank has a port of its own: what ranks that send at once take from each other is in the
 * curves, which were measured with all of them at it.
 */
function asMeasured(cluster: Cluster, probe: Probe, lineRates: readonly number[]): Cluster {
  const tiers = cluster.tiers.map((tier, index): Tier => {
    const found = probe.tiers[index];
    if (found === undefined) return tier;
    return {
      ...tier,
      bytesPerSecond: lineRates[index],
      latencySeconds: found.latencySeconds,
      ports: index === 0 ? 1 : cluster.tiers[0].size,
      crossRailSlowdown: 1,
      railAligned: false,
    };
  });
  return { ...cluster, tiers, sources: [`measured over ${probe.system}`] };
}
