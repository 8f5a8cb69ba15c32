/** Which rows belong to which expert: what the host reads of the routing, once a layer. */

/** Rows of each expert, in canonical order with padding. */
export interface ExpertRanges {
  readonly experts: number;
  /** [experts + 1]: first row of each expert, and the rows in all. */
  readonly offsets: Int32Array;
  /** Rows that hold tokens. */
  readonly counts: Int32Array;
}

/** Experts of equal padded row counts. */
export interface Bucket {
  /** Padded rows of each. */
  readonly rows: number;
  /** First of them in `order`, and how many. */
  readonly start: number;
  readonly count: number;
}

/**
 * Experts sorted by padded rows, most first, and the buckets of that order; experts without rows are left out. Ties
 * keep the experts' order.
 */
export function bucketsOf({ experts, offsets }: ExpertRanges): {
  readonly order: number[];
  readonly buckets: Bucket[];
} {
  const rows = (expert: number): number => offsets[expert + 1] - offsets[expert];
  const order = Array.from({ length: experts }, (_, expert) => expert)
    .filter((expert) => rows(expert) > 0)
    .sort((a, b) => rows(b) - rows(a) || a - b);
  const buckets: Bucket[] = [];
  for (const [place, expert] of order.entries()) {
    const last = buckets.at(-1);
    if (last !== undefined && last.rows === rows(expert))
      buckets[buckets.length - 1] = { ...last, count: last.count + 1 };
    else buckets.push({ rows: rows(expert), start: place, count: 1 });
  }
  return { order, buckets };
}
