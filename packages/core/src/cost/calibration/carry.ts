/**
 * Carrying measured curves to what was not measured: another rank count, another collective, another GPU of the family.
 * Each way is a formula over measured series whose free numbers are medians over the calibration itself; what error to
 * expect is found by leaving out measured series and carrying to them (`carry-errors.ts`).
 */
import type { Knot } from './clean-points.js';
import type { Curve } from './curve.js';
import { linksOf } from './gpus.js';
import { median } from '../../units/index.js';
import { busFactor } from './measurement.js';
import type { MeasuredOp } from './measurement.js';
import { curveOf, describeKey, sameHardware, sameMake } from './series.js';
import type { Series, SeriesKey } from './series.js';

export interface Carried {
  /** What the points are of. */
  readonly target: SeriesKey;
  /** Points at the sizes of the source, in its order; not yet monotone. */
  readonly points: readonly Knot[];
  /** The formula, in words. */
  readonly method: string;
  /** Ways with the same label are expected to be equally good; errors are kept by it. */
  readonly label: string;
  readonly from: readonly Series[];
}

/**
 * Collectives of which every rank holds 1/n of the buffer, or works on such pieces; those that all others resemble most
 * first.
 */
const pieceOps: readonly MeasuredOp[] = ['all_gather', 'reduce_scatter', 'all_to_all', 'all_reduce'];

/**
 * Bytes through the narrowest place of a balanced collective, per byte of total buffer: inside a node what every rank
 * sends; across N nodes of g ranks what a node's ports send, of which an all_to_all sends g(N-1)/N (each rank its own
 * buffer), while gathers and reductions send each byte once around the ring.
 */
function wireFactor({ op, ranks, nodes }: SeriesKey): number {
  if (op !== 'all_to_all' || nodes === null || nodes < 2) return busFactor(op, ranks);
  return (ranks / nodes) * ((nodes - 1) / nodes);
}

/** Above this ratio of bus bandwidths, more ranks have come to use a slower link: the ring formula does not hold. */
const uniformWithin = 1.5;

interface OpRatios {
  /** Latency over two ranks, relative to all_gather's. */
  readonly latencyOfTwo: number;
  /** What every doubling of the ranks multiplies the latency by. */
  readonly latencyPerDoubling: number;
  /**
   * Marginal cost of a byte on the wire, relative to all_gather's (switches that add up make all_reduce cheaper than
   * twice).
   */
  readonly perWireByte: number;
}

/**
 * How collectives relate where the calibration itself does not show it: medians over seven kinds of GPU in
 * ai-dynamo/aiconfigurator's NCCL tables (2 to 8 ranks of one node); reduce_scatter, the reverse of all_gather, is
 * taken as equal to it (1.39 and 1.41 a doubling); all_to_all's marginal cost is left at 1, which predicted better than
 * its median. A test recomputes them. Broadcast is assumed to grow as all_gather does, and a send not to grow: no table
 * of them was at hand.
 */
export const publishedRatios: Readonly<Record<MeasuredOp, OpRatios>> = {
  all_gather: { latencyOfTwo: 1, latencyPerDoubling: 1.4, perWireByte: 1 },
  reduce_scatter: { latencyOfTwo: 1, latencyPerDoubling: 1.4, perWireByte: 1 },
  all_to_all: { latencyOfTwo: 1.17, latencyPerDoubling: 1.1, perWireByte: 1 },
  all_reduce: { latencyOfTwo: 1.14, latencyPerDoubling: 1.63, perWireByte: 0.84 },
  broadcast: { latencyOfTwo: 1, latencyPerDoubling: 1.4, perWireByte: 1 },
  send: { latencyOfTwo: 1, latencyPerDoubling: 1, perWireByte: 1 },
};

/**
 * From measured rank counts to another one of the same hardware and make.
 *
 * With two counts, on links that are alike: a ring or an exchange over n ranks takes n-1 rounds of one piece (1/n of
 * the buffer), so at an equal piece time is linear in n. Where the bus bandwidths of the two counts differ by more than
 * half, some of the ranks are behind a slower link and nobody knows from which count on: then the geometric mean, over
 * log n, at equal bytes on the wire. With one count: its latency times what a larger group adds, and its bandwidth part
 * at equal bytes on the wire.
 */
