/**
 * How failures reach the person: one clear message and an exit code. 2: what was given is wrong (input, files, a full
 * disk); 1: a run failed; 130: interrupted from the keyboard. Stack traces only with MONTA_DEBUG=1.
 */
import { fileProblem } from '@monta/runtime/files';
import { appendAll, escapeControls, InputError } from '@monta/core/units';
import type { Style } from './output/style.js';

/** Thrown to unwind after Ctrl-C; the command ends with exit code 130 as shells expect (128 + SIGINT). */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  readonly exitCode = 130;

  constructor(message = 'interrupted') {
    super(message);
  }
}

/** What to do about the problems that `fileProblem` words. */
const fileAdvice: Readonly<Record<string, string>> = {
  ENOENT: 'check the path; relative paths start at the current folder',
  EACCES: 'check the rights of the file and of the folders above it',
  EPERM: 'check the rights of the file and of the folders above it',
  EROFS: 'choose a folder on another disk with --output',
  EISDIR: 'name a file inside it',
  ENOTDIR: 'check the path',
  EEXIST: 'choose another name, or remove it first',
  ENOSPC: 'free some space or choose another disk with --output; earlier runs are untouched',
  EDQUOT: 'free some space or choose another disk with --output; earlier runs are untouched',
  EFBIG: 'choose another disk with --output',
  EMFILE: 'raise the limit (ulimit -n)',
  EIO: 'check the disk',
};

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string' && 'syscall' in error;
}

/**
 * Turns a failed file operation into an `InputError` that says which file, what is wrong and what to do; passes
 * everything else through. `path` is used where the error does not name the file itself (a write to an open file does
 * not).
 */
export function fileError(error: unknown, path: string): unknown {
  if (!isSystemError(error)) return error;
  return new InputError(fileProblem(error.code) ?? error.message, { file: path, hint: fileAdvice[error.code ?? ''] });
}

/** What to print on standard error and the exit code to end with. */
export interface Failure {
  readonly text: string;
  readonly exitCode: number;
}

function exitCodeOf(error: unknown): number {
  // A rank that could not save (a full disk) failed on its surroundings; of its error only name and message cross
  // threads.
  if (error instanceof Error && error.cause instanceof Error && error.cause.name === 'SaveError') return 2;
  const code = error instanceof Error && 'exitCode' in error ? error.exitCode : undefined;
  return typeof code === 'number' && Number.isInteger(code) && code > 0 && code < 256 ? code : 1;
}

/**
 * Errors that no input should cause: they are faults of the program, and the person should know that it is not them.
 */
function isFault(error: Error): boolean {
  return [TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind);
}

function describeCauses(error: Error): string[] {
  const lines: string[] = [];
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
    lines.push(`  because ${escapeControls(cause.message, '\n\t')}`);
  return lines;
}

/** Describes anything that was thrown. */
export function describeFailure(
  thrown: unknown,
  style: Style,
  env: Readonly<Record<string, string | undefined>>,
): Failure {
  const error = isSystemError(thrown) ? fileError(thrown, thrown.path ?? 'a file') : thrown;
  const exitCode = exitCodeOf(error);
  const debug = env['MONTA_DEBUG'] === '1';
  if (error instanceof Interrupted) return { text: style.caution(error.message), exitCode };
  if (!(error instanceof Error)) return { text: style.bad(String(error)), exitCode };
  const lines: string[] = [];
  if (error instanceof InputError) {
    const [head = '', ...rest] = error.format().split('\n');
    lines.push(style.bad(head));
    appendAll(lines, rest);
  } else {
    // A save that failed says all in its own words.
    const saves = [error, error.cause].some((one) => one instanceof Error && one.name === 'SaveError');
    const message = escapeControls(error.message, '\n\t');
    const named = saves || error.name === 'Error' ? message : `${error.name}: ${message}`;
    lines.push(style.bad(named));
    appendAll(lines, saves ? ['  make room, or choose another disk, and go on from there'] : describeCauses(error));
    if (isFault(error) && !debug) {
      lines.push('  this is a fault in Monta, not in your input; MONTA_DEBUG=1 shows where it happened');
    }
  }
  if (debug && error.stack !== undefined) lines.push(style.dim(error.stack));
  return { text: lines.join('\n'), exitCode };
}
