/**
 * YAML and JSON documents whose every value knows where it stands, so that a complaint about it can say
 * `cluster.yaml:5:52  tiers[1].bandwidth: …`.
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter } from 'yaml';
import type { Node } from 'yaml';
import { InputError } from '../errors.js';
import type { InputErrorDetails } from '../errors.js';
import { didYouMean } from '../nearest.js';
import { parseDocumentText, plainData, type ParsedDocument } from './parse-document.js';

interface Source extends ParsedDocument {
  readonly file: string;
  readonly lines: LineCounter;
}

interface NumberRange {
  readonly min?: number;
  readonly max?: number;
  /** Exclusive lower bound. */
  readonly above?: number;
}

/**
 * One value of a document. Its accessors return the value in a given form, or throw an `InputError` that says where it
 * stands.
 */
export class Field {
  readonly path: string;
  readonly #source: Source;
  readonly #node: Node | null;
  /** Where to point: the value, or for a key with nothing behind it the key. */
  readonly #offset: number;

  /** Use `readDocument`. */
  constructor(source: Source, node: Node | null, path: string, offset: number) {
    this.#source = source;
    this.#node = isAlias(node) ? (source.targets.get(node) ?? null) : node;
    this.path = path;
    this.#offset = node?.range?.[0] ?? offset;
  }

