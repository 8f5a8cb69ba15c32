/**
 * Where a command speaks: results on standard output, notes, warnings, errors and progress on standard error. A reader
 * that closes the pipe early (`monta plan | head`) silences that stream and nothing else: a training run goes on. So it
 * does where the results' disk is full, and says so at its end (`lost`).
 */
import { escapeControls } from '@monta/core/units';
import { colourWanted, createStyle, type Style } from './style.js';

/** What the console needs of a stream; `process.stdout` and `process.stderr` are such streams. */
export interface OutputStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  on?(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
}

/** A stream that drops everything once its reader has gone, or once it has failed. */
class PatientStream {
  private closed = false;
  /** Why it failed, for another reason than that its reader has gone. */
  failure: NodeJS.ErrnoException | undefined;

  constructor(readonly stream: OutputStream) {
    stream.on?.('error', (error) => this.failed(error));
  }

  write(text: string): void {
    if (this.closed) return;
    try {
      this.stream.write(text);
    } catch (error) {
      this.failed(error as NodeJS.ErrnoException);
    }
  }

  private failed(error: NodeJS.ErrnoException): void {
    this.closed = true;
    if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') this.failure ??= error;
  }
}

/** Colour and weight, as `Style` writes them; all that a text may ask of the terminal besides new lines and tabs. */
const dressing = new RegExp(`(${String.fromCodePoint(0x1b)}\\[[\\d;]*m)`, 'u');

/** Text in which names and values of others stand: a terminal must not obey what a file says. */
const harmless = (text: string): string =>
  text
    .split(dressing)
    .map((part, index) => (index % 2 === 1 ? part : escapeControls(part, '\n\t')))
    .join('');

/** Prints results, notes and warnings. */
export class Console {
  /** Style for what goes to standard output. */
  readonly style: Style;
  /** Style for what goes to standard error. */
  readonly errorStyle: Style;
  private readonly out: PatientStream;
  private readonly err: PatientStream;

  constructor(
    out: OutputStream,
    err: OutputStream,
    readonly env: Readonly<Record<string, string | undefined>>,
    /** Commands that a text names, as the person types them (`asTyped`). */
    readonly typed: (text: string) => string = (text) => text,
  ) {
    this.out = new PatientStream(out);
    this.err = new PatientStream(err);
    this.style = createStyle(colourWanted(out.isTTY === true, env), this.lineColumns());
    this.errorStyle = createStyle(colourWanted(err.isTTY === true, env));
  }

  /** Why results did not get out, though somebody reads: a full disk, say. */
  get lost(): NodeJS.ErrnoException | undefined {
    return this.out.failure;
  }

  /**
   * Columns that lines of the results should keep to: those of the terminal, or what COLUMNS says; Infinity where
   * neither does, so that files have every column.
   */
  private lineColumns(): number {
    const asked = Number(this.env['COLUMNS'] ?? '');
    if (Number.isInteger(asked) && asked > 0) return asked;
    return this.out.stream.isTTY === true ? (this.out.stream.columns ?? Infinity) : Infinity;
  }

  /**
   * Columns of the terminal that shows the results; 100 where there is none, so that files look the same everywhere.
   */
  get columns(): number {
    return this.out.stream.isTTY === true ? (this.out.stream.columns ?? 100) : 100;
  }

  /** Columns of the terminal that shows progress, or undefined where there is none. */
  get progressColumns(): number | undefined {
    return this.err.stream.isTTY === true ? (this.err.stream.columns ?? 100) : undefined;
  }

  /** A line (or several) of the result. */
  print(text = ''): void {
    this.out.write(`${harmless(text)}\n`);
  }

  /** Text for standard output as it is. */
  write(text: string): void {
    this.out.write(text);
  }

  /**
   * The result as JSON: SI base units, no colour. Numbers that JSON cannot hold (infinities, NaN) become null.
   */
  json(value: unknown): void {
    this.out.write(`${JSON.stringify(value, null, 2)}\n`);
  }

  /** Something worth knowing that is not the result. */
  note(text: string): void {
    this.err.write(`${this.errorStyle.dim('note')}  ${harmless(this.typed(text))}\n`);
  }

  /** Something that may make the result mean less than it seems. */
  warn(text: string): void {
    this.err.write(`${this.errorStyle.caution('warning')}  ${harmless(this.typed(text))}\n`);
  }

  /** Text for standard error as it is: errors, and the progress line. */
  printError(text: string): void {
    this.err.write(text);
  }
}
