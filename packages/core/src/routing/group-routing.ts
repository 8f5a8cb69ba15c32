/**
 * What routing decides for one expert group, in one layer and micro-batch: how many rows each token slice sends to each
 * expert, and, where they are known, the picks themselves. The sources of an expert group are its etp x ep ranks in
 * group order (etp fastest), each with the token slice that it owns.
 */
import type { Layout } from '../layout/layout.js';

/** Rows of chunk `chunk` of `of` of a block of `rows`: floor(m*(c+1)/n) - floor(m*c/n). */
export const chunkRows = (rows: number, chunk: number, of: number): number =>
  of === 1 ? rows : Math.floor((rows * (chunk + 1)) / of) - Math.floor((rows * chunk) / of);

/** Chunk `chunk` of `of`. */
export interface Part {
  readonly chunk: number;
  readonly of: number;
}

export const whole: Part = { chunk: 0, of: 1 };

/** Picks of one source: [tokens of its slice][k] expert ids, row-major; ~id where the pick was dropped. */
export interface SourcePicks {
  readonly ids: Int32Array;
  readonly topK: number;
}

export interface GroupShape {
  readonly layout: Layout;
  readonly experts: number;
}

export class GroupRouting {
  readonly layout: Layout;
  readonly experts: number;
  readonly localExperts: number;
  readonly #find: (source: number) => SourcePicks | undefined;
  readonly #picks = new Map<number, SourcePicks | undefined>();

  constructor(
    { layout, experts }: GroupShape,
    /** [source][expert] rows, row-major: C[s][e], what slice s sends to expert e. */
    readonly counts: Int32Array,
    /** Asked at most once for a source; absent, or undefined, where only sums are known. */
    picks: (source: number) => SourcePicks | undefined = () => undefined,
  ) {
    this.layout = layout;
    this.experts = experts;
    this.localExperts = experts / layout.ep;
    this.#find = picks;
  }

  /** Counts follow from the picks: rows are kept picks. */
  static fromPicks(shape: GroupShape, picks: readonly SourcePicks[]): GroupRouting {
    const counts = new Int32Array(picks.length * shape.experts);
    picks.forEach(({ ids }, source) => {
      for (const id of ids)
        if (id >= 0) counts[source * shape.experts + id] = (counts[source * shape.experts + id] ?? 0) + 1;
    });
    return new GroupRouting(shape, counts, (source) => picks[source]);
  }

  /** Picks of a source; undefined where only sums are known. */
  picks(source: number): SourcePicks | undefined {
    if (!this.#picks.has(source)) this.#picks.set(source, this.#find(source));
    return this.#picks.get(source);
  }

  /**
   * Rows of a part of what `source` sends to the experts of ep index `owner`. A chunk takes its share of every block.
   */
  rows(source: number, owner: number, { chunk, of }: Part = whole): number {
    const start = source * this.experts + owner * this.localExperts;
    let rows = 0;
    for (let e = 0; e < this.localExperts; e++) rows += chunkRows(this.counts[start + e] ?? 0, chunk, of);
    return rows;
  }

  /** Rows of a part of what `source` sends in all. */
  sent(source: number, part: Part = whole): number {
    let rows = 0;
    for (let owner = 0; owner < this.layout.ep; owner++) rows += this.rows(source, owner, part);
    return rows;
  }

  /**
   * Tokens of `source` that have a kept pick among the experts of these ep indices: as many copies as leave when a
   * token travels once to a rank (one ep index) or to a node (those whose ranks lie there: `expertNodes` of the mesh).
   * A chunk is a run of the slice's tokens. Throws where only sums are known.
   */
  uniqueTokens(source: number, owners: ReadonlySet<number>, { chunk, of }: Part = whole): number {
    const picks = this.picks(source);
    if (picks === undefined) throw new RangeError(`the picks of source ${source} are not known, only their sums`);
    const { ids, topK } = picks;
    const tokens = ids.length / topK;
    const end = Math.floor((tokens * (chunk + 1)) / of) * topK;
    const reaches = (id: number): boolean => id >= 0 && owners.has(Math.floor(id / this.localExperts));
    let unique = 0;
    for (let first = Math.floor((tokens * chunk) / of) * topK; first < end; first += topK) {
      let pick = first;
      while (pick < first + topK && !reaches(ids[pick] ?? -1)) pick++;
      if (pick < first + topK) unique++;
    }
    return unique;
  }
}
