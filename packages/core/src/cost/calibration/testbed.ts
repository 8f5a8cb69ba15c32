/**
 * The testbed of the MoNTA paper (16 A800 in 2 nodes), as well as it can be known. No complete A800 table was found,
 * and the paper does not say which NICs it had, so: inside a node, the A100's measured curves with their bandwidth part
 * scaled by the ratio of the NVLinks (an A800 is an A100 with 8 of 12 links); between nodes, the NIC count is the
 * caller's, with measured fractions of nominal bandwidth.
 */
import { InputError } from '../../units/index.js';
import type { Calibration } from './calibration.js';
import { carryErrors } from './carry-errors.js';
import { publishedErrors } from './carry-errors.js';
import { carryGpus } from './carry.js';
import { cleanPoints } from './clean-points.js';
import type { Knot } from './clean-points.js';
import { gpuKey, linksOf } from './gpus.js';
import { busFactor } from './measurement.js';
import type { MeasuredOp } from './measurement.js';
import { describeKey } from './series.js';
import type { Series } from './series.js';

export interface TestbedOptions {
  /** NICs of one node, shared by its 8 GPUs: 8, 4 and 2 are seen in A100 and A800 nodes. */
  readonly nicsPerNode: number;
  /** One NIC, one direction; 200 Gb/s when left out. */
  readonly nicBytesPerSecond?: number;
  /** Of a two-node collective of few bytes; 40 us when left out (30 to 90 us in published two-node NCCL tables). */
  readonly latencySeconds?: number;
}

export interface Testbed {
  readonly expected: Calibration;
  /** The same with all times at the optimistic and at the pessimistic end. */
  readonly fastest: Calibration;
  readonly slowest: Calibration;
}

const name = 'A800';
const gpusPerNode = 8;
const mebibyte = 2 ** 20;
/** 16 MiB to 16 GiB. */
const tableSizes = Array.from({ length: 11 }, (_, i) => 16 * mebibyte * 2 ** i);

/**
 * Measured fractions of nominal bandwidth, two nodes of 8 GPUs: aliyun/SimAI astra-sim-alibabacloud/inputs/ratio/,
 * ata_ratio.csv and nic_ratio.csv, columns "2Node-16GPU(NIC)".
 */
const allToAllFractions = [0.52, 0.63, 0.72, 0.76, 0.79, 0.8, 0.81, 0.81, 0.8, 0.8, 0.8];
const ringFractions = [0.32, 0.47, 0.5, 0.67, 0.85, 0.89, 0.92, 0.94, 0.95, 0.95, 0.96];

/**
 * all_to_all of one two-node fabric was seen at 42 and, tuned, at 69 GB/s: a factor either way of the square root of
 * their ratio.
 */
const tuningFactor = Math.sqrt(69 / 42);

/**
 * Builds the calibration from one that holds A100 series of one node. Throws `InputError` when there are none, or the
 * options are out of range. In all three results series are `derived`, and `addedError` is the half-width that their
 * bounds stand for.
 */
export function paperTestbed(a100: Calibration, options: TestbedOptions): Testbed {
  const { nicsPerNode, nicBytesPerSecond = 25e9, latencySeconds = 40e-6 } = options;
  if (!(Number.isInteger(nicsPerNode) && nicsPerNode >= 1 && nicsPerNode <= gpusPerNode)) {
    throw new InputError(`${nicsPerNode} NICs in a node`, { expected: `1 to ${gpusPerNode}` });
  }
  if (!(nicBytesPerSecond > 0 && latencySeconds > 0)) {
    throw new InputError('bandwidth and latency of the network must be more than 0');
  }
  const measured = a100.series.filter(
    (s) => gpuKey(s.gpu) === 'A100' && (s.nodes ?? 1) === 1 && s.basis === 'measured',
  );
  if (measured.length === 0) {
    throw new InputError('the calibration holds no A100 series of one node', {
      expected: 'nccl-tests of A100 inside a node',
      hint: 'calibrate from A100 logs or tables first',
    });
  }
  const scaling = carryErrors(a100.series).get('gpu of other links') ?? publishedErrors['gpu of other links'] ?? 0;
  const inside = measured.flatMap((source) => insideNode(source, scaling));
  const across = acrossNodes(nicsPerNode, nicBytesPerSecond, latencySeconds);
  const notes = [
    'A800 inside a node: A100 curves, bandwidth part times 600/400 (NVLink, bidirectional GB/s), latency unchanged',
    `between nodes: ${nicsPerNode} NICs of ${nicBytesPerSecond / 1e9} GB/s a node (an assumption: the paper does ` +
      `not say), SimAI's ` +
      'measured fractions of nominal bandwidth',
  ];
  const pick = (which: 'expected' | 'fastest' | 'slowest'): Calibration => ({
    series: [...inside, ...across].map((one) => one[which]),
    notes: which === 'expected' ? notes : [...notes, `all times at the ${which} end of their uncertainty`],
  });
  return { expected: pick('expected'), fastest: pick('fastest'), slowest: pick('slowest') };
}

