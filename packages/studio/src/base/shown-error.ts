/** Complaints as the page shows them: at the input that they are about. */
import { InputError } from '@monta/core';

export interface ShownError {
  /** The input that it is about; undefined: the whole. */
  readonly field: string | undefined;
  readonly message: string;
  readonly expected: string | undefined;
  readonly hint: string | undefined;
}

/** A complaint, and the input that it is about. */
class FieldComplaint extends Error {
  override readonly name = 'FieldComplaint';
  readonly field: string;
  readonly complaint: InputError;

  constructor(field: string, complaint: InputError) {
    super(complaint.message);
    this.field = field;
    this.complaint = complaint;
  }
}

/** What a person reads of an error, with its place in a file. Faults of the program are told as such. */
export function shownError(error: unknown): ShownError {
  const complaint = error instanceof FieldComplaint ? error.complaint : error;
  if (!(complaint instanceof InputError)) {
    const text = error instanceof Error ? error.message : String(error);
    return { field: undefined, message: `a fault in Monta: ${text}`, expected: undefined, hint: undefined };
  }
  const { file, line, column, path, message, expected, hint } = complaint;
  const place = [file, line, line === undefined ? undefined : column].filter((part) => part !== undefined).join(':');
  const inFile = error instanceof FieldComplaint && place !== '' ? [place] : [];
  const said = [...inFile, ...(path === undefined ? [] : [path]), message];
  return { field: error instanceof FieldComplaint ? error.field : file, message: said.join(': '), expected, hint };
}

/** Runs `read`; a complaint is about `field`, where nothing inside said so already. */
export function about<T>(field: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof InputError ? new FieldComplaint(field, error) : error;
  }
}
