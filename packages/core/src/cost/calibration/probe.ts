/**
 * What probing a backend finds besides curves: the ports of every tier, matrix products, and what computing and
 * communicating cost each other.
 */
import { limits } from '../../units/index.js';
import type { Field } from '../../units/index.js';

/** One tier of the network as messages between pairs of devices see it. */
export interface ProbedTier {
  readonly name: string;
  /** One port, one direction, bytes/s. */
  readonly bytesPerSecond: number;
  /** False when ports of a tier below were the narrower ones all the time: the tier gives at least `bytesPerSecond`. */
  readonly reached: boolean;
  /** Of a message of no bytes, one way, seconds. */
  readonly latencySeconds: number;
  /**
   * Ports of one unit of the tier below (of one device for the innermost tier), told by which pairs slow each other
   * down.
   */
  readonly ports: number;
  /** How many times longer messages take that change the port number on their way; 1 when it makes no difference. */
  readonly crossRailSlowdown: number;
  /** All pairs of two units at once: time of the slowest over the time of one pair alone. */
  readonly sharingSlowdown: number;
}

/** One timed matrix product, row-major float32. */
export interface ProbedGemm {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly seconds: number;
}

export interface Interference {
  /** Time of a matrix product while a collective runs over its time alone. */
  readonly computeSlowdown: number;
  /** Time of the collective while its ranks compute over its time alone. */
  readonly communicationSlowdown: number;
}

/** One probe of one backend. */
export interface Probe {
  /** The device of the cluster, and the cluster; the keys of the series measured with it. */
  readonly gpu: string;
  readonly system: string;
  readonly library: string;
  /**
   * Null for a real network. Else the network was emulated this many times slower than the cluster; times of tiers and
   * series are divided by it again. Matrix products and interference are always the host's own.
   */
  readonly emulatedTimeScale: number | null;
  readonly tiers: readonly ProbedTier[];
  /** The device that computed. */
  readonly computeDevice: string;
  readonly gemms: readonly ProbedGemm[];
  readonly interference: Interference | null;
}

const tierKeys = [
  'name',
  'bytesPerSecond',
  'reached',
  'latencySeconds',
  'ports',
  'crossRailSlowdown',
  'sharingSlowdown',
] as const;

/** Reads one entry of `probes` of a calibration file. Throws `InputError` naming what is wrong where. */
export function readProbe(field: Field): Probe {
  const map = field.map([
    'gpu',
    'system',
    'library',
    'emulatedTimeScale',
    'tiers',
    'computeDevice',
    'gemms',
    'interference',
  ]);
  const interference = map.get('interference')?.map(['computeSlowdown', 'communicationSlowdown']);
  return {
    gpu: text(map.need('gpu')),
    system: text(map.need('system')),
    library: text(map.need('library')),
    emulatedTimeScale: map.get('emulatedTimeScale')?.number({ above: 0 }) ?? null,
    tiers: map
      .need('tiers')
      .list()
      .map((entry) => {
        const tier = entry.map(tierKeys);
        return {
          name: tier.need('name').string(),
          bytesPerSecond: tier.need('bytesPerSecond').number({ above: 0 }),
          reached: tier.need('reached').boolean(),
          latencySeconds: tier.need('latencySeconds').number({ min: 0 }),
          ports: tier.need('ports').integer({ max: limits.ranks }),
          crossRailSlowdown: tier.need('crossRailSlowdown').number({ min: 1 }),
          sharingSlowdown: tier.need('sharingSlowdown').number({ above: 0 }),
        };
      }),
    computeDevice: text(map.need('computeDevice')),
    gemms: map
      .need('gemms')
      .list()
      .map((entry) => {
        const gemm = entry.map(['m', 'n', 'k', 'seconds']);
        const size = (name: 'm' | 'n' | 'k'): number => gemm.need(name).integer({ max: limits.sequence });
        return { m: size('m'), n: size('n'), k: size('k'), seconds: gemm.need('seconds').number({ above: 0 }) };
      }),
    interference:
      interference === undefined
        ? null
        : {
            computeSlowdown: interference.need('computeSlowdown').number({ above: 0 }),
            communicationSlowdown: interference.need('communicationSlowdown').number({ above: 0 }),
          },
  };
}

const text = (field: Field): string => (field.value === '' ? '' : field.string());

/** Share of a peak, FLOP/s, that the larger half of the matrix products reached; undefined without any. */
export function gemmShareOf(probe: Probe, peakFlopsPerSecond: number): number | undefined {
  const rates = probe.gemms
    .map(({ m, n, k, seconds }) => ({ flops: 2 * m * n * k, rate: (2 * m * n * k) / seconds }))
    .sort((a, b) => b.flops - a.flops)
    .slice(0, Math.ceil(probe.gemms.length / 2))
    .map(({ rate }) => rate)
    .sort((a, b) => a - b);
  const middle = rates[Math.floor(rates.length / 2)];
  return middle === undefined ? undefined : Math.min(1, middle / peakFlopsPerSecond);
}
