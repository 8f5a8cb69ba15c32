import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { memoryPage } from './memory-page.js';

it('the page about memory is the one in docs: npm run docs:memory was run after the last change', () => {
  expect(memoryPage()).toBe(readFileSync(new URL('../../../../docs/memory.md', import.meta.url), 'utf8'));
});
