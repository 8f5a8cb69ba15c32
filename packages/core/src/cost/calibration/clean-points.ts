/**
 * From scattered measurements of one series to rising points with times that do not fall, and how far the measurements
 * of each differ.
 */
import { median } from '../../units/index.js';

export interface Point {
  readonly bytes: number;
  readonly seconds: number;
  /** A second witness of the same size; see `cleanPoints`. */
  readonly inPlaceSeconds?: number;
}

export interface Knot {
  readonly bytes: number;
  readonly seconds: number;
  /**
   * Typical share by which measurements of this size lie off `seconds`; absent where there was but one, in line with
   * the others.
   */
  readonly spread?: number;
}

export interface Cleaned {
  /** One point per size, sizes rising, times not falling. */
  readonly knots: readonly Knot[];
  /** Indices of the given points that contradict the others and were left out. */
  readonly outliers: readonly number[];
  /** So many sizes contradict each other that none was left out: times are levels between them. */
  readonly noisy: boolean;
}

/** Falls below this share are noise: a larger message may be measured that much faster without being an outlier. */
const noise = 0.2;

/**
 * How far out of place may lie from in place, against what the series does usually, before one of them counts as
 * disturbed.
 */
const disturbed = 1.2;

/** Share of the sizes of a series that may contradict the rest and be left out. */
const outlierShare = 0.25;

/** One size: its time, and how far its measurements lie off it (mean of |ln|). */
interface Level {
  readonly bytes: number;
  readonly seconds: number;
  readonly deviation: number;
  readonly indices: readonly number[];
}

/**
 * Robust, monotone points. Repeated sizes are taken by their median, in logarithms. A time that is out of line with the
 * in-place time of the same size is replaced by that, times the usual ratio. Then the longest run of sizes whose times
 * do not fall beyond noise is kept (one wrong point costs itself, not its neighbours), and the rest is flattened from
 * the right: interference only ever makes a measurement longer. Where more than a quarter of the sizes would go, nobody
 * can say which are wrong: then all are kept, as the nearest times that do not fall.
 */
export function cleanPoints(points: readonly Point[]): Cleaned {
  const levels = levelsOf(points);
  const kept = longestRising(levels.map((level) => level.seconds));
  if (levels.length - kept.length > Math.max(1, levels.length * outlierShare)) {
    return { knots: pooled(levels).map(knotOf), outliers: [], noisy: true };
  }
  const rising = kept.flatMap((i) => levels[i] ?? []);
  for (let i = rising.length - 2; i >= 0; i--) {
    const [level, next] = [rising[i], rising[i + 1]];
    if (level && next && level.seconds > next.seconds) {
      rising[i] = {
        ...level,
        seconds: next.seconds,
        deviation: level.deviation + Math.log(level.seconds / next.seconds),
      };
    }
  }
  const outliers = levels.flatMap((level, i) => (kept.includes(i) ? [] : level.indices));
  return { knots: rising.map(knotOf), outliers, noisy: false };
}

/** Deviations below this come from taking logarithms. */
const negligible = 1e-9;

function knotOf({ bytes, seconds, deviation }: Level): Knot {
  return deviation > negligible ? { bytes, seconds, spread: Math.expm1(deviation) } : { bytes, seconds };
}

/** One level a size, rising. */
function levelsOf(points: readonly Point[]): Level[] {
  const ratio = median(points.flatMap((p) => (p.inPlaceSeconds === undefined ? [] : [p.seconds / p.inPlaceSeconds])));
  const witnesses = points.map(({ seconds, inPlaceSeconds }) => {
    const other = inPlaceSeconds === undefined ? seconds : ratio * inPlaceSeconds;
    const factor = seconds / other;
    // what was disturbed took longer; in line with each other, the two are no news
    if (factor > disturbed) return { seconds: other, all: [seconds, other] };
    return { seconds, all: factor < 1 / disturbed ? [seconds, other] : [seconds] };
  });
  const bySize = new Map<number, number[]>();
  points.forEach(({ bytes }, i) => bySize.set(bytes, [...(bySize.get(bytes) ?? []), i]));
  return [...bySize]
    .sort(([a], [b]) => a - b)
    .map(([bytes, indices]) => {
      const own = indices.flatMap((i) => witnesses[i] ?? []);
      const first = own[0]?.seconds ?? Number.NaN;
      const seconds = first * Math.exp(median(own.map((witness) => Math.log(witness.seconds / first))));
      const off = own.flatMap(({ all }) => all.map((time) => Math.abs(Math.log(time / seconds))));
      return { bytes, seconds, deviation: mean(off), indices };
    });
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * The nearest times that do not fall (pool adjacent violators, in logarithms); what they lie off the measured ones
 * widens the deviation.
 */
function pooled(levels: readonly Level[]): Level[] {
  const blocks: { members: Level[]; level: number }[] = [];
  for (const one of levels) {
    let block = { members: [one], level: Math.log(one.seconds) };
    for (let last = blocks.at(-1); last !== undefined && last.level > block.level; last = blocks.at(-1)) {
      blocks.pop();
      const members = [...last.members, ...block.members];
      block = { members, level: mean(members.map((member) => Math.log(member.seconds))) };
    }
    blocks.push(block);
  }
  return blocks.flatMap(({ members, level }) => {
    if (members.length === 1) return members;
    const off = mean(members.map((member) => Math.abs(Math.log(member.seconds) - level)));
    return members.map((member) => ({ ...member, seconds: Math.exp(level), deviation: member.deviation + off }));
  });
}

/** Indices of the longest subsequence that never falls beyond noise; of several the one with the least total time. */
function longestRising(times: readonly number[]): number[] {
  const best = times.map((time, i) => ({ length: 1, total: time, previous: -1, index: i }));
  for (const entry of best) {
    const time = times[entry.index] ?? 0;
    for (const before of best.slice(0, entry.index)) {
      if (time < (times[before.index] ?? 0) * (1 - noise)) continue;
      const length = before.length + 1;
      const total = before.total + time;
      if (length > entry.length || (length === entry.length && total < entry.total)) {
        Object.assign(entry, { length, total, previous: before.index });
      }
    }
  }
  let last = best[0];
  for (const entry of best) {
    if (
      last === undefined ||
      entry.length > last.length ||
      (entry.length === last.length && entry.total < last.total)
    ) {
      last = entry;
    }
  }
  const indices: number[] = [];
  for (let entry = last; entry !== undefined; entry = best[entry.previous]) indices.unshift(entry.index);
  return indices;
}

/** Kendall's tau of time over size: 1 when every larger message takes longer, -1 when every one takes less. */
export function trendOf(points: readonly Point[]): number {
  let balance = 0;
  let pairs = 0;
  for (const [i, a] of points.entries()) {
    for (const b of points.slice(i + 1)) {
      if (a.bytes === b.bytes) continue;
      balance += Math.sign((b.seconds - a.seconds) * (b.bytes - a.bytes));
      pairs++;
    }
  }
  return pairs === 0 ? 1 : balance / pairs;
}
