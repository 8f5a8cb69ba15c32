/**
 * Takes a large JSON object apart while its text arrives in pieces: the elements of one array are handed out one by
 * one, so that the text never has to be in memory as a whole. Only nesting and strings are followed here; values are
 * left to JSON.parse.
 */

export interface JsonParts {
  /** The member whose value is the large array. */
  readonly array: string;
  /** Told of each element of the array, with the line on which it begins, counted from 1. */
  readonly onElement: (text: string, index: number, line: number) => void;
  /** Told of every other member of the object: `"name": value`. */
  readonly onMember: (text: string, line: number) => void;
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const newline = 0x0a;
const [openBracket, closeBracket] = [0x5b, 0x5d];
const [openBrace, closeBrace] = [0x7b, 0x7d];

/**
 * Of an element, or of another member: beyond it a file is no trace, and would fill the memory while its end is looked
 * for.
 */
const mostPartLength = 64 * 2 ** 20;

/** Depth inside the object itself, and inside the array that is handed out. */
const [inObject, inArray] = [1, 2];

export class JsonPieces {
  readonly #parts: JsonParts;
  /** Text that belongs to the part which is being read. */
  #rest = '';
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** Inside the array that is handed out. */
  #streaming = false;
  #count = 0;
  #line = 1;
  /** Where the part that is being read begins. */
  #partLine = 1;
  #ended = false;

  constructor(parts: JsonParts) {
    this.#parts = parts;
  }

  /** Line up to which text was read. */
  get line(): number {
    return this.#line;
  }

  /** Reads on. Throws SyntaxError where the text is no JSON object. */
  push(piece: string): void {
    let from = 0;
    for (let at = 0; at < piece.length; at++) {
      const code = piece.charCodeAt(at);
      if (code === newline) this.#line += 1;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (code === backslash) this.#escaped = true;
        else if (code === quote) this.#inString = false;
        continue;
      }
      switch (code) {
        case quote:
          this.#inString = true;
          break;
        case openBrace:
        case openBracket:
          this.#depth += 1;
          if (this.#depth === inObject) {
            if (code !== openBrace || this.#ended) throw new SyntaxError('is not one JSON object');
            from = this.#begin(at + 1);
          } else if (this.#depth === inArray && code === openBracket && this.#isArray(piece.slice(from, at))) {
            this.#streaming = true;
            from = this.#begin(at + 1);
          }
          break;
        case closeBrace:
        case closeBracket:
          if (this.#streaming && this.#depth === inArray) {
            if (code !== closeBracket) throw new SyntaxError('closes an array with a brace');
            this.#finish(piece.slice(from, at));
            this.#streaming = false;
            from = this.#begin(at + 1);
          } else if (this.#depth === inObject) {
            if (code !== closeBrace) throw new SyntaxError('closes an object with a bracket');
            this.#finish(piece.slice(from, at));
            this.#ended = true;
            from = this.#begin(at + 1);
          }
          this.#depth -= 1;
          if (this.#depth < 0) throw new SyntaxError('closes more than was opened');
          break;
        case comma:
          if (this.#depth === (this.#streaming ? inArray : inObject)) {
            this.#finish(piece.slice(from, at), true);
            from = this.#begin(at + 1);
          }
          break;
      }
    }
    this.#rest += piece.slice(from);
    if (this.#rest.length > mostPartLength)
      throw new SyntaxError(
        `has a part of more than ${mostPartLength} characters, which begins on line ${this.#partLine}`,
      );
  }

  /** The text has ended. Throws SyntaxError when it ended too early. */
  end(): void {
    if (!this.#ended) throw new SyntaxError(this.#line === 1 && this.#depth === 0 ? 'holds no object' : 'is cut short');
    if (this.#rest.trim() !== '') throw new SyntaxError('goes on after its end');
  }

  #begin(at: number): number {
    this.#rest = '';
    this.#partLine = this.#line;
    return at;
  }

  #isArray(tail: string): boolean {
    return /^\s*"((?:[^"\\]|\\.)*)"\s*:\s*$/u.exec(this.#rest + tail)?.[1] === this.#parts.array;
  }

  #finish(tail: string, byComma = false): void {
    const text = this.#rest + tail;
    const trimmed = text.trim();
    if (trimmed === '') {
      // an array may be empty, and nothing stands between the end of the large array and what follows it
      if (this.#streaming && (this.#count > 0 || byComma)) throw new SyntaxError('has an empty place in its array');
      return;
    }
    const line = this.#partLine + newlinesBefore(text);
    if (this.#streaming) this.#parts.onElement(trimmed, this.#count++, line);
    else this.#parts.onMember(trimmed, line);
  }
}

/** Line breaks in front of a text's first other character. */
function newlinesBefore(text: string): number {
  let count = 0;
  for (let at = 0; at < text.length && text.charCodeAt(at) <= 0x20; at++)
    if (text.charCodeAt(at) === newline) count += 1;
  return count;
}
