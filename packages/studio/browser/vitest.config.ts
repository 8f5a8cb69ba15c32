/** `npm run test:studio`: the built page in Debian's Chromium. */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  test: { include: ['*.test.ts'], testTimeout: 120_000, hookTimeout: 60_000, fileParallelism: false },
});
