/** The few programs whose output a text decides: paths, whole numbers, sequences. */
import { parse, type Command, type Word } from 'unbash';
import { arithmetic } from './arithmetic.js';
import type { Expander } from './expand.js';
import { isUnknown } from './state.js';

/** `seq` prints no more. */
const longestSequence = 1000;

/** What a command prints, where its arguments decide that; undefined for all others. */
export function knownOutput(expander: Expander, command: Command): string | undefined {
  if (command.redirects.length > 0) return undefined;
  const words = [...(command.name ? [command.name] : []), ...command.args.filter((a): a is Word => a.type === 'Word')];
  const [program, ...rest] = expander.fields(words).map(({ text }) => text);
  const [first = ''] = rest;
  if (rest.some(isUnknown)) return undefined;
  switch (program) {
    case 'basename':
      return first.replace(/\/+$/u, '').split('/').at(-1);
    case 'dirname':
      return first.includes('/') ? first.replace(/\/[^/]*$/u, '') || '/' : '.';
    case 'expr': {
      const [left, operator, right] = rest;
      const expression = parse(`(( ${left} ${operator} ${right} ))`).commands[0]?.command;
      if (rest.length !== 3 || expression?.type !== 'ArithmeticCommand' || !expression.expression) return undefined;
      const value = arithmetic(
        expression.expression,
        (text) => expander.number(text),
        () => undefined,
      );
      return value === undefined ? undefined : String(value);
    }
    case 'seq': {
      const [start, end] = rest.length === 1 ? [1, Number(first)] : [Number(first), Number(rest.at(-1))];
      const count = end - start + 1;
      if (rest.length > 2 || !(count >= 0 && count <= longestSequence)) return undefined;
      return Array.from({ length: count }, (_, i) => String(start + i)).join('\n');
    }
    default:
      return undefined;
  }
}
