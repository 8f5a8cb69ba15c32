/** The command `monta` as the person typed it, so that what a message tells them to run can be pasted. */
import { basename, delimiter, dirname, relative } from 'node:path';

/** How this process was started. */
export interface Started {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The script that Node runs, as `process.argv[1]` has it. */
  readonly script: string;
  readonly folder: string;
}

/**
 * `npx monta` under npx and npm; `monta` where it was found on PATH; else the script itself, by Node. In a clone,
 * `npx monta` finds what was built there.
 */
export function typedCommand({ env, script, folder }: Started): string {
  if (env['npm_command'] !== undefined || env['npm_lifecycle_event'] !== undefined) return 'npx monta';
  const onPath = (env['PATH'] ?? '').split(delimiter).includes(dirname(script));
  if (basename(script) === 'monta') return onPath ? 'monta' : quoted(script);
  const near = relative(folder, script);
  return `node ${quoted(near.startsWith('..') ? script : near)}`;
}

/** A path or a value of a flag as a shell takes it. */
export const quoted = (path: string): string =>
  /^[\w./+=,:-]+$/u.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`;

/** Commands that a text names, `monta train …`, as the person types them. Paths and package names stay. */
export function asTyped(text: string, { command, names }: { command: string; names: readonly string[] }): string {
  const named = new RegExp(
    String.raw`(?<![\w./@-]|npx )monta (?=(?:${[...names, 'help', '<'].join('|')})(?![\w.])(?! \d))`,
    'gu',
  );
  return text.replace(named, () => `${command} `);
}
