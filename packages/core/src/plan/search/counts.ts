/** What became of the settings of a space, as a search counts it. */

/** Settings of the space by what became of them: the second to the fourth add up to the first. */
export interface SearchCounts {
  readonly represented: number;
  /** Not even with everything computed again and shared do they fit. */
  readonly prunedByMemory: number;
  /** FLOPs at peak, larger micro-batches without a bubble, or less recomputation take no less than what is known. */
  readonly prunedByTime: number;
  /** Priced by the model. */
  readonly priced: number;
  /** Asked for their memory. */
  readonly weighed: number;
  /** Prices of layouts that bound theirs, beside `priced`. */
  readonly floors: number;
}

/** Places of the numbers of a row, in the order in which they are read. */
export const countAt = {
  represented: 0,
  prunedByMemory: 1,
  prunedByTime: 2,
  priced: 3,
  weighed: 4,
  floors: 5,
} as const satisfies Record<keyof SearchCounts, number>;

/** A row of numbers: a search adds to it very often, and fields that grow large change an object's shape. */
export class Counts {
  readonly #row = new Float64Array(Object.keys(countAt).length);

  add(place: number, settings: number): void {
    this.#row[place] = (this.#row[place] ?? 0) + settings;
  }

  get all(): SearchCounts {
    const [represented = 0, prunedByMemory = 0, prunedByTime = 0, priced = 0, weighed = 0, floors = 0] = this.#row;
    return { represented, prunedByMemory, prunedByTime, priced, weighed, floors };
  }

  set all(counts: SearchCounts) {
    for (const name of Object.keys(countAt) as (keyof SearchCounts)[]) this.#row[countAt[name]] = counts[name];
  }
}