export function carryRanks(all: readonly Series[], target: SeriesKey): Carried | undefined {
  const sources = all
    .filter((s) => s.op === target.op && s.ranks !== target.ranks && sameHardware(s, target) && sameMake(s, target))
    .sort((a, b) => Math.abs(Math.log(a.ranks / target.ranks)) - Math.abs(Math.log(b.ranks / target.ranks)));
  const [nearest] = sources;
  if (nearest === undefined || target.ranks < 2) return undefined;
  const below = sources.find((s) => s.ranks < target.ranks);
  const above = sources.find((s) => s.ranks > target.ranks);
  const pair = below && above ? ([below, above] as const) : pairOf(nearest, sources);
  if (pair === undefined) return carryOneCount(all, nearest, target);
  const [low, high] = pair;
  const [a, b] = [curveOf(low), curveOf(high)];
  const uniform = isUniform(low, high) && pieceOps.includes(target.op);
  const share = (target.ranks - low.ranks) / (high.ranks - low.ranks);
  const logShare = Math.log(target.ranks / low.ranks) / Math.log(high.ranks / low.ranks);
  const factor = wireFactor(target);
  const points = sizesOf(nearest).map((bytes) => {
    const piece = bytes / target.ranks;
    const linear = a.at(piece * low.ranks).seconds * (1 - share) + b.at(piece * high.ranks).seconds * share;
    const wire = (s: Series, c: Curve): number => c.at((bytes * factor) / wireFactor(s)).seconds;
    const geometric = wire(low, a) ** (1 - logShare) * wire(high, b) ** logShare;
    return { bytes, seconds: uniform && linear > 0 ? linear : geometric };
  });
  const position = low === below && high === above ? 'between' : 'beyond';
  return {
    target,
    points,
    method: uniform
      ? `linear in ranks at equal pieces, from ${low.ranks} and ${high.ranks} ranks`
      : `geometric in ranks at equal bytes on the wire, from ${low.ranks} and ${high.ranks} ranks`,
    label: `ranks ${position} ${uniform ? 'uniform' : 'uneven'}${across(target)}`,
    from: [low, high],
  };
}

/** Errors inside nodes say nothing about those across. */
const across = (key: SeriesKey): string => (spread(key) ? ' across nodes' : '');

const spread = (key: SeriesKey): boolean => (key.nodes ?? 1) > 1;

/** The nearest series and the next one of another rank count, in order of ranks. */
function pairOf(nearest: Series, sources: readonly Series[]): readonly [Series, Series] | undefined {
  const second = sources.find((s) => s.ranks !== nearest.ranks);
  if (second === undefined) return undefined;
  return nearest.ranks < second.ranks ? [nearest, second] : [second, nearest];
}

function isUniform(a: Series, b: Series): boolean {
  const bytes = Math.min(a.points.at(-1)?.bytes ?? 0, b.points.at(-1)?.bytes ?? 0);
  const bus = (s: Series): number => (bytes * wireFactor(s)) / curveOf(s).at(bytes).seconds;
  const ratio = bus(a) / bus(b);
  return ratio < uniformWithin && ratio > 1 / uniformWithin;
}

function carryOneCount(all: readonly Series[], source: Series, target: SeriesKey): Carried {
  const doublings = Math.log2(target.ranks / source.ranks);
  // What other collectives and machines show for the same step in ranks.
  const steps = all
    .filter((s) => s.op === source.op && s.ranks === source.ranks)
    .flatMap((s) =>
      all
        .filter((o) => o.op === s.op && o.ranks === target.ranks && sameHardware(o, s) && sameMake(o, s))
        .map((o) => curveOf(o).alphaSeconds / curveOf(s).alphaSeconds),
    );
  const growth = steps.length > 0 ? median(steps) : publishedRatios[source.op].latencyPerDoubling ** doublings;
  const wire = wireFactor(target) / wireFactor(source);
  return {
    target,
    points: scaledParts({ curve: curveOf(source), sizes: sizesOf(source), wire, latency: growth, bandwidth: 1 }),
    method: `latency times ${growth.toFixed(2)}, bandwidth at equal bytes on the wire, from ${source.ranks} ranks`,
    label: `ranks single${across(target)}`,
    from: [source],
  };
}

/**
 * From one collective to another over the same ranks. The latency part of the source is multiplied by the ratio of
 * latencies; the rest either by the ratio of bytes on the wire (`wire`) or by the ratio of marginal costs (`fitted`),
 * both as machines with both collectives show, and as the published tables do (`published`); where nothing shows it, at
 * equal bus bandwidth (`equal`). Across nodes an all_to_all is not carried to or from the others: it loads the ports
 * differently, and on the one fabric with both (two nodes of B200) that missed by 40 to 70 %.
 */
