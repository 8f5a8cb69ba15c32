/**
 * Packs every package as it would be published, checks what is packed with publint and are-the-types-wrong, installs
 * the tarballs in an empty folder, and uses them there: the command, the library, its types, the page of the studio.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

const root = fileURLToPath(new URL('..', import.meta.url));
const packages = ['core', 'views', 'studio', 'runtime', 'cli'];
const folder = mkdtempSync(join(tmpdir(), 'monta-packages-'));
let wrong = 0;

function say(right, text, more = '') {
  if (!right) wrong += 1;
  process.stdout.write(`${right ? 'ok   ' : 'WRONG'}  ${text}\n${right || more === '' ? '' : `${more}\n`}`);
}

/** Whether a command ends well and prints what is expected. */
function check(text, command, parameters, expected = /^/u) {
  const { status, stdout, stderr } = spawnSync(command, parameters, { cwd: folder, encoding: 'utf8' });
  say(status === 0 && expected.test(stdout), text, `exit code ${status}\n${stdout.slice(-2000)}${stderr.slice(-2000)}`);
}

/** Packs one package; gives the path of its tarball. */
function pack(name) {
  const cwd = join(root, 'packages', name);
  const told = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd, encoding: 'utf8' });
  const [{ filename, files, size }] = Object.values(JSON.parse(told));
  const tests = files.filter(({ path }) => /\.test\.|(^|\/)testing\//u.test(path)).map(({ path }) => path);
  const has = (file) => files.some(({ path }) => path === file);
  say(
    tests.length === 0,
    `${name}: no tests among ${files.length} files, ${(size / 1e6).toFixed(2)} MB`,
    tests.join('\n'),
  );
  say(has('README.md') && has('LICENSE'), `${name}: README and licence`);
  return join(folder, filename);
}

async function lintPacked(name, tarball) {
  const { messages, pkg } = await publint({
    pack: { tarball: new Uint8Array(readFileSync(tarball)).buffer },
    strict: true,
  });
  const told = messages.map((message) => formatMessage(message, pkg));
  say(told.length === 0, `${name}: publint`, told.join('\n'));
  // The page of the studio is no library: it has no types.
  if (name === 'studio') return;
  const attw = join(root, 'tools/node_modules/.bin/attw');
  check(`${name}: are the types wrong`, attw, [tarball, '--profile', 'esm-only', '--no-emoji']);
}

const script = `
import { plan, explain } from 'monta';
import { lint } from '@monta/core/library';
const found = plan({ model: 'olmoe-1b-7b', cluster: 'h100-1x8', layout: 'dp=8,ep=8' });
console.log(found.document.kind, explain(found)[0].name, typeof lint);
`;

try {
  const tarballs = packages.map((name) => pack(name));
  for (const [index, name] of packages.entries()) await lintPacked(name, tarballs[index]);
  writeFileSync(join(folder, 'package.json'), '{ "name": "empty", "private": true, "type": "module" }');
  writeFileSync(join(folder, 'use.mjs'), script);
  check('installs in an empty folder', 'npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', ...tarballs]);
  check('import { plan } from "monta"', process.execPath, ['use.mjs'], /^monta\.plan Why function$/mu);
  const asked = ['plan', '--model', 'olmoe-1b-7b', '--cluster', 'h100-1x8', '--dp', '8', '--ep', '8'];
  check('npx monta plan', 'npx', ['--no-install', 'monta', ...asked], /dp=8,ep=8/u);
  check('npx monta --version', 'npx', ['--no-install', 'monta', '--version'], /^\d+\.\d+\.\d+/u);
  const verified = ['verify', join(root, 'fixtures/hf/tiny-mixtral'), '--layout', 'dp=2,ep=2'];
  check('npx monta verify, which starts ranks', 'npx', ['--no-install', 'monta', ...verified]);
  check(
    'the page of the studio lies where monta studio looks',
    process.execPath,
    [
      '--input-type=module',
      '-e',
      "console.log((await import('./node_modules/monta/dist/studio/site.js')).siteFolder())",
    ],
    /node_modules\/@monta\/studio\/dist/u,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = wrong > 0 ? 1 : 0;
