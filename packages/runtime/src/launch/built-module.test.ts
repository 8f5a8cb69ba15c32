import { describe, expect, it } from 'vitest';
import { builtModule } from './built-module.js';

const built = (path: string): string => builtModule(`file:///${path}`).href;

describe('builtModule', () => {
  it.each([
    ['home/a/monta/packages/runtime/src/launch/rank.ts', 'home/a/monta/packages/runtime/dist/launch/rank.js'],
    ['home/a/src/monta/packages/cli/src/main.js', 'home/a/src/monta/packages/cli/dist/main.js'],
    ['home/a/src/monta/packages/cli/dist/main.js', 'home/a/src/monta/packages/cli/dist/main.js'],
    ['a/src/x/node_modules/@monta/runtime/dist/a.js', 'a/src/x/node_modules/@monta/runtime/dist/a.js'],
  ])('%s', (path, expected) => {
    expect(built(path)).toBe(`file:///${expected}`);
  });
});
