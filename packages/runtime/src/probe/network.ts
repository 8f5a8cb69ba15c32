/**
 * Probes a backend: the emulated network of a cluster, memory between threads, hosts over MPI, or cards over NCCL.
 * Results are in the cluster's own time: what an emulation slowed down is divided out again.
 */
import { cpus } from 'node:os';
import { deviceCount, type Cluster } from '@monta/core/cluster';
import type { Measurement, MeasuredOp, Probe } from '@monta/core/cost';
import { maxOf, minOf } from '@monta/core/units';
import { firstCard } from '../device/cuda/bindings/index.js';
import type { MoverReport } from '../comm/local/mover.worker.js';
import { localLauncher, type Launcher } from '../launch/index.js';
import type { HostCopying, NetworkProbeData, NetworkRankResult, ProbeProgress } from './network-rank.js';

export interface NetworkProbeOptions {
  /** Emulates this cluster's network; without it bytes move at memory speed. */
  readonly emulated?: { readonly cluster: Cluster; readonly timeScale: number };
  /** Threads of the memory backend. */
  readonly ranks?: number;
  /** Ranks over MPI or NCCL, in place of both. */
  readonly hosts?: { readonly launcher: Launcher; readonly count: number; readonly ranksPerHost: number };
  /** Measures links alone, without collectives and products. */
  readonly linksOnly?: boolean;
  readonly ops?: readonly MeasuredOp[];
  /** Of every transfer; the shortest counts on an emulated network, else the lower quartile. */
  readonly repetitions?: number;
  /** Called as parts are done. */
  readonly onProgress?: (done: string) => void;
  readonly signal?: AbortSignal;
}

export interface NetworkProbeResult {
  /** What was measured of links and products. */
  readonly probe: Probe;
  readonly measurements: readonly Measurement[];
  readonly hostCopying: HostCopying;
  /** Seconds for which the emulated network stood still for want of a processor, in the whole job. */
  readonly lostSeconds: number;
  /** Of the whole job. */
  readonly wallSeconds: number;
}

const defaultOps: readonly MeasuredOp[] = ['all_to_all', 'all_gather', 'reduce_scatter', 'all_reduce'];

/** What a transfer must take at least, in real time: far above the wake-ups of threads on a busy machine. */
const emulatedTransferSeconds = 0.03;
const memoryTransferSeconds = 0.001;
/** Well above what a shaped link lets through at once before its rate holds. */
const hostsTransferSeconds = 0.05;
/** Latencies of an emulated network are stretched to at least this, real time. */
const emulatedLatencySeconds = 0.01;
/** What the mover carries without effort, all ports together, bytes/s. */
const easyBytesPerSecond = 200e6;
const easyPacketsPerSecond = 12000;
const [smallestPacket, largestPacket] = [1 << 10, 32 << 10];
const maximumBytes = 16 << 20;
/** Of cards, whose links carry as much in a millisecond or less. */
const cardMaximumBytes = 256 << 20;
/** Sizes of collectives, as parts of the size at which a pair's transfer is well above noise. */
const sizeFactors = [1 / 8, 1 / 2, 1, 2];
/** Of cards, whose layers are cut into chunks far below that size. */
const cardSizeFactors = [1 / 1024, 1 / 256, 1 / 64, 1 / 16, 1 / 4, 1, 2];
const mebibyte = 2 ** 20;

const gemmShapes = [
  [64, 64, 64],
  [128, 128, 128],
  [256, 256, 256],
  [512, 512, 512],
  [64, 512, 512],
  [512, 64, 512],
  [512, 512, 64],
  [1024, 256, 512],
] as const;

/**
 * A factor at which this machine emulates the cluster with room to spare: latencies of at least 10 ms, and all devices
 * together no more than the mover carries easily.
 */
export function easyTimeScale(cluster: Cluster): number {
  const latencies = cluster.tiers.map((tier) => tier.latencySeconds).filter((seconds) => seconds > 0);
  const fastest = maxOf(cluster.tiers.map((tier) => tier.bytesPerSecond));
  const forLatency = latencies.length === 0 ? 1 : emulatedLatencySeconds / minOf(latencies);
  return Math.ceil(Math.max(1, forLatency, (fastest * deviceCount(cluster)) / easyBytesPerSecond));
}

/** Small packets divide ports finely between flows; as small as the mover can serve. */
function packetBytes(cluster: Cluster, timeScale: number): number {
  const fastest = maxOf(cluster.tiers.map((tier) => tier.bytesPerSecond)) / timeScale;
  const wanted = (fastest * deviceCount(cluster)) / easyPacketsPerSecond;
  return Math.min(largestPacket, Math.max(smallestPacket, 2 ** Math.ceil(Math.log2(wanted))));
}

function tiersOf({ emulated, hosts, ranks = 4 }: NetworkProbeOptions): NetworkProbeData['tiers'] {
  if (emulated !== undefined) return emulated.cluster.tiers.map(({ name, size }) => ({ name, size }));
  if (hosts === undefined) return [{ name: 'memory', size: ranks }];
  const { count, ranksPerHost } = hosts;
  const inside = { name: 'host', size: ranksPerHost };
  return count === 1 ? [inside] : [inside, { name: 'network', size: count }];
}

