/**
 * Writes docs/library.md from the sources: every function of the library with its comment, signature and examples, and
 * the types that they take and give. `npm run docs:library`; with `--check` it only says whether the page is as it
 * would be.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from '../node_modules/prettier/index.mjs';
import { Node, Project } from 'ts-morph';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = `${root}docs/library.md`;
const project = new Project({ tsConfigFilePath: `${root}packages/core/tsconfig.json` });
const library = project.getSourceFileOrThrow(`${root}packages/core/src/library/index.ts`);

const oneLine = (text) => text.replaceAll(/\s+/gu, ' ').trim();
/** Text in a cell of a table. */
const cell = (text) => oneLine(text).replaceAll('|', '\\|');

/** A comment's text, and its examples. */
function commentOf(node) {
  const holder = Node.isVariableDeclaration(node) ? node.getVariableStatementOrThrow() : node;
  const doc = holder.getJsDocs?.().at(-1);
  return {
    text: oneLine(doc?.getDescription() ?? ''),
    examples: (doc?.getTags() ?? [])
      .filter((tag) => tag.getTagName() === 'example')
      .map((tag) => (tag.getCommentText() ?? '').trim()),
  };
}

const declared = [...library.getExportedDeclarations()].map(([name, [node]]) => ({ name, node, ...commentOf(node) }));

/** `(question: PlanQuestion): PricedPlan`. */
function signatureOf(node) {
  const callable = Node.isVariableDeclaration(node) ? node.getInitializerOrThrow() : node;
  const parameters = callable.getParameters().map((parameter) => oneLine(parameter.getText()));
  const returned = callable.getReturnTypeNode()?.getText() ?? callable.getReturnType().getText(callable);
  return `(${parameters.join(', ')}): ${oneLine(returned)}`;
}

const isFunction = ({ node }) => Node.isFunctionDeclaration(node) || Node.isVariableDeclaration(node);
const functions = declared.filter(isFunction);
const interfaces = declared.filter(({ node }) => Node.isInterfaceDeclaration(node));
const others = declared.filter((one) => !functions.includes(one) && !interfaces.includes(one));

const firstSentence = (text) => /^.*?[.:](?=\s|$)/u.exec(text)?.[0].replace(/[.:]$/u, '') ?? text;

const functionText = ({ name, node, text, examples }) => [
  `### ${name}`,
  '',
  '```ts',
  `${name}${signatureOf(node)}`,
  '```',
  '',
  text,
  ...examples.flatMap((code) => ['', '```js', code, '```']),
  '',
];

function interfaceText({ name, node, text }) {
  const parents = node.getExtends().map((one) => oneLine(one.getText()));
  return [
    `### ${name}`,
    '',
    [text, ...(parents.length > 0 ? [`All of \`${parents.join('`, `')}\`, and:`] : [])]
      .filter((one) => one !== '')
      .join(' '),
    '',
    '| field | type | meaning |',
    '|---|---|---|',
    ...node.getProperties().map((property) => {
      const type = cell(property.getTypeNode()?.getText() ?? property.getType().getText(property));
      const optional = property.hasQuestionToken() ? '?' : '';
      return `| \`${property.getName()}${optional}\` | \`${type}\` | ${cell(commentOf(property).text)} |`;
    }),
    '',
  ];
}

const text = [
  '# The library',
  '',
  'What the command answers, as functions of plain data. They run in Node and in browsers. This page is made from ' +
    'the sources by `npm run docs:library`; every example on it is a test, in Node and in Chromium, and prints what ' +
    'its comments say.',
  '',
  '```js',
  "import { plan } from 'monta'; // or from '@monta/core/library', which brings no command",
  '```',
  '',
  'Bad input throws `InputError`: `file`, `line` and `path` say where, `expected` what would do, `hint` what to try. ' +
    'All times are seconds, all sizes bytes, all rates bytes or FLOPs a second. Nothing is measured: every result ' +
    'says what it rests on.',
  '',
  '| function | what it answers |',
  '|---|---|',
  ...functions.map(
    ({ name, text: said }) => `| [\`${name}\`](#${name.toLowerCase()}) | ${cell(firstSentence(said))} |`,
  ),
  '',
  '## Functions',
  '',
  ...functions.flatMap(functionText),
  '## Types',
  '',
  ...interfaces.flatMap(interfaceText),
  ...(others.length === 0
    ? []
    : [
        '## Also exported',
        '',
        ...others.map(({ name, text: said }) => `- \`${name}\`${said === '' ? '' : `: ${said}`}`),
        '',
      ]),
].join('\n');

const formatted = await format(text, { ...(await resolveConfig(page)), filepath: page });
if (!process.argv.includes('--check')) writeFileSync(page, formatted);
else if (readFileSync(page, 'utf8') !== formatted) {
  process.stderr.write('docs/library.md is not what the sources say\n  npm run docs:library\n');
  process.exitCode = 1;
}
