/** Words of the glossary are links at their first use on a page. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('words of the glossary are linked at their first use', () => {
  const script = fileURLToPath(new URL('../scripts/glossary-links.mjs', import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});