/** Large enough to fill a card. */
const cardGemmShapes = [
  [1024, 1024, 1024],
  [2048, 2048, 2048],
  [4096, 4096, 4096],
  [8192, 8192, 8192],
  [4096, 14336, 4096],
  [4096, 4096, 14336],
] as const;

/** What every rank of the probe is told. */
function probeData(options: NetworkProbeOptions): NetworkProbeData {
  const { emulated, hosts, linksOnly = false, ops = defaultOps, repetitions = 5 } = options;
  const onCards = hosts?.launcher.device === 'cuda';
  const transferSeconds = hosts === undefined ? memoryTransferSeconds : hostsTransferSeconds;
  return {
    tiers: tiersOf(options),
    linksOnly,
    ops,
    repetitions,
    emulated: emulated !== undefined,
    transferSeconds: emulated === undefined ? transferSeconds : emulatedTransferSeconds,
    maximumBytes: onCards ? cardMaximumBytes : maximumBytes,
    together: onCards,
    sizeFactors: onCards ? cardSizeFactors : sizeFactors,
    gemmShapes: onCards ? cardGemmShapes : gemmShapes,
  };
}

/** The emulated network of a probe; its mover makes up for time without a processor, so that rates stay exact. */
const fabricOf = (emulated: NonNullable<NetworkProbeOptions['emulated']>) => ({
  ...emulated,
  scheduler: {
    packetBytes: packetBytes(emulated.cluster, emulated.timeScale),
    coalesceSeconds: 0,
    catchUpSeconds: 0.25,
  },
});

/** Measures links, collectives, matrix products and interference. Takes seconds to minutes. */
export async function probeNetwork(options: NetworkProbeOptions = {}): Promise<NetworkProbeResult> {
  const { emulated, hosts } = options;
  const data = probeData(options);
  const ranks = data.tiers.reduce((product, { size }) => product * size, 1);
  let report: MoverReport | undefined;
  const started = performance.now();
  const [result] = (await (hosts?.launcher ?? localLauncher).launch({
    ranks,
    memoryBytes: 2 * maximumBytes + mebibyte,
    maximumMemoryBytes: 2 * maximumBytes + 64 * mebibyte,
    workerModule: new URL('./network.worker.ts', import.meta.url),
    workerData: data,
    trace: true,
    ...(emulated === undefined ? {} : { fabric: fabricOf(emulated) }),
    onFabricReport: (given) => {
      report = given;
    },
    onMessage: (_, message) => options.onProgress?.((message as ProbeProgress).done),
    signal: options.signal,
  })) as NetworkRankResult[];
  if (result === undefined) throw new Error('the probe returned nothing');
  return {
    ...figuresOf(options, result),
    hostCopying: result.hostCopying,
    lostSeconds: report?.lostSeconds ?? 0,
    wallSeconds: (performance.now() - started) / 1e3,
  };
}

/** What ranks computed on, over which network, by which library. */
function keyOf({ emulated, hosts }: NetworkProbeOptions, processor: string) {
  if (emulated !== undefined) {
    const { cluster } = emulated;
    return { gpu: cluster.device.name, system: cluster.name, library: 'monta local, emulated network' };
  }
  if (hosts === undefined) return { gpu: processor, system: 'memory', library: 'monta local, memory' };
  const { place, backend } = hosts.launcher;
  return { gpu: processor, system: place, library: `monta ${backend}` };
}

/** What a rank measured, as of a network that is not slowed. */
function figuresOf(
  options: NetworkProbeOptions,
  result: NetworkRankResult,
): Pick<NetworkProbeResult, 'probe' | 'measurements'> {
  const { emulated, hosts } = options;
  const slower = emulated?.timeScale ?? 1;
  const onCards = hosts?.launcher.device === 'cuda';
  const processor = (onCards ? firstCard()?.name : undefined) ?? processorName();
  const key = keyOf(options, processor);
  const probe: Probe = {
    ...key,
    emulatedTimeScale: emulated?.timeScale ?? null,
    tiers: result.links.map((link) => ({
      name: link.name,
      bytesPerSecond: link.bytesPerSecond * slower,
      reached: link.reached,
      latencySeconds: link.latencySeconds / slower,
      ports: link.ports,
      crossRailSlowdown: link.crossRailSlowdown,
      sharingSlowdown: link.sharingSlowdown,
    })),
    computeDevice: processor,
    gemms: result.gemms,
    interference: result.interference,
  };
  const measurements = result.collectives.map(({ seconds, ...rest }, index): Measurement => ({
    ...key,
    ...rest,
    seconds: seconds / slower,
    source: 'probe',
    line: index + 1,
    origin: key.library,
  }));
  return { probe, measurements };
}

/** As the operating system calls the processor. */
export const processorName = (): string => cpus()[0]?.model.trim() || process.arch;
