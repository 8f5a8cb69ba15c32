import { describe, expect, it } from 'vitest';
import { InputError } from '@monta/core';
import { cublasName } from './cublas.js';
import { nvrtcName } from './nvrtc.js';
import { openLibrary, overrideVariable, places, type SearchSources } from './search.js';

/** A file system of full paths; those in `broken` exist and do not load. */
function disk(
  files: readonly string[],
  { override, broken = [], packages }: { override?: string; broken?: readonly string[]; packages?: string } = {},
): SearchSources & { readonly loaded: string[] } {
  const loaded: string[] = [];
  const inFolder = (folder: string): string[] => files.filter((file) => file.startsWith(`${folder}/`));
  return {
    loaded,
    environment: { [overrideVariable]: override },
    sitePackages: () => packages,
    folders: (folder) => {
      const rests = inFolder(folder).map((file) => file.slice(folder.length + 1).split('/'));
      return [...new Set(rests.filter((rest) => rest.length > 1).map(([first]) => `${folder}/${first}`))].sort();
    },
    files: (folder) =>
      inFolder(folder)
        .map((file) => file.slice(folder.length + 1))
        .filter((file) => !file.includes('/')),
    load: (file) => {
      if (!files.includes(file) && !files.includes(`/ld/${file}`)) throw new Error('cannot open shared object file');
      if (broken.includes(file)) throw new Error('file too short');
      loaded.push(file);
      return { file, func: () => () => 0 };
    },
  };
}

/** How an `InputError` reads. */
function complaint(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (error instanceof InputError) return error.format();
    throw error;
  }
  return 'nothing was wrong';
}

const wheels = '/python/site-packages';

describe('search for CUDA libraries', () => {
  it('looks in the override, the loader path, toolkits, then Python wheels', () => {
    const sources = disk(
      [
        '/usr/local/cuda-13.0/lib64/x',
        '/usr/local/other/x',
        `${wheels}/nvidia/cu13/lib/x`,
        `${wheels}/nvidia/cudnn/lib/x`,
      ],
      { override: '/own:/more', packages: wheels },
    );
    expect([...places(sources)].map(({ folder }) => folder)).toEqual([
      '/own',
      '/more',
      undefined,
      '/usr/local/cuda-13.0/lib64',
      `${wheels}/nvidia/cu13/lib`,
      `${wheels}/nvidia/cudnn/lib`,
    ]);
  });

  it('takes the first place that has it, the newest name there, and companions of that folder first', () => {
    const everywhere = [
      '/own/libcublas.so.12',
      '/own/libcublas.so.13',
      '/own/libcublasLt.so.13',
      '/ld/libcublas.so.13',
      `${wheels}/nvidia/cu13/lib/libcublas.so.13`,
    ];
    const own = disk(everywhere, { override: '/own', packages: wheels });
    openLibrary(cublasName, own);
    expect(own.loaded).toEqual(['/own/libcublasLt.so.13', '/own/libcublas.so.13']);
    const loader = disk(everywhere, { packages: wheels });
    expect(openLibrary(cublasName, loader).file).toBe('libcublas.so.13');
  });

  it('opens what NVRTC opens by bare name, and not its alternatives', () => {
    const lib = `${wheels}/nvidia/cu13/lib`;
    const files = [
      'libnvrtc.so.13',
      'libnvrtc.alt.so.13',
      'libnvrtc-builtins.so.13.0',
      'libnvrtc-builtins.alt.so.13.0',
    ];
    const sources = disk(
      files.map((file) => `${lib}/${file}`),
      { packages: wheels },
    );
    openLibrary(nvrtcName, sources);
    expect(sources.loaded).toEqual([`${lib}/libnvrtc-builtins.so.13.0`, `${lib}/libnvrtc.so.13`]);
  });

  it('goes on where a file does not load', () => {
    const sources = disk(['/own/libcublas.so.13', '/usr/local/cuda/lib64/libcublas.so.12'], {
      override: '/own',
      broken: ['/own/libcublas.so.13'],
    });
    expect(openLibrary(cublasName, sources).file).toBe('/usr/local/cuda/lib64/libcublas.so.12');
  });

  it('says once where it looked and what was wrong in each place', () => {
    const sources = disk(['/own/libcublas.so.13', `${wheels}/nvidia/nccl/lib/libnccl.so.2`], {
      override: '/own',
      broken: ['/own/libcublas.so.13'],
      packages: wheels,
    });
    const message = complaint(() => openLibrary(cublasName, sources));
    expect(message).toContain('cuBLAS (libcublas.so.13 or libcublas.so.12 or libcublas.so) was not found');
    expect(message).toContain(`/own (from ${overrideVariable}): libcublas.so.13: file too short`);
    expect(message).toContain("the loader's path (LD_LIBRARY_PATH, ldconfig): libcublas.so.13: cannot open");
    expect(message).toContain(`${wheels}/nvidia/nccl/lib: not there`);
    expect(message).toContain(`name the folders of its libraries in ${overrideVariable}`);
  });

  it('says that the override is not set', () => {
    expect(() => openLibrary(cublasName, disk([]))).toThrow(`${overrideVariable}: not set`);
  });
});
