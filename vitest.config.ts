import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (path: string) => fileURLToPath(new URL(`./packages/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: {
      '@monta/core': source('core/src/index.ts'),
      '@monta/runtime': source('runtime/src/index.ts'),
      '@monta/views': source('views/src/index.ts'),
      // How the folders `testing` name the package they belong to; built files find its `dist` by `imports` of its package.json.
      '#core': source('core/src'),
      '#runtime': source('runtime/src'),
      '#views': source('views/src'),
      '#cli': source('cli/src'),
    },
  },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'packages/*/testing/**/*.test.ts'],
    setupFiles: ['vitest.setup.ts'],
    pool: 'threads',
    isolate: false,
    testTimeout: 60_000,
  },
});
