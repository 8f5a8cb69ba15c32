/** A list that stays short however much is added: what is left of it lies evenly over all that was added. */

/** Of this many or fewer, nothing is left out. */
export const mostKept = 4096;

/**
 * Keeps what is added until it is more than `most`, then every second, every fourth and so on, and always the last. An
 * even `most` of at least 2.
 */
export class Thinned<T> {
  readonly #most: number;
  #kept: T[] = [];
  #every = 1;
  #last: T | undefined;
  #added = 0;

  constructor(most = mostKept) {
    this.#most = most;
  }

  /** How many were added. */
  get added(): number {
    return this.#added;
  }

  add(item: T): void {
    if (this.#added % this.#every === 0) {
      if (this.#kept.length === this.#most) {
        this.#kept = this.#kept.filter((_, index) => index % 2 === 0);
        this.#every *= 2;
      }
      if (this.#added % this.#every === 0) this.#kept.push(item);
    }
    this.#last = item;
    this.#added += 1;
  }

  /** The first, every so many after it, and the last. */
  list(): T[] {
    const lastIsKept = this.#added === 0 || (this.#added - 1) % this.#every === 0;
    return lastIsKept ? [...this.#kept] : [...this.#kept, this.#last as T];
  }
}
