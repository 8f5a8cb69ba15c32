/** What commands inside `$(…)` print. */
export class Printed {
  /** Lines so far; undefined outside of `$(…)`. */
  #lines: string[] | undefined;
  /** Something was printed that only a running machine knows. */
  #unknown = false;

  /** Runs what stands in `$(…)`; undefined where what it prints is not known, or nothing. */
  capture(run: () => void): string | undefined {
    const [outer, unknown] = [this.#lines, this.#unknown];
    const lines: string[] = [];
    this.#lines = lines;
    this.#unknown = false;
    run();
    const failed = this.#unknown || lines.length === 0;
    this.#lines = outer;
    this.#unknown = unknown;
    return failed ? undefined : lines.join('\n');
  }

  /** A program prints what nobody knows; false outside of `$(…)`, where it does not matter. */
  byProgram(): boolean {
    if (this.#lines !== undefined) this.#unknown = true;
    return this.#lines !== undefined;
  }

  /** echo and printf. */
  print(program: string, texts: readonly string[]): void {
    if (this.#lines === undefined) return;
    const words = texts.filter((text, index) => !(program === 'echo' && index === 0 && /^-[neE]+$/u.test(text)));
    if (program === 'printf' && words.length > 1) this.#unknown = true;
    this.#lines.push(words.join(' '));
  }
}
