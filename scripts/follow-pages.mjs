/**
 * Follows README and tutorial word for word in an empty clone, with Node alone: every command line of every `sh` block
 * runs in a shell, in order, and must end as the page says; what a `text` block behind it shows has to be printed.
 * `node scripts/follow-pages.mjs [page …]`; without pages, README.md and docs/tutorial.md.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const [, , ...given] = process.argv;
const pages = given.length > 0 ? given : ['README.md', 'docs/tutorial.md'];
/** Longest that a command may take, seconds. */
const limit = 600;

/** Command lines, each with the rows that are shown behind it; a backslash at the end joins lines. */
function stepsOf(page) {
  const steps = [];
  for (const [, kind, body] of page.matchAll(/^```(sh|text)\n([\s\S]*?)^```$/gmu)) {
    const rows = body
      .replaceAll(/\\\n\s*/gu, '')
      .split('\n')
      .filter((row) => row.trim() !== '');
    if (kind === 'sh') for (const command of rows) steps.push({ command, shown: [] });
    else for (const row of rows) steps.at(-1)?.shown.push(row);
  }
  return steps;
}

const words = (text) => text.replaceAll(/\s+/gu, ' ').trim();

/** A row of a page as a pattern: `…` stands for what differs from run to run. */
const patternOf = (row) =>
  new RegExp(
    words(row)
      .split('…')
      .map((part) => part.replaceAll(/[$()*+.?[\\\]^{|}]/gu, '\\$&'))
      .join('.*?'),
    'u',
  );

const folder = mkdtempSync(join(tmpdir(), 'monta-pages-'));
const clone = join(folder, 'monta');
let failed = 0;
try {
  const cloned = spawnSync('git', ['clone', '--quiet', root, clone], { encoding: 'utf8' });
  if (cloned.status !== 0) throw new Error(cloned.stderr);
  for (const page of pages)
    for (const { command, shown } of stepsOf(readFileSync(join(clone, page), 'utf8'))) {
      if (/\bnpm test\b/u.test(command)) {
        process.stdout.write(`left out  ${command}: .ci/run does it\n`);
        continue;
      }
      const start = performance.now();
      const { stdout, stderr, status } = spawnSync('bash', ['-c', command], {
        cwd: clone,
        encoding: 'utf8',
        timeout: limit * 1e3,
        maxBuffer: 2 ** 28,
        env: { ...process.env, PATH: `${join(clone, 'node_modules/.bin')}:${process.env.PATH}` },
      });
      const expected = Number(/# .*exit code (\d)/u.exec(command)?.[1] ?? 0);
      const printed = words(`${stdout}\n${stderr}`);
      const missing = shown.filter((row) => !patternOf(row).test(printed));
      const seconds = ((performance.now() - start) / 1e3).toFixed(1);
      const wrong = status !== expected || missing.length > 0;
      process.stdout.write(`${wrong ? 'WRONG' : 'ok'}  ${seconds.padStart(6)} s  ${page}: ${command}\n`);
      if (!wrong) continue;
      failed += 1;
      process.stdout.write(`exit code ${status}, expected ${expected}\n${stderr.slice(-2000)}\n`);
      for (const row of missing) process.stdout.write(`not printed: ${row}\n`);
    }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed > 0 ? 1 : 0;
