/**
 * Runs the tests on other versions of Node, which npm's package `node` brings: `npm run test:engines -- 22 24 files`.
 * Words that are numbers are versions; the rest goes to vitest. Default: 22 and 24, all tests.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const words = process.argv.slice(2);
const asked = words.filter((word) => /^\d+$/u.test(word));
const versions = asked.length > 0 ? asked : ['22', '24'];
const files = words.filter((word) => !asked.includes(word));
const vitest = join(root, 'node_modules/vitest/vitest.mjs');

function run(command, parameters, cwd) {
  const { status, error } = spawnSync(command, parameters, { cwd, stdio: 'inherit' });
  if (error) throw error;
  return status ?? 1;
}

for (const version of versions) {
  const folder = mkdtempSync(join(tmpdir(), `monta-node-${version}-`));
  try {
    // A folder of its own: the checkout's dependencies stay as they are.
    const installed = run('npm', ['install', '--no-save', '--silent', '--prefix', folder, `node@${version}`], folder);
    if (installed !== 0) throw new Error(`node@${version} could not be installed`);
    const node = join(folder, 'node_modules/node/bin/node');
    run(node, ['--version'], root);
    process.exitCode ||= run(node, [vitest, 'run', ...files], root);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
