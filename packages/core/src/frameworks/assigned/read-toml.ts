/** Keys of a TOML document with where they stand. */
import { parse, TomlError } from 'smol-toml';
import { InputError } from '../../units/errors.js';
import { isRecord } from '../../units/record.js';
import type { Source } from '../shell/place.js';
import type { Assignment } from './assignment.js';

/** Where each key begins, by its path: headers and keys at the beginning of lines. */
function placesOf(text: string): ReadonlyMap<string, { readonly start: number; readonly length: number }> {
  const places = new Map<string, { start: number; length: number }>();
  let [section, offset] = ['', 0];
  for (const line of text.split('\n')) {
    const header = /^\s*\[([\w.\s-]+)\]/u.exec(line)?.[1];
    if (header !== undefined) section = header.replaceAll(/\s/gu, '');
    const [, indent = '', name] = /^(\s*)([\w.-]+)\s*=/u.exec(line) ?? [];
    if (name !== undefined)
      places.set(section === '' ? name : `${section}.${name}`, { start: offset + indent.length, length: name.length });
    offset += line.length + 1;
  }
  return places;
}

/** Text that no configuration is as long as. */
const mostLength = 2 ** 20;

/** Every key with a value that is no table. Throws `InputError` for text that is no TOML. */
export function tomlAssignments(source: Source): Assignment[] {
  const { file, text } = source;
  if (text.length > mostLength)
    throw new InputError('is too large', { file, expected: `a configuration of at most ${mostLength} characters` });
  const places = placesOf(text);
  const found: Assignment[] = [];
  const read = (table: Readonly<Record<string, unknown>>, path: string): void => {
    for (const [name, value] of Object.entries(table)) {
      const key = path === '' ? name : `${path}.${name}`;
      if (isRecord(value) && !(value instanceof Date)) {
        read(value, key);
        continue;
      }
      const { start = 0, length = 0 } = places.get(key) ?? {};
      found.push({ key, value, at: { text: key, place: { source, start, end: start + length } } });
    }
  };
  read(parsed(source), '');
  return found;
}

function parsed({ file, text }: Source): Readonly<Record<string, unknown>> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [first = ''] = error.message.split('\n');
    throw new InputError(`cannot be read as TOML: ${first}`, {
      file,
      line: error.line,
      column: error.column,
      expected: 'a TOML document',
    });
  }
}
