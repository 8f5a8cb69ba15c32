/**
 * Runs the tests on other versions of Node, which npm's package `node` brings: `npm run test:engines -- 22 24 files`.
 * Words that are numbers are versions (20, 22 and 24 when left out); the rest goes to vitest, all tests when left out.
 * With `--short`: what meets the engine most closely, and the command: a plan, and the main job for two steps.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const words = process.argv.slice(2);
const short = words.includes('--short');
const asked = words.filter((word) => /^\d+$/u.test(word));
const versions = asked.length > 0 ? asked : ['20', '22', '24'];
const given = words.filter((word) => !asked.includes(word) && word !== '--short');
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
const monta = join(root, 'packages/cli/bin/monta.js');
/** Conformance of communicators and devices (threads, shared memory, native libraries), and every example of core. */
const closest = ['runtime/src/comm/local/local', 'runtime/src/device/cpu/cpu-device', 'core/src/library/library'];
const files = short ? closest.map((name) => `packages/${name}.test.ts`) : given;

function run(command, parameters, cwd, stdio = 'inherit') {
  const { status, error, stderr } = spawnSync(command, parameters, { cwd, stdio, encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0 && stderr) process.stderr.write(stderr);
  return status ?? 1;
}

/** The command itself. */
function runCommand(node, folder) {
  const plan = ['plan', '--model', 'olmoe-1b-7b', '--cluster', 'h100-1x8'];
  const train = ['train', '--steps', '2', '--trial-steps', '0', '--no-compare', '--output', join(folder, 'runs')];
  return [plan, train].every((words) => {
    const status = run(node, [monta, ...words], root, 'pipe');
    process.stdout.write(`${status === 0 ? 'ok   ' : 'WRONG'}  monta ${words.slice(0, 3).join(' ')}\n`);
    return status === 0;
  });
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
    if (short && !runCommand(node, folder)) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
