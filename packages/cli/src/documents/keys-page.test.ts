import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { keysPage } from './keys-page.js';

const words = (text: string): string => text.replaceAll(/[ -]+/gu, ' ');

it('docs/keys.md is what npm run docs:keys writes', () => {
  const page = readFileSync(new URL('../../../../docs/keys.md', import.meta.url), 'utf8');
  expect(words(page)).toBe(words(keysPage()));
});
