/** Which rows belong to which expert, as products over all experts of a card see them. */

/** Rows of each expert, in canonical order with padding: what the host reads of the routing, once a layer. */
export interface ExpertRanges {
  readonly experts: number;
  /** [experts + 1]: first row of each expert, and the rows in all. */
  readonly offsets: Int32Array;
  /** Rows that hold tokens. */
  readonly counts: Int32Array;
}

/** A run of rows of one expert. */
export interface ExpertRun {
  readonly expert: number;
  /** The first of `rows` that hold tokens, in a buffer of rows. */
  readonly row: number;
  readonly rows: number;
  /** Rows that are multiplied where counts are padded, at least `rows`. */
  readonly paddedRows: number;
  /** The first of them in a buffer of rows: they hold all of the run's, and may hold rows of others. */
  readonly window: number;
  /** The first of them in a padded buffer, which has no rows of others there. */
  readonly padded: number;
}

/** Runs of rows of the experts of a card. */
export interface ExpertRuns {
  /** Whose weights there are. */
  readonly experts: number;
  readonly runs: readonly ExpertRun[];
  /** Rows of a padded buffer. */
  readonly paddedTotal: number;
  /** Rows that hold tokens. */
  readonly total: number;
}

/** Runs of equal padded rows. */
export interface Bucket {
  /** Padded rows of each. */
  readonly rows: number;
  /** First of them in `order`, and how many. */
  readonly start: number;
  readonly count: number;
}

/** Experts whose rows are padded where they lie: a buffer of rows is a padded one too. */
export function runsOfRanges({ experts, offsets, counts }: ExpertRanges): ExpertRuns {
  const runs: ExpertRun[] = [];
  let total = 0;
  for (let expert = 0; expert < experts; expert++) {
    const row = offsets[expert];
    const paddedRows = offsets[expert + 1] - row;
    total += counts[expert];
    if (paddedRows > 0) runs.push({ expert, row, rows: counts[expert], paddedRows, window: row, padded: row });
  }
  return { experts, runs, paddedTotal: offsets[experts], total };
}

/**
 * Runs that lie close together, each padded to a multiple of `padding` rows; a window that would end behind the last
 * run's rows begins earlier. segments: triples [expert, first row, rows]; one without rows is no run.
 */
export function runsOfSegments(segments: Int32Array, experts: number, padding: number): ExpertRuns {
  let [last, padded, total] = [0, 0, 0];
  for (let i = 0; i < segments.length; i += 3) last = Math.max(last, segments[i + 1] + segments[i + 2]);
  const runs: ExpertRun[] = [];
  for (let i = 0; i < segments.length; i += 3) {
    const [expert, row, rows] = segments.subarray(i, i + 3);
    if (rows === 0) continue;
    const paddedRows = Math.ceil(rows / padding) * padding;
    runs.push({ expert, row, rows, paddedRows, window: Math.min(row, last - paddedRows), padded });
    padded += paddedRows;
    total += rows;
  }
  return { experts, runs, paddedTotal: padded, total };
}

/**
 * Runs sorted by padded rows, most first, and the buckets of that order. Ties keep the runs' order.
 */
export function bucketsOf({ runs }: ExpertRuns): { readonly order: ExpertRun[]; readonly buckets: Bucket[] } {
  const order = runs.toSorted((a, b) => b.paddedRows - a.paddedRows);
  const buckets: Bucket[] = [];
  for (let start = 0, end = 0; start < order.length; start = end) {
    const { paddedRows: rows } = order[start];
    while (end < order.length && order[end].paddedRows === rows) end++;
    buckets.push({ rows, start, count: end - start });
  }
  return { order, buckets };
}
