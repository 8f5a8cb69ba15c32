/** Spreads lists into arguments in every way the rule knows, and looks whether the linter says so. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

const refused = [
  'Math.max(...list)',
  'Math.min(0, ...list.map((value) => -value))',
  'Math.hypot(...new Float32Array(9))',
  'list.push(...list)',
  'list.unshift(0, ...list)',
  'list.splice(0, 1, ...list)',
  'String.fromCharCode(...list)',
  'Math.max(...[0, ...list])',
];
const fine = ['Math.max(...[1, 2])', 'list.push(1, 2)', '[...list, ...list]', 'maxOf(list)', 'own(...list)'];

it('refuses lists as arguments of functions that take any number of them', () => {
  const workspace = mkdtempSync(join(tmpdir(), 'monta-arguments-'));
  cpSync(join(root, 'oxlint.config.mjs'), join(workspace, 'oxlint.config.mjs'));
  cpSync(join(root, 'lint'), join(workspace, 'lint'), { recursive: true });
  const folder = join(workspace, 'packages/core/src/units');
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, 'a.ts'),
    [...refused, ...fine].map((line, index) => `export const x${index} = ${line};\n`).join(''),
  );
  const { stdout } = spawnSync(
    process.execPath,
    [join(root, 'node_modules/oxlint/bin/oxlint'), '-c', 'oxlint.config.mjs', '--format', 'unix', 'packages'],
    { cwd: workspace, encoding: 'utf8' },
  );
  rmSync(workspace, { recursive: true });
  const lines = [...stdout.matchAll(/a\.ts:(\d+):\d+: .*bounded-arguments/gu)].map(([, line]) => Number(line));
  expect([...new Set(lines)].sort((a, b) => a - b)).toEqual(refused.map((_, index) => index + 1));
});
