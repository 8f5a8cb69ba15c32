/** A configuration file that several look into, read when the first does, and once. */
import type { Field } from '@monta/core';
import { readDocument } from '@monta/core/units/documents';
import { readTextFile } from '../files.js';

export interface ConfigFile {
  /** Its path, as messages name it. */
  readonly path: string;
  /** Throws `InputError` for what cannot be read, or is no document. */
  readonly document: () => Field;
}

export function configFile(path: string, read: (path: string) => string = readTextFile): ConfigFile {
  let document: Field | undefined;
  return { path, document: () => (document ??= readDocument(read(path), path)) };
}
