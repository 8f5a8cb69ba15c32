import { layers } from './lint/layers.mjs';

export default {
  jsPlugins: ['./lint/bounded-arguments.mjs'],
  plugins: ['typescript', 'import', 'unicorn', 'oxc', 'vitest'],
  categories: {
    correctness: 'error',
    suspicious: 'warn',
  },
  rules: {
    'monta/bounded-arguments': 'error',
    'typescript/no-explicit-any': 'error',
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/switch-exhaustiveness-check': 'error',
    'typescript/consistent-type-imports': 'error',
    'unicorn/no-array-sort': 'off',
    'unicorn/no-array-reverse': 'off',
    'no-shadow': 'off',
    'typescript/consistent-return': 'off',
    'unicorn/consistent-function-scoping': 'off',
    'typescript/no-unsafe-type-assertion': 'off',
    'typescript/no-unnecessary-type-arguments': 'off',
    'import/no-unassigned-import': 'off',
    'unicorn/require-post-message-target-origin': 'off',
  },
  ignorePatterns: ['dist', 'dist-testing', 'runs', 'fixtures'],
  overrides: [
    // More than four take an object, whose fields say what each is.
    {
      files: ['packages/*/src/**/*.ts'],
      excludeFiles: ['**/*.test.ts'],
      rules: { 'max-params': ['error', { max: 4 }] },
    },
    {
      files: ['packages/**/*.ts', 'packages/**/*.tsx'],
      rules: { 'max-lines': ['error', { max: 430 }] },
    },
    // What core passes on: a list of names, and nothing else.
    {
      files: ['packages/core/src/index.ts'],
      rules: { 'max-lines': 'off' },
    },
    {
      files: ['packages/*/src/**/*.ts', 'packages/*/src/**/*.tsx'],
      excludeFiles: ['**/*.test.ts'],
      rules: { 'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }] },
    },
    // Loops over every layout or turn, with what they share.
    {
      files: ['packages/core/src/estimate/{step-table,sharing}.ts', 'packages/runtime/src/bench/cuda/layer.ts'],
      rules: { 'max-lines-per-function': ['error', { max: 75, skipBlankLines: true, skipComments: true }] },
    },
    // Pages: text with figures.
    {
      files: ['packages/cli/src/documents/{gpu-page,paper}.ts'],
      rules: { 'max-lines-per-function': ['error', { max: 95, skipBlankLines: true, skipComments: true }] },
    },
    ...layers,
  ],
};
