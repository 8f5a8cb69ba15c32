/** Keys of a YAML document with where they stand. */
import { isAlias, isMap, isScalar, LineCounter, type Node } from 'yaml';
import { parseDocumentText, plainData } from '../../units/documents/parse-document.js';
import type { Source } from '../shell/place.js';
import type { Assignment } from './assignment.js';

export type Variables = Readonly<Record<string, string>>;

const variable = /^\$\{?(\w+)\}?$/u;

/** `${TP}` as the environment has it: such files are filled in by the script that uses them. */
function filled(value: unknown, variables: Variables): unknown {
  if (typeof value !== 'string' || !value.includes('$')) return value;
  const known = variables[variable.exec(value)?.[1] ?? ''];
  if (known === undefined) return undefined;
  return /^\d+$/u.test(known) ? Number(known) : known;
}

/**
 * Every key with a value that is no map. Throws `InputError` as `readDocument` does, for text that is no YAML, too
 * large or too deep.
 */
export function yamlAssignments(source: Source, variables: Variables = {}): Assignment[] {
  const { document, targets } = parseDocumentText(source.text, source.file, new LineCounter());
  const found: Assignment[] = [];
  const read = (given: Node | null, path: string): void => {
    const node = isAlias(given) ? (targets.get(given) ?? null) : given;
    if (!isMap(node)) return;
    for (const { key, value } of node.items) {
      const name = String(isScalar(key) ? key.value : key);
      const [start = 0, end = 0] = (key as Node | null)?.range ?? [];
      const whole = path === '' ? name : `${path}.${name}`;
      const inner = isAlias(value) ? (targets.get(value) ?? null) : (value as Node | null);
      if (isMap(inner)) read(inner, whole);
      else
        found.push({
          key: whole,
          value: filled(plainData(inner, targets), variables),
          at: { text: whole, place: { source, start, end } },
        });
    }
  };
  read(document.contents, '');
  return found;
}
