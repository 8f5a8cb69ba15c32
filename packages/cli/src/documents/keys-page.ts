/**
 * The page of every file's keys. Which keys there are is asked of the readers themselves: each refuses a key that it
 * does not know and names those that it does, so the page cannot list others.
 */
import { InputError } from '@monta/core';
import { stringify } from 'yaml';
import { fileKinds, type FileKind, type Section, type Value } from './file-keys.js';

/** The keys that a reader takes in a map: it names them when it meets one that it does not know. */
function keysOf({ read }: FileKind, { asked }: Section): string[] {
  const unknown = 'a key that nobody knows';
  try {
    read(stringify(asked({ [unknown]: 1 })));
  } catch (error) {
    if (!(error instanceof InputError) || !error.message.startsWith('unknown key')) throw error;
    return (error.expected ?? '').replace(/^one of /u, '').split(', ');
  }
  throw new Error('a reader took an unknown key');
}

const cell = (value: unknown): string => {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return `\`${value}\``;
  return value === undefined ? '–' : 'see below';
};

/** A default: a path is that of the machine where the page was made, and is shown as it is written. */
const shownDefault = (key: string, value: unknown): string =>
  key === 'output' ? '`runs`' : Array.isArray(value) ? `\`[${value.join(', ')}]\`` : cell(value);

function sectionText(file: FileKind, section: Section): string {
  const known = keysOf(file, section);
  const said = Object.keys(section.keys);
  const odd = [...known.filter((key) => !said.includes(key)), ...said.filter((key) => !known.includes(key))];
  if (odd.length > 0)
    throw new Error(`${file.title} ${section.title ?? ''}: reader and page differ in ${odd.join(', ')}`);
  const at = section.title === undefined ? file.defaults : file.defaults?.[section.title];
  const defaults = typeof at === 'object' && at !== null ? (at as Value) : undefined;
  const head = defaults === undefined ? ['key', 'form', 'meaning'] : ['key', 'form', 'default', 'meaning'];
  const rows = known.map((key) => {
    const [form, meaning] = section.keys[key] ?? ['', ''];
    return [`\`${key}\``, form, ...(defaults === undefined ? [] : [shownDefault(key, defaults[key])]), meaning];
  });
  const lines = [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`);
  return [...(section.title === undefined ? [] : [`### ${section.title}`, '']), ...lines].join('\n');
}

/** The page, as Markdown. Throws when a reader's keys are not those that have a meaning here. */
export function keysPage(): string {
  const parts = fileKinds.map((file) => {
    const sections = file.sections.map((section) => sectionText(file, section));
    return [`## ${file.title}`, file.about, ...sections].join('\n\n');
  });
  const introduction = [
    '# Keys of every file',
    'Made by `npm run docs:keys` from the readers; do not edit. Files are YAML or JSON. A key that is ' +
      'not known is an error that names the nearest one. ' +
      'Numbers with units are text, as `25 GB/s`. A plan is written by `monta plan`; its keys are in ' +
      '[plan.schema.json](plan.schema.json).',
  ];
  return `${[...introduction, ...parts].join('\n\n')}\n`;
}
