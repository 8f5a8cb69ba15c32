/**
 * A rule of the linter: no list is spread into the arguments of a function that takes any number of them
 * (`Math.max(...list)`, `push(...list)`). Arguments lie on the stack, which a list of a hundred thousand overflows.
 * Lists written out in place are as long as they look.
 */
const ofMath = new Set(['max', 'min', 'hypot']);
const ofLists = new Set(['push', 'unshift', 'splice', 'toSpliced', 'concat', 'fromCharCode', 'fromCodePoint', 'of']);

function takesAnyNumber(callee) {
  if (callee.type !== 'MemberExpression' || callee.computed) return false;
  const name = callee.property.name;
  return callee.object.type === 'Identifier' && callee.object.name === 'Math' ? ofMath.has(name) : ofLists.has(name);
}

const hasUnknownLength = (argument) =>
  argument.type === 'SpreadElement' &&
  !(argument.argument.type === 'ArrayExpression' && !argument.argument.elements.some(hasUnknownLength));

const boundedArguments = {
  meta: { type: 'problem', messages: { spread: 'a list of any length is spread into arguments: {{instead}}' } },
  create: (context) => ({
    CallExpression(node) {
      if (!takesAnyNumber(node.callee)) return;
      for (const argument of node.arguments.filter((one) => one !== null && hasUnknownLength(one)))
        context.report({
          node: argument,
          messageId: 'spread',
          data: { instead: 'maxOf, minOf and appendAll of core/units take lists, and [...a, ...b] makes one' },
        });
    },
  }),
};

export default { meta: { name: 'monta' }, rules: { 'bounded-arguments': boundedArguments } };
