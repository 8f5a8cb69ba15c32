import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const packages = fileURLToPath(new URL('./packages', import.meta.url));

export default defineConfig({
  resolve: {
    // Tests run the sources: of packages and of the parts that packages export.
    alias: [
      { find: /^@monta\/(\w+)$/, replacement: `${packages}/$1/src/index.ts` },
      { find: /^@monta\/(\w+)\/(.+)$/, replacement: `${packages}/$1/src/$2/index.ts` },
      // How the folders `testing` name the package they belong to; built files find its `dist` by `imports` of its
      // package.json.
      { find: /^#(core|views|runtime|cli)\//, replacement: `${packages}/$1/src/` },
    ],
  },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'packages/*/testing/**/*.test.ts', 'lint/*.test.ts'],
    setupFiles: ['vitest.setup.ts'],
    pool: 'threads',
    isolate: false,
    // Vitest leaves one processor idle unless told otherwise. One more than there are disturbs what runs in real time.
    maxWorkers: availableParallelism(),
    // The longest take some 40 s on two quiet cores; a busy machine may need a multiple of that.
    testTimeout: 240_000,
    hookTimeout: 120_000,
  },
});
