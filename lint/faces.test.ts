/**
 * The face of a package is its index, written by hand: nothing is passed on wholesale, and what the root of core and
 * runtime lists is used by somebody outside.
 */
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { filesOf, packages } from './loaded-modules.js';

/** Names between the braces of `import { … } from` or `export { … } from` where the module fits. */
function namesFrom(text: string, module: RegExp): string[] {
  return [...text.matchAll(/^(?:import|export) (?:type )?\{([^}]*)\} from '([^']+)';/gm)]
    .filter(([, , from = '']) => module.test(from))
    .flatMap(([, names = '']) => names.split(','))
    .map((name) => name.trim().replace(/^type /, ''))
    .map((name) => name.split(' as ')[0] ?? name)
    .filter((name) => name !== '');
}

const sources = filesOf('core/src', 'views/src', 'studio/src', 'runtime/src', 'cli/src');

describe('faces of packages', () => {
  it('list what they pass on', () => {
    const wholesale = sources.filter((file) => /^export \* from/m.test(readFileSync(file, 'utf8')));
    expect(wholesale).toEqual([]);
  });

  it.each([
    ['core', ['views', 'studio', 'runtime', 'cli']],
    ['runtime', ['cli']],
  ])('%s lists no more than is used outside', (name, users) => {
    const listed = namesFrom(readFileSync(join(packages, name, 'src/index.ts'), 'utf8'), /^\./);
    // Tests and what tests share count: they stand outside too.
    const outside = filesOf(...users.flatMap((user) => [`${user}/src`, `${user}/testing`]), `${name}/testing`);
    const used = new Set(
      outside.flatMap((file) => namesFrom(readFileSync(file, 'utf8'), new RegExp(`^@monta/${name}(/|$)`))),
    );
    expect(listed.length).toBeGreaterThan(20);
    expect(listed.filter((one) => !used.has(one))).toEqual([]);
  });

  it('of a file shows no value that its file alone uses', () => {
    const all = [
      ...sources,
      ...filesOf('core/testing', 'views/testing', 'studio/browser', 'runtime/testing', 'cli/testing'),
    ];
    const users = new Map<string, number>();
    const words = all.map((file) => new Set(readFileSync(file, 'utf8').match(/\w+/gu)));
    for (const known of words) for (const word of known) users.set(word, (users.get(word) ?? 0) + 1);
    const shown = sources.flatMap((file) =>
      [...readFileSync(file, 'utf8').matchAll(/^export (?:async )?(?:const|function\*?|class) (\w+)/gmu)].map(
        ([, name = '']) => ({ file: relative(packages, file), name }),
      ),
    );
    expect(shown.length).toBeGreaterThan(2000);
    expect(shown.filter(({ name }) => users.get(name) === 1)).toEqual([]);
  });
});
