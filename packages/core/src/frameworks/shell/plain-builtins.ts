/** Builtins of the shell that do no more than look at variables, or change them. */
import { truthOfWords, type Truth } from './conditions.js';
import type { Located } from './place.js';
import type { ShellState } from './state.js';

/** Does what a builtin does; undefined where `program` is none of these. */
export function plainBuiltin(
  state: ShellState,
  program: string,
  list: readonly Located[],
): { readonly status: Truth } | undefined {
  const texts = list.map(({ text }) => text);
  const isSet = (name: string): boolean => state.variables.has(name);
  switch (program) {
    case '[':
      return { status: truthOfWords(texts.slice(0, -1), isSet) };
    case 'test':
      return { status: truthOfWords(texts, isSet) };
    case 'set':
      if (texts.includes('--')) state.setPositional(list.slice(texts.indexOf('--') + 1));
      return { status: true };
    case 'shift':
      state.shift(Number(texts[0] ?? 1));
      return { status: true };
    case 'unset':
      for (const name of texts) state.variables.delete(name);
      return { status: true };
    case 'true':
    case ':':
    case 'shopt':
    case 'ulimit':
    case 'trap':
    case 'wait':
    case 'cd':
      return { status: true };
    case 'false':
      return { status: false };
    default:
      return undefined;
  }
}
