/** Commands in messages are those that a person can paste. */
import { execFileSync, spawnSync } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { expect, it } from 'vitest';
import { asTyped, typedCommand } from './typed-command.js';

const root = new URL('../../../..', import.meta.url).pathname;
const script = join(root, 'packages/cli/bin/monta.js');
const names = ['train', 'help', 'trace'];

it('is npx monta under npm and npx, monta where PATH has it, and else what node was given', () => {
  const at = { script: '/opt/tools/monta', folder: '/home/a' };
  expect(typedCommand({ ...at, env: { npm_command: 'exec', PATH: '/opt/tools' } })).toBe('npx monta');
  expect(typedCommand({ ...at, env: { npm_lifecycle_event: 'start' } })).toBe('npx monta');
  expect(typedCommand({ ...at, env: { PATH: ['/bin', '/opt/tools'].join(delimiter) } })).toBe('monta');
  expect(typedCommand({ ...at, env: { PATH: '/bin' } })).toBe('/opt/tools/monta');
  expect(typedCommand({ script: '/a b/bin/monta.js', folder: '/c', env: {} })).toBe("node '/a b/bin/monta.js'");
  expect(typedCommand({ script: '/c/bin/monta.js', folder: '/c', env: {} })).toBe('node bin/monta.js');
});

it('replaces commands, and nothing that only has the name', () => {
  const typed = (text: string): string => asTyped(text, { command: 'npx monta', names });
  expect(typed('go on with\n  monta train a.yaml; monta help <command> explains')).toBe(
    'go on with\n  npx monta train a.yaml; npx monta help <command> explains',
  );
  for (const kept of ['@monta/core', 'npx monta train', 'packages/monta train.js', 'a monta trace 2', 'monta trains'])
    expect(typed(kept)).toBe(kept);
});

it('gives a command that runs', () => {
  const { npm_command: _, npm_lifecycle_event: __, ...env } = process.env;
  const surroundings = { encoding: 'utf8', cwd: root, env } as const;
  const { stderr, status } = spawnSync(process.execPath, [script, 'plan', '--nonsense'], surroundings);
  expect(status).toBe(2);
  const command = /^ {2}(.*) help <command> explains$/mu.exec(stderr)?.[1] ?? '';
  expect(execFileSync('sh', ['-c', `${command} --version`], surroundings)).toMatch(/^\d+\.\d+\.\d+\n$/u);
});
