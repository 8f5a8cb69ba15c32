/**
 * What routing decides for one expert group, in one layer and micro-batch: how many rows each token slice sends to each
 * expert, and, where they are known, the picks themselves. The sources of an expert group are its etp x ep ranks in
 * group order (etp fastest), each with the token slice that it owns.
 */
import type { Layout } from '../layout/layout.js';

/** Rows of chunk `chunk` of `of` of a block of `rows`: floor(m*(c+1)/n) - floor(m*c/n). */
export const chunkRows = (rows: number, chunk: number, of: number): number =>
  of === 1 ? rows : Math.floor((rows * (chunk + 1)) / of) - Math.floor((rows * chunk) / of);

/** First of chunk `chunk` of `of` of a run. */
export const chunkStart = (length: number, chunk: number, of: number): number => Math.floor((length * chunk) / of);

/** Whether a token has a kept pick among a range of experts. */
export function reachesRange(ids: Int32Array, topK: number, token: number, { start, end }: ExpertRange): boolean {
  for (let pick = token * topK; pick < (token + 1) * topK; pick++) {
    const id = ids[pick] ?? -1;
    if (id >= start && id < end) return true;
  }
  return false;
}

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
  /** T, tokens of one replica; only needed where whole slices travel, whatever their picks. */
  readonly tokens?: number;
}

/** Experts [start, end) that one row serves. */
export interface ExpertRange {
  readonly start: number;
  readonly end: number;
}

/** What is known of a group's routing beside its sums. */
export interface RoutingDetails {
  /**
   * What chunk c of n of a block of m rows is. rows: its rows floor(m*c/n)..floor(m*(c+1)/n), which sums alone decide.
   * tokens: the rows of the tokens floor(t*c/n)..floor(t*(c+1)/n) of the source's t tokens, so that a token's rows and
   * its single copies travel in one chunk; the picks of every source must be known.
   */
  readonly cut?: 'rows' | 'tokens';
  /**
   * Share of a source's tokens that have a pick among a range of experts, where it is expected and not counted. What is
   * counted from picks is exact and slower.
   */
  readonly reach?: (source: number, experts: ExpertRange) => number;
}

export class GroupRouting {
  readonly layout: Layout;
  readonly experts: number;
  readonly localExperts: number;
  /** T, where it is known. */
  readonly tokens: number | undefined;
  readonly #find: (source: number) => SourcePicks | undefined;
  readonly #details: RoutingDetails;
  readonly #picks = new Map<number, SourcePicks | undefined>();
  /** Rows before each chunk by expert, [chunk][expert], by source and number of chunks. */
  readonly #begins = new Map<string, Int32Array>();
  /** Copies for a range of experts in each chunk, by source, range and number of chunks. */
  readonly #copies = new Map<number, Int32Array>();

  constructor(
    { layout, experts, tokens }: GroupShape,
    /** [source][expert] rows, row-major: C[s][e], what slice s sends to expert e. */
    readonly counts: Int32Array,
    /** Asked at most once for a source; absent, or undefined, where only sums are known. */
    picks: (source: number) => SourcePicks | undefined = () => undefined,
    details: RoutingDetails = {},
  ) {
    this.layout = layout;
    this.tokens = tokens;
    this.#details = details;
    this.experts = experts;
    this.localExperts = experts / layout.ep;
    this.#find = picks;
  }

  /** Whether a chunk of a block is a chunk of its rows: then the number of its rows decides how many they are. */
  get cutsRows(): boolean {
    const { cut, reach } = this.#details;
    return cut !== 'tokens' && reach !== undefined && this.tokens !== undefined;
  }

  /** Counts follow from the picks: rows are kept picks. */
  static fromPicks(shape: GroupShape, picks: readonly SourcePicks[], details: RoutingDetails = {}): GroupRouting {
    const counts = new Int32Array(picks.length * shape.experts);
    picks.forEach(({ ids }, source) => {
      const first = source * shape.experts;
      for (let pick = 0; pick < ids.length; pick++) {
        const id = ids[pick] ?? -1;
        if (id >= 0) counts[first + id] = (counts[first + id] ?? 0) + 1;
      }
    });
    return new GroupRouting(shape, counts, (source) => picks[source], details);
  }

