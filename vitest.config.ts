import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (name: string) => fileURLToPath(new URL(`./packages/${name}/src/index.ts`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: { '@monta/core': source('core'), '@monta/runtime': source('runtime'), '@monta/views': source('views') },
  },
  test: {
    include: ['packages/*/src/**/*.test.ts'],
    setupFiles: ['vitest.setup.ts'],
    pool: 'threads',
    isolate: false,
    testTimeout: 60_000,
  },
});
