/** The shell's `read`, of a text that is given to it. */
import type { Located } from './place.js';
import { isUnknown, type ShellState } from './state.js';

const blanks = ' \t\n';

/** Parts between separators; blanks in a row separate once, other signs each. */
function partsOf(text: string, signs: string): string[] {
  const parts = [''];
  for (const sign of text)
    if (signs.includes(sign)) parts.push('');
    else parts.push(`${parts.pop() ?? ''}${sign}`);
  return /\S/u.test(signs) ? parts : parts.filter((part) => part !== '');
}

/** Sets the variables that `words` (options and names) ask for; the last gets all that is left. */
export function readInto(state: ShellState, words: readonly Located[], given: Located, signs = blanks): void {
  const { text, place } = given;
  const parts = partsOf(text.replace(/\n$/u, ''), signs);
  const names = words.filter((word) => !word.text.startsWith('-'));
  const [first] = names;
  if (first !== undefined && words.some((word) => /^-\w*a/u.test(word.text))) {
    state.set(first.text, { kind: 'list', values: parts.map((part) => ({ text: part, place })) });
    return;
  }
  for (const [index, name] of names.entries()) {
    const own = index === names.length - 1 ? parts.slice(index) : parts.slice(index, index + 1);
    state.setText(name.text, isUnknown(text) ? text : own.join(signs[0] ?? ' '), place);
  }
}
