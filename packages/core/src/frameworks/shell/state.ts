/**
 * What a launch script has said so far: variables, functions, and what had to be assumed because only a running machine
 * knows it.
 */
import type { Function as ShellFunction } from 'unbash';
import type { Located, Place, Source } from './place.js';

/** A variable holds one text, a list, or a map by key. */
export type Variable =
  | { readonly kind: 'text'; readonly value: Located }
  | { readonly kind: 'list'; readonly values: readonly Located[] }
  | { readonly kind: 'map'; readonly entries: ReadonlyMap<string, Located> };

/** What was taken for granted, in words, and where. */
export interface Assumption {
  readonly text: string;
  readonly place: Place;
}

/** A command that the script runs. */
export interface RunCommand {
  /** Program and arguments after expansion. */
  readonly words: readonly Located[];
  /**
   * Words in front of the shell whose text it stands in, as `srun --ntasks 16`; absent for a command of the script
   * itself.
   */
  readonly startedBy?: readonly Located[];
  /** Exported variables and those in front of the command. */
  readonly environment: ReadonlyMap<string, Located>;
}

/** A function of the script, and the file it is in. */
export interface DefinedFunction {
  readonly node: ShellFunction;
  readonly source: Source;
}

/** Stands for white space in what is not known, so that it stays one word. */
const spaceMark = '\uE002';

/**
 * Stands for text that only the running machine knows, as of `$(hostname)`: what is between the marks says where it
 * comes from.
 */
export const unknownText = (what: string): string => `\uE000${what.replaceAll(/\s/gu, spaceMark)}\uE001`;
export const isUnknown = (text: string): boolean => text.includes('\uE000');
/** The text with its marks made readable. */
export const readable = (text: string): string => text.replaceAll(/[\uE000\uE001]/gu, '').replaceAll(spaceMark, ' ');

/** Statements that one script may run, so that a loop without an end ends. */
const statementLimit = 20_000;
/** Functions and sourced files inside one another. */
const depthLimit = 64;

export class ShellState {
  readonly variables = new Map<string, Variable>();
  readonly exported = new Set<string>();
  readonly functions = new Map<string, DefinedFunction>();
  readonly commands: RunCommand[] = [];
  /** Texts that the script writes to files itself, by their paths. */
  readonly written = new Map<string, string>();
  /** A file that it sources and that is not at hand: what nothing sets may be set there. */
  unread: string | undefined;
  /** Words of the script's header for a batch queue: what srun starts without counts of its own has those. */
  batch: readonly Located[] = [];
  readonly #assumptions = new Map<string, Assumption>();
  #positional: readonly Located[] = [];
  #statements = 0;
  #depth = 0;

  /** `given` has the text of a file that the script sources, or undefined. */
  constructor(readonly given: (path: string) => string | undefined) {}

  /** The text of a file: what the script wrote itself, or what was given. */
  readFile(path: string): string | undefined {
    return this.written.get(path) ?? this.given(path);
  }

  get assumptions(): readonly Assumption[] {
    return [...this.#assumptions.values()];
  }

  get positional(): readonly Located[] {
    return this.#positional;
  }

  /** Notes an assumption once. */
  assume(text: string, place: Place): void {
    if (!this.#assumptions.has(text)) this.#assumptions.set(text, { text, place });
  }

  set(name: string, variable: Variable): void {
    this.variables.set(name, variable);
  }

  setText(name: string, text: string, place: Place): void {
    this.set(name, { kind: 'text', value: { text, place } });
  }

  /** Gives the script other arguments, as `set --` does. */
  setPositional(list: readonly Located[]): void {
    this.#positional = list;
  }

  /** Drops the first arguments, as `shift` does. */
  shift(count: number): void {
    this.#positional = this.#positional.slice(count);
  }

  /** Runs `body` with other arguments ($1, $2 …). */
  withArguments(list: readonly Located[], body: () => void): void {
    const before = this.#positional;
    this.#positional = list;
    this.#depth += 1;
    if (this.#depth <= depthLimit) body();
    this.#depth -= 1;
    this.#positional = before;
  }

  /** False when the script has run so many statements that it will hardly end. */
  spend(place: Place): boolean {
    this.#statements += 1;
    if (this.#statements === statementLimit)
      this.assume(`read no further than ${statementLimit} statements: a loop seems to have no end`, place);
    return this.#statements < statementLimit;
  }

  environment(): Map<string, Located> {
    const list: [string, Located][] = [];
    for (const name of this.exported) {
      const variable = this.variables.get(name);
      if (variable?.kind === 'text') list.push([name, variable.value]);
    }
    return new Map(list);
  }
}
