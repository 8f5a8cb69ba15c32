/**
 * What to expect in the middle of a gap between two measured sizes, from the segments on either side of it.
 *
 * NCCL changes from its low-latency protocols to its bandwidth protocol where its own estimate says so, and that is
 * before it pays: in the published tables at 0.44 of the size from which the new protocol is the faster one (0.21 to
 * 0.55 for four fifths of 28 changes, on A100, H100, H200 and Blackwell; a test recounts them). There time jumps by up
 * to twice, and in a gap with such a jump the straight line between its ends is wrong on either side of it. But the two
 * neighbouring segments, drawn on, are the times of the old and of the new protocol:
 *
 * - The new line lies above the straight one all through a gap with a jump; the higher, the surer that it is a jump and
 * no bend.
 * - Where both lines meet the new protocol begins to pay. If that is at less than 1 / 0.44 times the middle, the change
 * had come by the
 *   middle, and the new line holds there, provided that the old line misses the right end (else it is still in force
 *   there), and that the gap is steeper than the segment before it (else the old line has a jump of its own, and says
 *   nothing). If it is at more, the change came behind the middle, and the old line still holds.
 * - Without a jump the neighbours still tell how the curve bends: a quarter of the smaller of both distances, when both
 * lie on one side.
 *
 * The numbers were set on published collectives of seven kinds of GPU and 19 logs, every second size left out.
 * docs/accuracy.md has what they are worth: with each half or twice as large, and set on all families of GPUs but one
 * and tried on that one.
 */

interface Point {
  readonly bytes: number;
  readonly seconds: number;
}

/** The numbers of the rule. */
export interface MiddleRule {
  /** Share of the smaller distance by which a curve bends. */
  readonly bend: number;
  /**
   * Height of the new line above the straight one, in natural logarithms, from which a change before the middle is
   * sure.
   */
  readonly sureJump: number;
  /** The same for a change behind the middle: from here it is thought of, and `lateRange` higher it is sure. */
  readonly lateJump: number;
  /**
   * Natural logarithm of old over new time, at the size that would just pay, from which one of them is plainly the
   * dearer.
   */
  readonly plainlyDearer: number;
  /** How much steeper, in powers of size, the gap must be than the segment before it. */
  readonly plainlySteeper: number;
}

export const middleRule: MiddleRule = {
  bend: 0.25,
  sureJump: 0.3,
  lateJump: 0.25,
  plainlyDearer: 0.1,
  plainlySteeper: 0.1,
};

/**
 * Gaps wider than this hold too much for one more point: tried with factors of 16, it was no better than the straight
 * line.
 */
const widestGap = 5;

/** Jumps of this kind happen from here on; below, neighbours bend faster than their lines tell. */
const jumpsFromBytes = 2 ** 20;

const lateRange = 0.1;

/** Where NCCL changes its protocol, over the size from which that pays. */
export const changeOverPaying = 0.44;

/** The straight line through two points at `bytes`, seconds. */
export function between(a: Point, b: Point, bytes: number): number {
  return a.seconds + ((b.seconds - a.seconds) * (bytes - a.bytes)) / (b.bytes - a.bytes);
}

/**
 * The point at the geometric middle of the gap between knots `index` and `index + 1` (sizes rising, times not falling);
 * undefined where the straight line is as good. Its time lies between those of the two knots.
 */
export function middleOf(knots: readonly Point[], index: number, rule: MiddleRule = middleRule): Point | undefined {
  const [before, left, right, after] = [knots[index - 1], knots[index], knots[index + 1], knots[index + 2]];
  if (!before || !left || !right || !after || right.bytes > widestGap * left.bytes) return undefined;
  const bytes = Math.sqrt(left.bytes * right.bytes);
  const straight = between(left, right, bytes);
  const height = (line: number): number => (line > 0 ? Math.log(line / straight) : -Infinity);
  const old = height(between(before, left, bytes));
  const fresh = height(between(right, after, bytes));
  const lines = { old, fresh };
  const shift =
    right.bytes >= jumpsFromBytes && fresh > 0
      ? jumpOf(
          { ...lines, steeper: steepness(left, right) - steepness(before, left) },
          dearerOf(before, left, right, after),
          rule,
        )
      : bendOf(lines, rule);
  if (shift === 0) return undefined;
  return { bytes, seconds: Math.min(right.seconds, Math.max(left.seconds, straight * Math.exp(shift))) };
}

/**
 * Natural logarithm of the old protocol's time over the new one's where the new one just pays, if the change was at the
 * middle of the gap.
 */
function dearerOf(before: Point, left: Point, right: Point, after: Point): number {
  const bytes = Math.sqrt(left.bytes * right.bytes) / changeOverPaying;
  return Math.log(between(before, left, bytes) / between(right, after, bytes));
}

/** Heights of the old and the new line above the straight one in the middle. */
interface Lines {
  readonly old: number;
  readonly fresh: number;
}

/** Natural logarithm of the middle over the straight line where the new line runs above it. */
function jumpOf(lines: Lines & { readonly steeper: number }, dearer: number, rule: MiddleRule): number {
  const { old, fresh, steeper } = lines;
  if (dearer > 0) {
    if (old <= 0) return 0; // the old line leads to the right end, or below it: it still held there
    const sure = ramp(dearer / rule.plainlyDearer) * ramp(steeper / rule.plainlySteeper) * ramp(fresh / rule.sureJump);
    return Math.max(bendOf(lines, rule), fresh * sure);
  }
  const late = ramp((fresh - rule.lateJump) / lateRange) * ramp(-dearer / rule.plainlyDearer);
  return old < 0 ? old * late : bendOf(lines, rule);
}

function bendOf({ old, fresh }: Lines, { bend }: MiddleRule): number {
  if (old * fresh <= 0) return 0;
  return bend * Math.sign(old) * Math.min(Math.abs(old), Math.abs(fresh));
}

const ramp = (x: number): number => Math.min(1, Math.max(0, x));

/** Power of size with which time grows. */
const steepness = (a: Point, b: Point): number => Math.log(b.seconds / a.seconds) / Math.log(b.bytes / a.bytes);
