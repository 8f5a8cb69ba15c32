import { escapeControls, presentable } from './presentable.js';

/** Where bad input was found, what would have been right, and what to do about it. */
export interface InputErrorDetails {
  readonly file?: string;
  /** 1-based. */
  readonly line?: number;
  /** 1-based. */
  readonly column?: number;
  /** Path inside the document, as `tiers[1].bandwidth`. */
  readonly path?: string;
  /** What was expected, as the end of the sentence "expected …". */
  readonly expected?: string;
  /** What to do, a line of its own, as `did you mean 200 Gbps?`. */
  readonly hint?: string;
}

/** Something that a person gave is wrong: the command prints `format()` and ends with exit code 2. */
export class InputError extends Error {
  override readonly name = 'InputError';
  readonly exitCode = 2;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  readonly path?: string;
  readonly expected?: string;
  readonly hint?: string;

  constructor(message: string, details: InputErrorDetails = {}) {
    super(message);
    this.file = details.file;
    this.line = details.line;
    this.column = details.column;
    this.path = details.path;
    this.expected = details.expected;
    this.hint = details.hint;
  }

  /** The same complaint with more known about where it was found; what `this` knows already wins. */
  at(details: InputErrorDetails): InputError {
    return new InputError(this.message, {
      file: this.file ?? details.file,
      line: this.line ?? details.line,
      column: this.column ?? details.column,
      path: this.path ?? details.path,
      expected: this.expected ?? details.expected,
      hint: this.hint ?? details.hint,
    });
  }

  /** The same complaint about a flag, which is all of its place: a name within is the flag's own, spelled otherwise. */
  about(flag: string): InputError {
    return new InputError(this.message, { file: flag, expected: this.expected, hint: this.hint });
  }

  /**
   * The text for people: `file:line:column path: message`, then what was expected and what to do, each indented on a
   * line of its own. Parts that are not known are left out; long values are shortened and control characters escaped.
   */
  format(): string {
    const place = [this.file, this.line, this.line === undefined ? undefined : this.column].filter(
      (p) => p !== undefined,
    );
    const said = [this.path, this.message].filter((p) => p !== undefined && p !== '').map((p) => presentable(p ?? ''));
    const head = [escapeControls(place.join(':')), said.join(': ')];
    const lines = [head.filter((p) => p !== '').join('  ')];
    if (this.expected !== undefined) lines.push(`  expected ${presentable(this.expected)}`);
    if (this.hint !== undefined) lines.push(`  ${presentable(this.hint)}`);
    return lines.join('\n');
  }
}
