/** Assignments and declarations of a launch script. */
import type { ArrayValue, Assignment } from 'unbash';
import { elementsOf, type Expander } from './expand.js';
import type { Located } from './place.js';

/** `export`, `declare` and their kin: `how` is the word. */
export function declare(
  expander: Expander,
  how: string,
  names: readonly Located[],
  assignments: readonly Assignment[],
): void {
  const { state } = expander;
  const map = names.some(({ text }) => /^-\w*A/u.test(text));
  for (const assignment of assignments) {
    assign(expander, assignment, map);
    if (how === 'export') state.exported.add(assignment.name);
  }
  for (const { text, place } of names) {
    if (text.startsWith('-')) continue;
    const equals = text.indexOf('=');
    const name = equals < 0 ? text : text.slice(0, equals);
    if (equals >= 0) state.setText(name, text.slice(equals + 1), place);
    else if (map) state.set(name, { kind: 'map', entries: new Map() });
    if (how === 'export') state.exported.add(name);
  }
}

/** Runs an assignment; `map`: of a variable that is declared as one. */
export function assign(expander: Expander, { name, value, append, index, ...node }: Assignment, map = false): void {
  const { state } = expander;
  const place = expander.place(node);
  const before = state.variables.get(name);
  if (value.type === 'ArrayValue') {
    assignList(expander, name, value, { append: append === true, map });
    return;
  }
  const text = expander.text(value);
  const key = index && expander.text(index);
  if (key !== undefined) {
    if (before?.kind === 'map' || map) {
      const entries = new Map(before?.kind === 'map' ? before.entries : []);
      state.set(name, { kind: 'map', entries: entries.set(key, { text, place }) });
      return;
    }
    const values = [...(before ? elementsOf(before) : [])];
    const at = expander.number(key) ?? values.length;
    values[Math.min(at, values.length)] = { text, place };
    state.set(name, { kind: 'list', values });
    return;
  }
  if (append === true && before?.kind === 'list') {
    const [first, ...rest] = before.values;
    state.set(name, { kind: 'list', values: [{ text: (first?.text ?? '') + text, place }, ...rest] });
    return;
  }
  const old = append === true && before?.kind === 'text' ? before.value : undefined;
  state.setText(name, (old?.text ?? '') + text, spanning(old, { text, place }));
}

function assignList(expander: Expander, name: string, value: ArrayValue, how: { append: boolean; map: boolean }): void {
  const { state } = expander;
  const { append, map } = how;
  const before = state.variables.get(name);
  if (map || before?.kind === 'map') {
    const entries = new Map(append && before?.kind === 'map' ? before.entries : []);
    for (const element of value.elements) {
      const match = /^\[([^\]]*)\]=(.*)$/su.exec(expander.text(element));
      const [, key = '', text = ''] = match ?? [];
      if (match) entries.set(key.replace(/^["']|["']$/gu, ''), { text, place: expander.place(element) });
    }
    state.set(name, { kind: 'map', entries });
    return;
  }
  const values = [...(append && before ? elementsOf(before) : []), ...expander.fields(value.elements)];
  state.set(name, { kind: 'list', values });
}

/** The stretch of a text that was put together in one file; of two files the later. */
function spanning(old: Located | undefined, added: Located): Located['place'] {
  if (old === undefined || old.place.source !== added.place.source) return added.place;
  const { start } = old.place;
  return { ...added.place, start: Math.min(start, added.place.start), end: Math.max(old.place.end, added.place.end) };
}
