/**
 * What probing a backend finds besides curves: the ports of every tier, matrix products, and what computing and
 * communicating cost each other.
 */
import { limits } from '../../units/index.js';
import type { Field } from '../../units/documents/index.js';

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
  /** Rows of the product. */
  readonly m: number;
  /** Columns of the product. */
  readonly n: number;
  /** Length of the sums. */
  readonly k: number;
  readonly seconds: number;
}

export interface Interference {
  /** Time of a matrix product while a collective runs over its time alone. */
  readonly computeSlowdown: number;
  /** Time of the collective while its ranks compute over its time alone. */
  readonly communicationSlowdown: number;
}

/** Causal attention of one sequence in bf16. */
export interface ProbedAttention {
  readonly sequence: number;
  /** Query heads. */
  readonly heads: number;
  /** Heads of keys and values. */
  readonly kvHeads: number;
  /** Elements of a head of queries and keys. */
  readonly headDim: number;
  /** Elements of a head of values. */
  readonly valueDim: number;
  /** Of the forward pass. */
  readonly forwardSeconds: number;
  /** Of the backward pass. */
  readonly backwardSeconds: number;
}

/** What one card gives, sustained. */
export interface ProbedCard {
  /** In bf16 on random data. */
  readonly gemms: readonly ProbedGemm[];
  /** cuDNN's, causal. */
  readonly attention: readonly ProbedAttention[];
  /** Of a copy within the card, bytes read and written. */
  readonly memoryBytesPerSecond: number;
  /** Of a kernel that does next to nothing: on its stream, and of the host. */
  readonly launchSeconds: number;
  /** For which the host is busy with a launch. */
  readonly hostLaunchSeconds: number;
}

/** One probe of one backend. */
export interface Probe {
  /** The device of the cluster, and the cluster; the keys of the series measured with it. */
  readonly gpu: string;
  /** Name of the cluster. */
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
  /** Matrix products of `computeDevice`. */
  readonly gemms: readonly ProbedGemm[];
  /** Products beside a collective against products alone; null where it was not measured. */
  readonly interference: Interference | null;
  /** Of a probe of one card, which has no tiers. */
  readonly card?: ProbedCard;
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
    'card',
  ]);
  const interference = map.get('interference')?.map(['computeSlowdown', 'communicationSlowdown']);
  const card = map.get('card');
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
    gemms: map.need('gemms').list().map(readGemm),
    interference:
      interference === undefined
        ? null
        : {
            computeSlowdown: interference.need('computeSlowdown').number({ above: 0 }),
            communicationSlowdown: interference.need('communicationSlowdown').number({ above: 0 }),
          },
    ...(card === undefined ? {} : { card: readCard(card) }),
  };
}

function readGemm(entry: Field): ProbedGemm {
  const gemm = entry.map(['m', 'n', 'k', 'seconds']);
  const size = (name: 'm' | 'n' | 'k'): number => gemm.need(name).integer({ max: limits.sequence });
  return { m: size('m'), n: size('n'), k: size('k'), seconds: gemm.need('seconds').number({ above: 0 }) };
}

const attentionSizes = ['sequence', 'heads', 'kvHeads', 'headDim', 'valueDim'] as const;

function readCard(field: Field): ProbedCard {
  const map = field.map(['gemms', 'attention', 'memoryBytesPerSecond', 'launchSeconds', 'hostLaunchSeconds']);
  const above = { above: 0 };
  return {
    gemms: map.need('gemms').list(1).map(readGemm),
    attention: map
      .need('attention')
      .list()
      .map((entry) => {
        const one = entry.map([...attentionSizes, 'forwardSeconds', 'backwardSeconds']);
        const size = (name: (typeof attentionSizes)[number]): number =>
          one.need(name).integer({ max: limits.sequence });
        return {
          sequence: size('sequence'),
          heads: size('heads'),
          kvHeads: size('kvHeads'),
          headDim: size('headDim'),
          valueDim: size('valueDim'),
          forwardSeconds: one.need('forwardSeconds').number(above),
          backwardSeconds: one.need('backwardSeconds').number(above),
        };
      }),
    memoryBytesPerSecond: map.need('memoryBytesPerSecond').number(above),
    launchSeconds: map.need('launchSeconds').number(above),
    hostLaunchSeconds: map.need('hostLaunchSeconds').number({ min: 0 }),
  };
}

const text = (field: Field): string => (field.value === '' ? '' : field.string());

/** Share of a peak, FLOP/s, that the larger half of the matrix products reached; undefined without any. */
export function gemmShareOf(probe: Pick<Probe, 'gemms'>, peakFlopsPerSecond: number): number | undefined {
  const rates = probe.gemms
    .map(({ m, n, k, seconds }) => ({ flops: 2 * m * n * k, rate: (2 * m * n * k) / seconds }))
    .sort((a, b) => b.flops - a.flops)
    .slice(0, Math.ceil(probe.gemms.length / 2))
    .map(({ rate }) => rate)
    .sort((a, b) => a - b);
  const middle = rates[Math.floor(rates.length / 2)];
  return middle === undefined ? undefined : Math.min(1, middle / peakFlopsPerSecond);
}

/** Attention's backward against its forward pass, in products. */
const backwardFlops = 2.5;

/** FLOPs of a forward pass: half of all pairs of positions, each a product of queries and keys and one of values. */
const attentionFlops = ({ sequence, heads, headDim, valueDim }: ProbedAttention): number =>
  sequence * (sequence + 1) * heads * (headDim + valueDim);

/**
 * Shares of a device's datasheet that a probed card reached: of its peak in bf16 by the larger half of the products and
 * by attention, median of both passes; of its memory by a copy. At most 1 each.
 */
export function cardShares(
  card: ProbedCard,
  { flopsPerSecond, memoryBytesPerSecond }: { readonly flopsPerSecond: number; readonly memoryBytesPerSecond: number },
): { readonly gemm: number; readonly attention?: number; readonly memory: number } {
  const shares = card.attention
    .map((one) => (attentionFlops(one) * (1 + backwardFlops)) / (one.forwardSeconds + one.backwardSeconds))
    .map((rate) => Math.min(1, rate / flopsPerSecond))
    .sort((a, b) => a - b);
  const attention = shares[Math.floor(shares.length / 2)];
  return {
    gemm: gemmShareOf(card, flopsPerSecond) ?? 1,
    ...(attention === undefined ? {} : { attention }),
    memory: Math.min(1, card.memoryBytesPerSecond / memoryBytesPerSecond),
  };
}