type Bounds = Readonly<Record<'expected' | 'fastest' | 'slowest', Series>>;

function insideNode(source: Series, scaling: number): Bounds[] {
  const { library, op, ranks, nodes } = source;
  const key = { gpu: name, system: '', library, op, ranks, nodes };
  return carryGpus([source], key).map((carried) => {
    const points = cleanPoints(carried.points).knots;
    const series: Series = {
      ...key,
      points,
      basis: 'derived',
      addedError: scaling,
      sources: [carried.method, describeKey(source), ...source.sources],
    };
    // Fewer links never make it faster than the A100 itself.
    const original = new Map(source.points.map((p) => [p.bytes, p.seconds]));
    const faster = points.map((p) => ({
      ...p,
      seconds: Math.max(p.seconds / (1 + scaling), original.get(p.bytes) ?? 0),
    }));
    const slower = points.map((p) => ({ ...p, seconds: p.seconds * (1 + scaling) }));
    return { expected: series, fastest: { ...series, points: faster }, slowest: { ...series, points: slower } };
  });
}

/**
 * Collectives over both nodes: all 16 ranks, and (all_to_all) pairs of one rank on each node, which alone have a NIC to
 * themselves. Nominal times are those of the bytes that leave a node: for all_to_all half of every rank's buffer over
 * its share of the NICs, for gathers and reductions the ring's bus bandwidth, the lesser of NVLink and all NICs
 * together.
 */
function acrossNodes(nics: number, nicBytesPerSecond: number, latencySeconds: number): Bounds[] {
  const ranks = 2 * gpusPerNode;
  const link = linksOf(name)?.bytesPerSecond ?? Infinity;
  const ring = Math.min(link, nics * nicBytesPerSecond);
  const share = (nics * nicBytesPerSecond) / gpusPerNode;
  return [
    across({
      op: 'all_to_all',
      ranks,
      latencySeconds,
      fractions: allToAllFractions,
      nominalSeconds: (bytes) => bytes / 2 / share,
    }),
    across({
      op: 'all_to_all',
      ranks: 2,
      latencySeconds,
      fractions: allToAllFractions,
      nominalSeconds: (bytes) => bytes / 2 / nicBytesPerSecond,
    }),
    ...(['all_gather', 'reduce_scatter', 'all_reduce'] as const).map((op) =>
      across({
        op,
        ranks,
        latencySeconds,
        fractions: ringFractions,
        nominalSeconds: (bytes) => (bytes * busFactor(op, ranks)) / ring,
      }),
    ),
  ];
}

function across({
  op,
  ranks,
  latencySeconds,
  fractions,
  nominalSeconds,
}: {
  readonly op: MeasuredOp;
  readonly ranks: number;
  readonly latencySeconds: number;
  readonly fractions: readonly number[];
  readonly nominalSeconds: (bytes: number) => number;
}): Bounds {
  const table = tableSizes.map((bytes, i) => ({
    bytes,
    seconds: Math.max(latencySeconds, nominalSeconds(bytes) / (fractions[i] ?? 1)),
  }));
  const points: Knot[] = [{ bytes: 1024, seconds: latencySeconds }, ...cleanPoints(table).knots];
  const scaled = (factor: number): Knot[] =>
    points.map((p) => ({
      bytes: p.bytes,
      // The NICs' line rate bounds from below.
      seconds: Math.max(p.seconds * factor, p.bytes > 1024 ? nominalSeconds(p.bytes) : 0),
    }));
  const series: Series = {
    gpu: name,
    system: '',
    library: 'nccl',
    op,
    ranks,
    nodes: 2,
    points,
    basis: 'derived',
    addedError: tuningFactor - 1,
    sources: ['nominal bandwidth of the given NICs times the fractions of aliyun/SimAI (2 nodes, 16 GPUs)'],
  };
  return {
    expected: series,
    fastest: { ...series, points: scaled(1 / tuningFactor) },
    slowest: { ...series, points: scaled(tuningFactor) },
  };
}
