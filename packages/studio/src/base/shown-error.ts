/** Complaints as the page shows them: at the input that they are about. */
import { InputError } from '@monta/core';

export interface ShownError {
  /** The input that it is about; undefined: the whole. */
  readonly field: string | undefined;
  readonly message: string;
  readonly expected: string | undefined;
  readonly hint: string | undefined;
}

/** What a person reads of an error. Faults of the program are told as such. */
export function shownError(error: unknown): ShownError {
  if (!(error instanceof InputError)) {
    const text = error instanceof Error ? error.message : String(error);
    return { field: undefined, message: `a fault in Monta: ${text}`, expected: undefined, hint: undefined };
  }
  const { file, path, message, expected, hint } = error;
  return { field: file, message: path === undefined ? message : `${path}: ${message}`, expected, hint };
}

/** Runs `read`; a complaint is about `field`. */
export function about<T>(field: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof InputError ? error.at({ file: field }) : error;
  }
}
