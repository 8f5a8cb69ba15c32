/** Pages for people with a question: every command on them runs and prints what the page shows. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';

const root = new URL('../../../../', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'monta-pages-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Shown {
  readonly commands: readonly string[];
  /** What the commands print, among other lines. */
  readonly lines: readonly string[];
}

/** Blocks of commands, each with the block of output behind it. */
function blocksOf(page: string): Shown[] {
  const found: Shown[] = [];
  for (const [, kind, body = ''] of page.matchAll(/^```(sh|text)\n([\s\S]*?)^```$/gmu)) {
    const rows = body.split('\n').filter((row) => row.trim() !== '');
    if (kind === 'sh') found.push({ commands: rows, lines: [] });
    else found.push({ commands: found.pop()?.commands ?? [], lines: rows });
  }
  return found;
}

const words = (text: string): string => text.replace(/\s+/gu, ' ').trim();

/** Runs a line as a shell would: files of the repository are found, what is written goes elsewhere. */
async function run(command: string, made: Set<string>): Promise<{ out: string; code: number }> {
  const [line = '', target] = command.replace(/\s+#.*$/u, '').split(/\s+>\s+/u);
  const [program, ...parameters] = line.replace(/^npx /u, '').split(/\s+/u);
  expect(program).toBe('monta');
  const placed = parameters.map((one, index) => {
    if (parameters[index - 1] === '--output') made.add(one);
    return made.has(one) ? join(folder, one) : one.startsWith('examples/') ? join(root, one) : one;
  });
  const { out, code } = await monta(...placed);
  if (target !== undefined) {
    writeFileSync(join(folder, basename(target)), out);
    made.add(target);
  }
  return { out, code };
}

/** What takes longer than a test may: `npm run docs:follow` runs it, in a shell and an empty clone. */
const isLong = (command: string): boolean => /^(?:npm|npx monta train) /u.test(command);

describe.each(['from-megatron-core', 'from-deepspeed', 'does-not-fit', 'slow-all-to-all', 'tutorial'])(
  'docs/%s.md',
  (name) => {
    const made = new Set<string>();
    const blocks = blocksOf(readFileSync(join(root, 'docs', `${name}.md`), 'utf8')).filter(
      ({ commands: [first = ''] }) => !isLong(first),
    );

    it.each(blocks.map((block) => [block.commands[0] ?? '', block] as const))('%s', async (_, { commands, lines }) => {
      let printed = '';
      for (const command of commands) {
        const { out, code } = await run(command, made);
        expect(code).toBe(/# .*exit code 1/u.test(command) ? 1 : 0);
        printed += words(out);
      }
      for (const line of lines) expect(printed).toContain(words(line));
    });
  },
);

describe('README.md', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const [, accuracy = ''] = readFileSync(join(root, 'docs', 'accuracy.md'), 'utf8').split('## Steps in closed form');

  it('says of the closed form what docs/accuracy.md says', () => {
    const [limit = ''] = readme.split('\n').filter((line) => line.includes('closed form whose constants'));
    const said = [...limit.matchAll(/(\d+(?:\.\d+)?) %/gu)].map(([, figure]) => Number(figure));
    const rowOf = (name: string): number[] =>
      accuracy
        .split('\n')
        .filter((line) => line.startsWith(`| ${name} |`))
        .flatMap((line) => [...line.matchAll(/(\d+(?:\.\d+)?) %/gu)].map(([, figure]) => Number(figure)));
    const [all, dense, experts] = ['all', 'dense, the family left out of the fit', 'with experts, the family left out'];
    const [[median], [ofDense, mostDense], [ofExperts, mostExperts]] = [all, dense, experts].map(rowOf);
    expect(said).toEqual([median, ofDense, ofExperts, mostDense, mostExperts]);
    expect(limit).toContain(/\| all \| (\d+) \|/u.exec(accuracy)?.[1] ?? 'rows');
  });
});
