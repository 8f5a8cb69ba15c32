/**
 * Halves of dispatchers by name. The list is open: whoever writes a half adds it, and everything that reads schedules
 * finds it by its name.
 */
import { didYouMean, InputError } from '../../units/index.js';

export class HalfList<Half extends { readonly name: string }> {
  readonly #what: string;
  readonly #halves = new Map<string, Half>();

  /** `what` they are called in messages; those first that usually win. */
  constructor(what: string, halves: readonly Half[]) {
    this.#what = what;
    for (const half of halves) this.add(half);
  }

  /** In the order of adding. */
  get names(): string[] {
    return [...this.#halves.keys()];
  }

  /** Throws `InputError` for a name that is not in the list. */
  get(name: string): Half {
    const half = this.#halves.get(name);
    if (half !== undefined) return half;
    throw new InputError(`there is no ${this.#what} "${name}"`, {
      expected: `one of ${this.names.join(', ')}`,
      hint: didYouMean(name, this.names),
    });
  }

  /**
   * Adds a half at the end; the function that it returns takes it out again. Throws RangeError for a name that is
   * taken.
   */
  add(half: Half): () => void {
    const { name } = half;
    if (this.#halves.has(name)) throw new RangeError(`there is a ${this.#what} ${name} already`);
    this.#halves.set(name, half);
    return () => this.#halves.delete(name);
  }
}
