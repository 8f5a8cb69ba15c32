/** The first page of help: what Monta is, and what each command is for, in a list as short as can be. */
import { maxOf } from '@monta/core/units';
import type { CommandName } from './commands/briefs.js';
import { textWidth } from './output/text-width.js';
import { breakWords } from './output/wrap.js';

/** Columns that help keeps to, whatever the terminal. */
export const helpColumns = 80;

const opening = [
  'Monta makes Mixture-of-Experts training faster: it moves fewer bytes over slow',
  'links and hides the rest. It plans a run on your cluster, says why, checks your',
  'launch flags, and trains.',
].join('\n');

/** What people come for, each with the command that answers. */
const questions = [
  ['monta train', 'the main job: plan, train, compare, report'],
  ['monta plan --model deepseek-v3 --cluster h800-256x8', 'the fastest layout that fits'],
  ['monta lint train.sh --cluster h100-2x8', 'will my launch script work?'],
  ['monta doctor oom.log --script train.sh', 'what went wrong?'],
] as const;

/** Commands in the order in which people meet them. */
const groups = {
  plan: ['plan', 'memory', 'simulate', 'explain', 'compare', 'export'],
  check: ['lint', 'doctor', 'trace', 'calibrate', 'validate'],
  run: ['train', 'bench', 'verify', 'inspect', 'convert'],
  know: ['cluster', 'model', 'studio', 'completion'],
} as const;

/** The overview of commands, by their briefs. Throws `RangeError` when a command is in no group. */
export function overview(briefs: Readonly<Record<CommandName, string>>): string {
  const listed = new Set<string>(Object.values(groups).flat());
  const missing = Object.keys(briefs).filter((name) => !listed.has(name));
  if (missing.length > 0) throw new RangeError(`help lists no ${missing.join(', ')}`);
  const width = maxOf([...listed].map((name) => name.length)) + 4;
  const lines = Object.values(groups).flatMap((names) => [
    '',
    ...names.flatMap((name) => {
      const [first = '', ...rest] = breakWords(briefs[name], helpColumns - width);
      return [`  ${name.padEnd(width - 2)}${first}`, ...rest.map((line) => ' '.repeat(width) + line)];
    }),
  ]);
  return [
    opening,
    '',
    'USAGE',
    '  monta <command> [flags]',
    '',
    'COMMANDS',
    ...lines.slice(1),
    '',
    'EXAMPLES',
    ...exampleLines(questions),
    '',
    'monta help <command> explains a command and gives examples; --json gives every',
    'result as data.',
  ].join('\n');
}

/** A command in as many lines as it needs, each but the last with the backslash that a shell wants. */
function commandLines(command: string): string[] {
  const parts = breakWords(command, helpColumns - 6);
  return parts.map((part, index) => `${index === 0 ? '  ' : '    '}${part}${index < parts.length - 1 ? ' \\' : ''}`);
}

/** Lines to copy, each with what it is for: beside it where all of them have room, else beneath. */
function exampleLines(examples: readonly (readonly [line: string, comment: string])[]): string[] {
  const width = maxOf(examples.map(([line]) => line.length)) + 3;
  const beside = examples.map(([line, comment]) => `  ${line.padEnd(width)}${comment}`.trimEnd());
  if (beside.every((line) => textWidth(line) <= helpColumns)) return beside;
  return examples.flatMap(([line, comment]) => [
    ...commandLines(line),
    ...(comment === '' ? [] : breakWords(comment, helpColumns - 6).map((part) => `      ${part}`)),
  ]);
}

/** The long help of a command: what it does, in lines that end where words do, then lines to copy. */
export function helpText(description: string, examples: readonly (readonly [line: string, comment: string])[]): string {
  const paragraphs = description.split(/\n{2,}/u).map((paragraph) => paragraph.replaceAll(/\s+/gu, ' ').trim());
  const text = paragraphs.map((paragraph) => breakWords(paragraph, helpColumns).join('\n')).join('\n\n');
  return `${text}\n\nEXAMPLES\n${exampleLines(examples).join('\n')}`;
}

/** A flag or an argument, and what follows it in the list that Stricli prints. */
const listed = /^( *(?:-\w {2})? {0,3}\[?--?[^ ]+ +)(\S.*)$|^( {2}[^ ]+ {2,})(\S.*)$/u;
/** Where what follows begins at the furthest. */
const furthest = 32;

/** A text in lines of at most so many columns; alternatives that are longer are broken between them. */
const breakChoices = (text: string, columns: number): string[] =>
  breakWords(
    text
      .split(' ')
      .map((word) => (textWidth(word) > columns ? word.replaceAll('|', '| ') : word))
      .join(' '),
    columns,
  );

function wrapListed(head: string, text: string): string[] {
  const indent = Math.min(head.length, furthest);
  const own = head.trimEnd();
  const lines = breakChoices(text.replaceAll(/ {2,}/gu, ' '), helpColumns - indent);
  const first = own.length < indent ? own.padEnd(indent) + (lines.shift() ?? '') : own;
  return [first, ...lines.map((line) => ' '.repeat(indent) + line)];
}

/** Help within 80 columns: what follows a flag stays beside it. */
export const wrapHelp = (text: string): string =>
  text
    .split('\n')
    .flatMap((line) => {
      const [, flag, ofFlag, argument, ofArgument] = listed.exec(line) ?? [];
      const head = flag ?? argument;
      if (head !== undefined && (textWidth(line) > helpColumns || head.length > furthest))
        return wrapListed(head, ofFlag ?? ofArgument ?? '');
      if (textWidth(line) <= helpColumns) return [line];
      const indent = /^ */u.exec(line)?.[0].length ?? 0;
      const [first = '', ...behind] = breakChoices(line.trim(), helpColumns - indent - 2);
      return [' '.repeat(indent) + first, ...behind.map((part) => ' '.repeat(indent + 2) + part)];
    })
    .join('\n');
