/**
 * Conditions of a launch script: `[ … ]`, `[[ … ]]`, `(( … ))`. What asks the machine, as `-f file`, can't be decided
 * here.
 */
import type { TestExpression } from 'unbash';
import { globExpression, type Expander } from './expand.js';
import { isUnknown } from './state.js';

/** undefined: only the machine knows. */
export type Truth = boolean | undefined;

const not = (truth: Truth): Truth => (truth === undefined ? undefined : !truth);

export const both = (a: Truth, b: Truth): Truth =>
  a === false || b === false ? false : a === undefined || b === undefined ? undefined : true;

export const either = (a: Truth, b: Truth): Truth => not(both(not(a), not(b)));

function unary(operator: string, text: string, isSet: (name: string) => boolean): Truth {
  if (operator === '-v') return isSet(text);
  if (operator !== '-n' && operator !== '-z') return undefined;
  if (isUnknown(text)) return operator === '-n';
  return (text !== '') === (operator === '-n');
}

const numeric: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  '-eq': (a, b) => a === b,
  '-ne': (a, b) => a !== b,
  '-lt': (a, b) => a < b,
  '-le': (a, b) => a <= b,
  '-gt': (a, b) => a > b,
  '-ge': (a, b) => a >= b,
};

function binary(operator: string, left: string, right: string, patterns: boolean): Truth {
  if (isUnknown(left) || isUnknown(right)) return undefined;
  const compare = numeric[operator];
  if (compare) {
    const [a, b] = [Number(left), Number(right)];
    return left === '' || right === '' || Number.isNaN(a) || Number.isNaN(b) ? undefined : compare(a, b);
  }
  const same = patterns ? globExpression(right).test(left) : left === right;
  switch (operator) {
    case '=':
    case '==':
      return same;
    case '!=':
      return !same;
    case '<':
      return left < right;
    case '>':
      return left > right;
    case '=~':
      return matches(left, right);
    default:
      return undefined;
  }
}

function matches(text: string, pattern: string): Truth {
  try {
    return new RegExp(pattern, 's').test(text);
  } catch {
    return undefined;
  }
}

/** `[[ … ]]`. */
export function truthOf(expression: TestExpression, expander: Expander): Truth {
  const inner = (part: TestExpression): Truth => truthOf(part, expander);
  switch (expression.type) {
    case 'TestUnary':
      return unary(expression.operator, expander.text(expression.operand), (name) =>
        expander.state.variables.has(name),
      );
    case 'TestBinary': {
      const [left, right] = [expander.text(expression.left), expander.text(expression.right)];
      const quoted = /^["']/u.test(expression.right.text);
      return binary(expression.operator, left, right, !quoted);
    }
    case 'TestLogical':
      return expression.operands.map(inner).reduce(expression.operator === '&&' ? both : either);
    case 'TestNot':
      return expression.negations.length % 2 === 1 ? not(inner(expression.operand)) : inner(expression.operand);
    case 'TestGroup':
      return inner(expression.expression);
  }
}

/** The words of `[ … ]` or `test …`, without the brackets. */
export function truthOfWords(words: readonly string[], isSet: (name: string) => boolean): Truth {
  const or = words.indexOf('-o');
  if (or > 0) return either(truthOfWords(words.slice(0, or), isSet), truthOfWords(words.slice(or + 1), isSet));
  const and = words.indexOf('-a');
  if (and > 0) return both(truthOfWords(words.slice(0, and), isSet), truthOfWords(words.slice(and + 1), isSet));
  if (words[0] === '!') return not(truthOfWords(words.slice(1), isSet));
  const [first = '', second = '', third = ''] = words;
  if (words.length === 1) return isUnknown(first) ? undefined : first !== '';
  if (words.length === 2) return unary(first, second, isSet);
  return words.length === 3 ? binary(second, first, third, false) : undefined;
}
