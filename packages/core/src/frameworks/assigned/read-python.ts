/**
 * What a recipe in Python sets: assignments to attributes (`cfg.model.expert_model_parallel_size = 8`), arguments by
 * name and entries of dictionaries, one a line. Python is not run: a value that is no literal is not known, and of
 * several lines of a function that set one key the last counts.
 */
import type { Source } from '../shell/place.js';
import { valueOfText, type Assignment } from './assignment.js';

const attribute = /^\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)\s*(?::\s*[^=]+)?=(?!=)\s*(.*)$/u;
const constant = /^([A-Za-z_]\w*)\s*(?::\s*[^=]+)?=(?!=)\s*(.*)$/u;
const argument = /^\s+([A-Za-z_]\w*)\s*=(?!=)\s*(.*),\s*$/u;
const entry = /^\s*["']([A-Za-z_]\w*)["']\s*:\s*(.*?),?\s*$/u;

/** Lines that one bracket may span. */
const mostLines = 400;
/** Longer lines hold data. */
const mostLength = 2000;

/** The line without its comment; a sign of number inside quotes is none. */
function withoutComment(line: string): string {
  let quote = '';
  for (let at = 0; at < line.length; at++) {
    const sign = line[at] ?? '';
    if (quote !== '') quote = sign === quote ? '' : quote;
    else if (sign === '"' || sign === "'") quote = sign;
    else if (sign === '#') return line.slice(0, at).trimEnd();
  }
  return line;
}

const openings = (text: string): number => {
  const bare = text.replaceAll(/"[^"]*"|'[^']*'/gu, '');
  return (bare.match(/[[(]/gu)?.length ?? 0) - (bare.match(/[\])]/gu)?.length ?? 0);
};

/** Key of an argument by name: what is called is not followed. */
export const argumentSection = 'arguments';

/** What a function of the file sets, or the file outside of all of them. */
export interface PythonPart {
  /** Empty outside of functions. */
  readonly name: string;
  readonly assignments: readonly Assignment[];
}

const definition = /^(?:async\s+)?def\s+(\w+)|^class\s+(\w+)/u;

/** Everything that is set, by the outermost function that it stands in, in the order of the text. */
export function pythonParts(source: Source): PythonPart[] {
  const parts: { name: string; assignments: Assignment[] }[] = [{ name: '', assignments: [] }];
  const lines = source.text.split('\n');
  const constants = new Map<string, unknown>();
  let offset = 0;
  const valueFrom = (index: number, text: string): unknown => {
    let whole = text;
    if (/^[[(]/u.test(text))
      for (let next = index + 1; openings(whole) > 0 && next < Math.min(lines.length, index + mostLines); next++)
        whole += withoutComment(lines[next] ?? '');
    whole = whole.replace(/,\s*$/u, '');
    return constants.has(whole) ? constants.get(whole) : valueOfText(whole, 'unknown');
  };
  lines.forEach((raw, index) => {
    const line = raw.length > mostLength ? '' : withoutComment(raw);
    const start = offset;
    offset += raw.length + 1;
    const [, called, kind] = definition.exec(line) ?? [];
    if (called !== undefined || kind !== undefined) parts.push({ name: called ?? kind ?? '', assignments: [] });
    const add = (name: string, key: string, text: string): void => {
      const at = start + raw.indexOf(name);
      parts.at(-1)?.assignments.push({
        key,
        value: valueFrom(index, text),
        at: { text: name, place: { source, start: at, end: at + name.length } },
      });
    };
    const [, path, value] = attribute.exec(line) ?? [];
    if (path !== undefined && value !== undefined) {
      add(path, path.slice(path.indexOf('.') + 1), value);
      return;
    }
    const [, named, literal] = constant.exec(line) ?? [];
    if (named !== undefined && literal !== undefined) {
      constants.set(named, valueFrom(index, literal));
      return;
    }
    const [, name, given] = argument.exec(line) ?? entry.exec(line) ?? [];
    if (name !== undefined && given !== undefined && given !== '') add(name, `${argumentSection}.${name}`, given);
  });
  return parts.filter(({ assignments }) => assignments.length > 0);
}