  /** Picks of a source; undefined where only sums are known. */
  picks(source: number): SourcePicks | undefined {
    if (!this.#picks.has(source)) this.#picks.set(source, this.#find(source));
    return this.#picks.get(source);
  }

  /**
   * Rows of a part of what `source` sends to the experts of ep index `owner`. A chunk takes its share of every block.
   */
  rows(source: number, owner: number, part: Part = whole): number {
    const start = owner * this.localExperts;
    let rows = 0;
    if (part.of > 1 && this.#details.cut === 'tokens') {
      for (let e = start; e < start + this.localExperts; e++) rows += this.blockRows(source, e, part);
      return rows;
    }
    const first = source * this.experts + start;
    for (let at = first; at < first + this.localExperts; at++)
      rows += chunkRows(this.counts[at] ?? 0, part.chunk, part.of);
    return rows;
  }

  /** Rows of a part of what `source` sends to one expert. */
  blockRows(source: number, expert: number, { chunk, of }: Part = whole): number {
    const rows = this.counts[source * this.experts + expert] ?? 0;
    if (of === 1 || this.#details.cut !== 'tokens') return chunkRows(rows, chunk, of);
    return this.blockBegin(source, expert, chunk + 1, of) - this.blockBegin(source, expert, chunk, of);
  }

  /** First row of chunk `chunk` of `of` in what `source` sends to one expert; `chunk` = `of` gives the end. */
  blockBegin(source: number, expert: number, chunk: number, of: number): number {
    const rows = this.counts[source * this.experts + expert] ?? 0;
    if (chunk === of) return rows;
    if (this.#details.cut !== 'tokens') return Math.floor((rows * chunk) / of);
    return this.#begin(source, of)[chunk * this.experts + expert] ?? 0;
  }

  /**
   * Copies that leave when a token of `source` travels once for all its picks among a range of experts. Exact where
   * picks are known, else what is expected; throws where neither is.
   */
  copies(source: number, range: ExpertRange, part: Part = whole): number {
    if (range.end - range.start === 1) return this.blockRows(source, range.start, part);
    const { chunk, of } = part;
    const { experts } = this;
    const key = ((of * this.layout.etp * this.layout.ep + source) * experts + range.start) * (experts + 1) + range.end;
    let copies = this.#copies.get(key);
    if (copies === undefined) this.#copies.set(key, (copies = this.#count(source, range, of)));
    return copies[chunk] ?? 0;
  }

  #count(source: number, range: ExpertRange, of: number): Int32Array {
    const { reach } = this.#details;
    if (reach !== undefined && this.tokens !== undefined) {
      const copies = Math.round((this.tokens / this.layout.tp) * reach(source, range));
      return Int32Array.from({ length: of }, (_, chunk) => chunkRows(copies, chunk, of));
    }
    const { ids, topK } = this.#known(source);
    const tokens = ids.length / topK;
    const copies = new Int32Array(of);
    for (let chunk = 0; chunk < of; chunk++) {
      const end = chunkStart(tokens, chunk + 1, of);
      let count = 0;
      for (let token = chunkStart(tokens, chunk, of); token < end; token++)
        if (reachesRange(ids, topK, token, range)) count++;
      copies[chunk] = count;
    }
    return copies;
  }

  #begin(source: number, of: number): Int32Array {
    const key = `${source} ${of}`;
    let begins = this.#begins.get(key);
    if (begins !== undefined) return begins;
    const { ids, topK } = this.#known(source);
    const tokens = ids.length / topK;
    const { experts } = this;
    begins = new Int32Array(of * experts);
    for (let chunk = 1; chunk < of; chunk++) {
      begins.copyWithin(chunk * experts, (chunk - 1) * experts, chunk * experts);
      const end = chunkStart(tokens, chunk, of) * topK;
      for (let pick = chunkStart(tokens, chunk - 1, of) * topK; pick < end; pick++) {
        const at = chunk * experts + (ids[pick] ?? -1);
        if ((ids[pick] ?? -1) >= 0) begins[at] = (begins[at] ?? 0) + 1;
      }
    }
    this.#begins.set(key, begins);
    return begins;
  }

  #known(source: number): SourcePicks {
    const picks = this.picks(source);
    if (picks === undefined) throw new RangeError(`the picks of source ${source} are not known, only their sums`);
    return picks;
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
    const { ids, topK } = this.#known(source);
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
