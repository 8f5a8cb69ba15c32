/**
 * Where CUDA's libraries may lie, and loading them from the first place that has them. They are not always on the
 * loader's path: with PyTorch they sit inside Python wheels only, in `site-packages/nvidia/<part>/lib`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import koffi from 'koffi';
import { InputError } from '@monta/core/units';

/** Folders to look in first, separated by colons. */
export const overrideVariable = 'MONTA_CUDA_LIBRARIES';

/** One of CUDA's libraries: its file's names, newest first, and the files of its folder that it opens by bare name. */
export interface LibraryName {
  /** As people say it: cuBLASLt. */
  readonly title: string;
  readonly files: readonly string[];
  /**
   * Libraries of the same folder that must be loaded before this one, because it looks for them on the loader's path
   * alone.
   */
  readonly companions?: RegExp;
}

export type NativeFunction = (...values: readonly unknown[]) => unknown;

/** What the bindings need of a library. */
export interface NativeLibrary {
  /** The file, or the bare name that the loader resolved. */
  readonly file: string;
  /** Declares a function of C. */
  func(declaration: string): NativeFunction;
}

/** A folder of the search, or the loader's own path, and how to say it. */
export interface Place {
  /** Undefined: the loader's path. */
  readonly folder: string | undefined;
  readonly said: string;
}

/** What the search touches outside: replaced in tests. */
export interface SearchSources {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Folder of installed Python packages, or undefined where there is no python3. */
  sitePackages(): string | undefined;
  /** Folders in `folder`, full paths, sorted; none where it does not exist. */
  folders(folder: string): readonly string[];
  files(folder: string): readonly string[];
  load(file: string): NativeLibrary;
}

const toolkits = '/usr/local';

/**
 * Where a library is looked for, in order: the override, the loader's path, the toolkits of /usr/local, Python's
 * packages.
 */
export function* places(sources: SearchSources): Generator<Place> {
  const override = sources.environment[overrideVariable];
  for (const folder of override === undefined ? [] : override.split(':').filter((part) => part !== ''))
    yield { folder, said: `${folder} (from ${overrideVariable})` };
  yield { folder: undefined, said: "the loader's path (LD_LIBRARY_PATH, ldconfig)" };
  for (const toolkit of sources.folders(toolkits).filter((folder) => folder.startsWith(join(toolkits, 'cuda'))))
    yield { folder: join(toolkit, 'lib64'), said: join(toolkit, 'lib64') };
  const packages = sources.sitePackages();
  if (packages === undefined) return;
  for (const part of sources.folders(join(packages, 'nvidia')))
    yield { folder: join(part, 'lib'), said: join(part, 'lib') };
}

/**
 * Loads a library from the first place that has it. Throws `InputError` that lists every place and what was wrong
 * there.
 */
export function openLibrary(name: LibraryName, sources: SearchSources = system): NativeLibrary {
  const looked: string[] = [];
  for (const place of places(sources)) {
    const reasons: string[] = [];
    const present = place.folder === undefined ? name.files : filesOf(sources, place.folder, name.files);
    for (const file of present) {
      try {
        return loadWith(name, place.folder, file, sources);
      } catch (error) {
        reasons.push(`${file}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    looked.push(`${place.said}: ${reasons.length === 0 ? 'not there' : reasons.join('; ')}`);
  }
  if (sources.environment[overrideVariable] === undefined) looked.unshift(`${overrideVariable}: not set`);
  throw new InputError(
    `${name.title} (${name.files.join(' or ')}) was not found; looked in\n    ${looked.join('\n    ')}`,
    {
      hint: `install CUDA, or name the folders of its libraries in ${overrideVariable}, separated by colons`,
    },
  );
}

function filesOf(sources: SearchSources, folder: string, files: readonly string[]): readonly string[] {
  const there = new Set(sources.files(folder));
  return files.filter((file) => there.has(file));
}

function loadWith(
  { companions }: LibraryName,
  folder: string | undefined,
  file: string,
  sources: SearchSources,
): NativeLibrary {
  if (folder === undefined) return sources.load(file);
  if (companions !== undefined)
    for (const other of sources.files(folder).filter((other) => other !== file && companions.test(other)))
      sources.load(join(folder, other));
  return sources.load(join(folder, file));
}

let askedPython: { readonly folder: string | undefined } | undefined;

function pythonPackages(): string | undefined {
  askedPython ??= { folder: askPython() };
  return askedPython.folder;
}

function askPython(): string | undefined {
  try {
    const text = execFileSync('python3', ['-c', 'import site; print(site.getsitepackages()[0])'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return text.trim();
  } catch {
    return undefined;
  }
}

/** This process's files and loader. */
export const system: SearchSources = {
  environment: process.env,
  sitePackages: pythonPackages,
  folders: (folder) =>
    existsSync(folder)
      ? readdirSync(folder, { withFileTypes: true })
          .filter((entry) => !entry.isFile())
          .map((entry) => join(folder, entry.name))
          .sort()
      : [],
  files: (folder) => (existsSync(folder) ? readdirSync(folder).sort() : []),
  load: (file) => {
    const library = koffi.load(file, { global: true, lazy: true });
    return { file, func: (declaration) => library.func(declaration) as NativeFunction };
  },
};
