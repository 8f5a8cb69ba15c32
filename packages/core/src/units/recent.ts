/** Values by key, as many as were asked for last: what is made again for equal questions is found again. */
export class Recent<Value> {
  readonly #most: number;
  /** The one that was asked for last comes last. */
  readonly #known = new Map<string, Value>();

  /** `most`: how many are kept, at least 1. */
  constructor(most: number) {
    this.#most = most;
  }

  /** The value of a key, made where it is not among those that were asked for last. */
  of(key: string, make: () => Value): Value {
    const found = this.#known.get(key);
    const value = found ?? make();
    this.#known.delete(key);
    this.#known.set(key, value);
    const [oldest] = this.#known.keys();
    if (this.#known.size > this.#most && oldest !== undefined) this.#known.delete(oldest);
    return value;
  }
}