  /** The value as plain data. */
  get value(): unknown {
    return plainData(this.#node, this.#source.targets);
  }

  /** Whether nothing is written, or null. */
  get isNothing(): boolean {
    return this.#node === null || (isScalar(this.#node) && this.#node.value === null);
  }

  get isMap(): boolean {
    return isMap(this.#node);
  }

  get isList(): boolean {
    return isSeq(this.#node);
  }

  /** An error about this value, to be thrown. */
  error(message: string, details: InputErrorDetails = {}): InputError {
    return this.#errorAt(this.#offset, this.path, message, details);
  }

  #errorAt(offset: number, path: string, message: string, details: InputErrorDetails): InputError {
    const { line, col } = this.#source.lines.linePos(offset);
    return new InputError(message, { ...details, file: this.#source.file, line, column: col, path });
  }

  #shown(): string {
    if (isMap(this.#node)) return 'a map';
    if (isSeq(this.#node)) return 'a list';
    const value = this.value;
    return value === null ? 'nothing' : JSON.stringify(value);
  }

  /**
   * A map whose keys are all among `keys`. Unknown keys are errors, with the nearest known key as a hint; without
   * `keys` any are allowed, as in files of other programs.
   */
  map(keys?: readonly string[]): FieldMap {
    if (!isMap(this.#node))
      throw this.error(`${this.#shown()} is not a map`, {
        expected: keys === undefined ? 'a map' : `keys ${keys.join(', ')}`,
      });
    const fields = new Map<string, Field>();
    for (const { key, value } of this.#node.items) {
      const name = String(isScalar(key) ? key.value : key);
      const offset = (key as Node | null)?.range?.[0] ?? this.#offset;
      const path = this.path === '' ? name : `${this.path}.${name}`;
      if (keys !== undefined && !keys.includes(name)) {
        throw this.#errorAt(offset, path, `unknown key "${name}"`, {
          expected: `one of ${keys.join(', ')}`,
          hint: didYouMean(name, keys),
        });
      }
      fields.set(name, new Field(this.#source, value as Node | null, path, offset));
    }
    return new FieldMap(this, fields);
  }

  /** The names of the keys of a map, unchecked. */
  keys(): string[] {
    return isMap(this.#node) ? this.#node.items.map(({ key }) => String(isScalar(key) ? key.value : key)) : [];
  }

  /** A list of `atLeast` to `atMost` items. */
  list(atLeast = 0, atMost = Infinity): Field[] {
    if (!isSeq(this.#node)) throw this.error(`${this.#shown()} is not a list`, { expected: 'a list' });
    const items = this.#node.items as (Node | null)[];
    if (items.length < atLeast || items.length > atMost) {
      throw this.error(`the list has ${items.length} items`, {
        expected: items.length < atLeast ? `at least ${atLeast}` : `at most ${atMost}`,
      });
    }
    return items.map((item, i) => new Field(this.#source, item, `${this.path}[${i}]`, this.#offset));
  }

  string(): string {
    const value = this.value;
    if (typeof value === 'string' && value !== '') return value;
    throw this.error(`${this.#shown()} is not text`, { expected: 'text (in quotes if it looks like a number)' });
  }

  /** One of a few words. */
  oneOf<T extends string>(words: readonly T[]): T {
    const value = this.value;
    const word = words.find((w) => w === value);
    if (word !== undefined) return word;
    throw this.error(`${this.#shown()} is not known here`, {
      expected: words.length === 1 ? words[0] : `one of ${words.join(', ')}`,
      hint: typeof value === 'string' ? didYouMean(value, words) : undefined,
    });
  }

  boolean(): boolean {
    const value = this.value;
    if (typeof value === 'boolean') return value;
    throw this.error(`${this.#shown()} is not true or false`, { expected: 'true or false' });
  }

  /** A finite number in a range. */
  number(range: NumberRange = {}): number {
    const value = this.value;
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      throw this.error(`${this.#shown()} is not a number`, { expected: rangeText('a number', range) });
    }
    return this.#inRange(value, 'a number', range);
  }

  /** A whole number from `min` (1 unless told otherwise) to `max`: whatever is made of a count has to fit. */
  integer({ min = 1, max }: { readonly min?: number; readonly max: number }): number {
    const value = this.value;
    const range = { min, max };
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) {
      throw this.error(`${this.#shown()} is not a whole number`, { expected: rangeText('a whole number', range) });
    }
    return this.#inRange(value, 'a whole number', range);
  }

  #inRange(value: number, noun: string, range: NumberRange): number {
    const { min = -Infinity, max = Infinity, above = -Infinity } = range;
    if (value >= min && value <= max && value > above) return value;
    throw this.error(`${value} is out of range`, { expected: rangeText(noun, range) });
  }

  /** A text or number handed to a parser of `quantities.ts`; its error gets this place. `positive` refuses 0. */
  quantity(parse: (text: string | number) => number, positive = true): number {
    const value = this.value;
    if (typeof value !== 'string' && typeof value !== 'number') {
      throw this.error(`${this.#shown()} is not a quantity`, { expected: 'a number with a unit' });
    }
    const result = this.parsed(() => parse(value));
    if (positive && result <= 0) throw this.error(`"${value}" is not positive`, { expected: 'more than 0' });
    return result;
  }

  /** Runs `parse`, adding this place to any `InputError` that it throws. */
  parsed<T>(parse: () => T): T {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      const { line, col } = this.#source.lines.linePos(this.#offset);
      throw error.at({ file: this.#source.file, line, column: col, path: this.path });
    }
  }
}

function rangeText(noun: string, { min, max, above }: NumberRange): string {
  if (above !== undefined) return `${noun} above ${above}${max === undefined ? '' : ` and at most ${max}`}`;
  if (min !== undefined && max !== undefined) return `${noun} from ${min} to ${max}`;
  if (min !== undefined) return `${noun} of at least ${min}`;
  return max === undefined ? noun : `${noun} of at most ${max}`;
}

/** The keys of a map, checked. */
export class FieldMap {
  readonly #owner: Field;
  readonly #fields: ReadonlyMap<string, Field>;

  constructor(owner: Field, fields: ReadonlyMap<string, Field>) {
    this.#owner = owner;
    this.#fields = fields;
  }

  /** The value of a key; undefined when the key is absent or empty. */
  get(key: string): Field | undefined {
    const field = this.#fields.get(key);
    return field === undefined || field.isNothing ? undefined : field;
  }

  /** A key that is there with null or nothing behind it, which `get` takes for absent. */
  nothingAt(key: string): Field | undefined {
    const field = this.#fields.get(key);
    return field?.isNothing === true ? field : undefined;
  }

  /** The value of a key that has to be there. `expected` says what to write. */
  need(key: string, expected?: string): Field {
    const field = this.get(key);
    if (field !== undefined) return field;
    throw this.#owner.error(`"${key}" is missing`, { expected });
  }

  keys(): string[] {
    return [...this.#fields.keys()];
  }
}

/**
 * Reads YAML or JSON text (JSON is read as YAML, which includes it). `fileName` is only for messages. Throws
 * `InputError` for text that does not parse, for repeated keys, for an empty document, and for one that is too large or
 * too deep, as it stands or with what its aliases repeat.
 */
export function readDocument(text: string, fileName: string): Field {
  const lines = new LineCounter();
  const parsed = parseDocumentText(text, fileName, lines);
  return new Field({ file: fileName, lines, ...parsed }, parsed.document.contents, '', 0);
}
