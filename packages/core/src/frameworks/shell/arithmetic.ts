/** Arithmetic of the shell: 64-bit integers in bash, safe integers here, which launch scripts stay within. */
import type { ArithmeticExpression } from 'unbash';

/** Looks a name or a number up; undefined where its value is not known. */
export type NumberOf = (text: string) => number | undefined;
/** Gives a variable its new value. */
export type Assign = (name: string, value: number) => void;

const binary: Readonly<Record<string, (a: number, b: number) => number>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => Math.trunc(a / b),
  '%': (a, b) => a % b,
  '**': (a, b) => a ** b,
  '<<': (a, b) => a * 2 ** b,
  '>>': (a, b) => Math.floor(a / 2 ** b),
  '<': (a, b) => Number(a < b),
  '>': (a, b) => Number(a > b),
  '<=': (a, b) => Number(a <= b),
  '>=': (a, b) => Number(a >= b),
  '==': (a, b) => Number(a === b),
  '!=': (a, b) => Number(a !== b),
  '&&': (a, b) => Number(a !== 0 && b !== 0),
  '||': (a, b) => Number(a !== 0 || b !== 0),
  ',': (_, b) => b,
};

/** The value of an expression; undefined where something in it is not known, or is divided by zero. */
export function arithmetic(expression: ArithmeticExpression, valueOf: NumberOf, assign: Assign): number | undefined {
  const inner = (part: ArithmeticExpression): number | undefined => arithmetic(part, valueOf, assign);
  const finite = (value: number | undefined): number | undefined =>
    value !== undefined && Number.isFinite(value) ? value : undefined;
  switch (expression.type) {
    case 'ArithmeticWord':
      return finite(valueOf(expression.value));
    case 'ArithmeticGroup':
      return inner(expression.expression);
    case 'ArithmeticTernary': {
      const test = inner(expression.test);
      return test === undefined ? undefined : inner(test === 0 ? expression.alternate : expression.consequent);
    }
    case 'ArithmeticUnary':
      return unary(expression, inner, assign);
    case 'ArithmeticBinary': {
      const { operator, left } = expression;
      const right = inner(expression.right);
      const changes = operator.endsWith('=') && binary[operator] === undefined;
      if (!changes) return finite(combine(operator, inner(left), right));
      const value = operator === '=' ? right : combine(operator.slice(0, -1), inner(left), right);
      if (value !== undefined && left.type === 'ArithmeticWord') assign(left.value, value);
      return finite(value);
    }
    case 'ArithmeticCommandExpansion':
      return undefined;
  }
}

function combine(operator: string, left: number | undefined, right: number | undefined): number | undefined {
  return left === undefined || right === undefined ? undefined : binary[operator]?.(left, right);
}

function unary(
  { operator, operand, prefix }: Extract<ArithmeticExpression, { type: 'ArithmeticUnary' }>,
  inner: (part: ArithmeticExpression) => number | undefined,
  assign: Assign,
): number | undefined {
  const value = inner(operand);
  if (value === undefined) return undefined;
  switch (operator) {
    case '-':
      return -value;
    case '!':
      return Number(value === 0);
    case '~':
      return -value - 1;
    case '++':
    case '--': {
      const next = operator === '++' ? value + 1 : value - 1;
      if (operand.type === 'ArithmeticWord') assign(operand.value, next);
      return prefix ? next : value;
    }
    default:
      return value;
  }
}