export function carryOps(all: readonly Series[], target: SeriesKey): Carried[] {
  if (!pieceOps.includes(target.op)) return [];
  const sources = all
    .filter(
      (s) => s.op !== target.op && pieceOps.includes(s.op) && s.ranks === target.ranks && s.nodes === target.nodes,
    )
    .filter(
      (s) => sameHardware(s, target) && (!spread(target) || (s.op === 'all_to_all') === (target.op === 'all_to_all')),
    );
  // Nothing learnt: a collective of pieces is taken from the one that is most like it, at equal bus bandwidth. From
  // machine to machine and library to library their latencies relate by 0.66 to 2.5, so that the published ratio may do
  // harm.
  const nearest = pieceOps.find((op) => sources.some((s) => s.op === op));
  return sources.flatMap((source) => {
    const pairs = pairsOf(all, source, target);
    const wire = wireFactor(target) / wireFactor(source);
    const sizes = sizesOf(source);
    const one = (way: 'wire' | 'fitted' | 'published' | 'equal', latency: number, bandwidth: number): Carried => ({
      target,
      points: scaledParts({ curve: curveOf(source), sizes, wire: 1, latency, bandwidth }),
      method: `${source.op} with its latency times ${latency.toFixed(2)} and the rest times ${bandwidth.toFixed(2)}`,
      label: `${source.op} to ${target.op} ${way}${across(target)}`,
      from: [source],
    });
    const published = one('published', ...publishedParts(source, target));
    if (pairs.length === 0) {
      if (target.op === 'all_reduce') return [published];
      if (source.op !== nearest) return [];
      return [source.op === 'all_reduce' ? published : one('equal', 1, wire)];
    }
    const latency = median(pairs.map(([from, to]) => curveOf(to).alphaSeconds / curveOf(from).alphaSeconds));
    const fitted = median(pairs.map(([from, to]) => curveOf(to).betaSecondsPerByte / curveOf(from).betaSecondsPerByte));
    return [one('wire', latency, wire), one('fitted', latency, fitted), published];
  });
}

/** What the published tables multiply latency and the rest by. */
function publishedParts(source: SeriesKey, target: SeriesKey): [latency: number, bandwidth: number] {
  const wire = wireFactor(target) / wireFactor(source);
  const [from, to] = [publishedRatios[source.op], publishedRatios[target.op]];
  const latencyOf = (ratios: OpRatios): number =>
    ratios.latencyOfTwo * ratios.latencyPerDoubling ** Math.log2(target.ranks / 2);
  return [latencyOf(to) / latencyOf(from), (wire * to.perWireByte) / from.perWireByte];
}

/** Where both collectives were measured on one machine: over as many ranks if any, else over other rank counts. */
function pairsOf(all: readonly Series[], source: SeriesKey, target: SeriesKey): [Series, Series][] {
  const pairs = all
    .filter((s) => s.op === source.op && s.basis === 'measured' && spread(s) === spread(target))
    .flatMap((from) =>
      all
        .filter(
          (to) => to.op === target.op && to.ranks === from.ranks && to.nodes === from.nodes && sameHardware(to, from),
        )
        .map((to): [Series, Series] => [from, to]),
    );
  const equal = pairs.filter(([from]) => from.ranks === target.ranks);
  return equal.length > 0 ? equal : pairs;
}

/**
 * From another GPU of the family, inside a node, over as many ranks: the latency stays, the rest goes with the ratio of
 * the datasheets' link bandwidths. None for GPUs whose links are not listed. `otherGenerations` asks for the other
 * switched families instead: too far to answer with, but a measure of what scaling by datasheets is worth.
 */
export function carryGpus(all: readonly Series[], target: SeriesKey, otherGenerations = false): Carried[] {
  const links = linksOf(target.gpu);
  if (links === undefined || (target.nodes ?? 1) !== 1) return [];
  return all.flatMap((source) => {
    const from = linksOf(source.gpu);
    if (source.op !== target.op || source.ranks !== target.ranks || (source.nodes ?? 1) !== 1) return [];
    if (from === undefined || from.name === links.name || source.basis !== 'measured') return [];
    if ((from.family === links.family) === otherGenerations || !(from.switched && links.switched)) return [];
    const ratio = from.bytesPerSecond / links.bytesPerSecond;
    return [
      {
        target,
        points: scaledParts({ curve: curveOf(source), sizes: sizesOf(source), wire: 1, latency: 1, bandwidth: ratio }),
        method: `${from.name} with everything beyond its latency times ${ratio.toFixed(2)} (datasheet link bandwidths)`,
        label: ratio === 1 ? 'gpu of equal links' : 'gpu of other links',
        from: [source],
      },
    ];
  });
}

const sizesOf = (series: Series): number[] => series.points.map(({ bytes }) => bytes);

/** A curve taken at `wire` times the bytes, its latency part times `latency` and the rest times `bandwidth`. */
function scaledParts({
  curve,
  sizes,
  wire,
  latency,
  bandwidth,
}: {
  readonly curve: Curve;
  readonly sizes: readonly number[];
  readonly wire: number;
  readonly latency: number;
  readonly bandwidth: number;
}): Knot[] {
  const alpha = curve.alphaSeconds;
  return sizes.map((bytes) => {
    const seconds = curve.at(bytes * wire).seconds;
    return { bytes, seconds: Math.min(alpha, seconds) * latency + Math.max(0, seconds - alpha) * bandwidth };
  });
}

/** What a carried curve rests on, for people. */
export const restsOn = (carried: Carried): string[] =>
  carried.from.map((s) => `${describeKey(s)}: ${s.points.length} sizes from ${s.sources.join(', ')}`);
