/** Sets of moments as intervals on a line: their union, their length, and what two of them have in common. */

export type Interval = readonly [start: number, end: number];

/** The intervals' union, in order and disjoint; empty intervals vanish. */
export function unionOf(intervals: readonly Interval[]): Interval[] {
  const result: [number, number][] = [];
  for (const [start, end] of [...intervals].sort((a, b) => a[0] - b[0])) {
    const last = result.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else if (end > start) result.push([start, end]);
  }
  return result;
}

/** Sum of the lengths; of a union, its measure. */
export function lengthOf(intervals: readonly Interval[]): number {
  return intervals.reduce((sum, [start, end]) => sum + end - start, 0);
}

/** Length of what two unions have in common. */
export function overlapOf(a: readonly Interval[], b: readonly Interval[]): number {
  let sum = 0;
  let j = 0;
  for (const [start, end] of a) {
    while (j < b.length && (b[j]?.[1] ?? 0) <= start) j += 1;
    for (let k = j; k < b.length && (b[k]?.[0] ?? 0) < end; k++) {
      sum += Math.max(0, Math.min(end, b[k]?.[1] ?? 0) - Math.max(start, b[k]?.[0] ?? 0));
    }
  }
  return sum;
}
