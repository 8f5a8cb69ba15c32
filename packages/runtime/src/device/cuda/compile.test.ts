import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import koffi from 'koffi';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CudaLibraries, type LibraryName } from './bindings/index.js';
import { cacheVariable, compileKernels, kernelCacheFolder } from './compile.js';
import { readKernelSource } from './kernel-source.js';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-cubin-'));
  process.env[cacheVariable] = folder;
});

afterEach(() => {
  delete process.env[cacheVariable];
  rmSync(folder, { recursive: true });
});

/** NVRTC that notes what it was given, and gives the number of the compilation as machine code. */
function compiler({ version = 13, fails = false } = {}) {
  const options: string[][] = [];
  const headers: string[][] = [];
  const strings = (count: unknown, addresses: unknown): string[] =>
    Array.from((addresses as BigUint64Array).subarray(0, count as number), (address) =>
      String(koffi.decode(address, 'char', -1)),
    );
  const functions: Record<string, (...given: readonly unknown[]) => unknown> = {
    nvrtcVersion: (major) => {
      (major as Int32Array)[0] = version;
    },
    nvrtcCreateProgram: (cell, _source, _name, count, _texts, names) => {
      (cell as BigUint64Array)[0] = 1n;
      headers.push(strings(count, names));
    },
    nvrtcCompileProgram: (_program, count, flags) => {
      options.push(strings(count, flags));
      return fails ? 6 : 0;
    },
    nvrtcGetErrorString: () => 'NVRTC_ERROR_COMPILATION',
    nvrtcGetProgramLogSize: (_program, cell) => {
      (cell as BigUint64Array)[0] = 17n;
    },
    nvrtcGetProgramLog: (_program, text) => {
      (text as Buffer).write('router.cu(3): no\0');
    },
    nvrtcGetCUBINSize: (_program, cell) => {
      (cell as BigUint64Array)[0] = 1n;
    },
    nvrtcGetCUBIN: (_program, code) => {
      (code as Buffer)[0] = options.length;
    },
  };
  const open = (name: LibraryName) => ({
    file: name.files[0],
    func: (declaration: string) => {
      const call = /(\w+)\(/.exec(declaration)?.[1] ?? '';
      return (...given: readonly unknown[]) => functions[call]?.(...given) ?? 0;
    },
  });
  return { nvrtc: new CudaLibraries(0, open).nvrtc, options, headers };
}

const target = { architecture: 'sm_90', storage: 'bf16' } as const;

describe('compiling kernels', () => {
  it('compiles for the card and the storage, with the headers, once', () => {
    const { nvrtc, options, headers } = compiler();
    const source = readKernelSource('router');
    const code = compileKernels(nvrtc, source, target);
    expect(compileKernels(nvrtc, source, target)).toEqual(code);
    expect(options).toEqual([['-arch=sm_90', '-std=c++17', '-DELEMENT_BF16']]);
    expect(headers).toEqual([['common.cuh']]);
    expect(readdirSync(folder)).toHaveLength(1);
  });

  it('compiles anew for another card, storage, compiler, text or header', () => {
    const { nvrtc, options } = compiler();
    const source = readKernelSource('router');
    compileKernels(nvrtc, source, target);
    compileKernels(nvrtc, source, { ...target, architecture: 'sm_100' });
    compileKernels(nvrtc, source, { ...target, storage: 'f32' });
    compileKernels(nvrtc, { ...source, text: `${source.text} ` }, target);
    compileKernels(nvrtc, { ...source, headers: new Map([['common.cuh', '']]) }, target);
    expect(options).toHaveLength(5);
    const later = compiler({ version: 14 });
    compileKernels(later.nvrtc, source, target);
    expect(later.options).toHaveLength(1);
  });

  it('compiles again where the kept file is empty, as after a full disk', () => {
    const { nvrtc, options } = compiler();
    const source = readKernelSource('router');
    compileKernels(nvrtc, source, target);
    for (const file of readdirSync(folder)) writeFileSync(join(folder, file), '');
    compileKernels(nvrtc, source, target);
    expect(options).toHaveLength(2);
  });

  it("shows the compiler's own words, and keeps nothing", () => {
    const { nvrtc } = compiler({ fails: true });
    expect(() => compileKernels(nvrtc, readKernelSource('router'), target)).toThrow(
      'router.cu does not compile:\nrouter.cu(3): no',
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  it('keeps them in the cache folder of the user unless told otherwise', () => {
    expect(kernelCacheFolder({ XDG_CACHE_HOME: '/cache' })).toBe('/cache/monta/cuda');
    expect(kernelCacheFolder({ [cacheVariable]: '/own', XDG_CACHE_HOME: '/cache' })).toBe('/own');
  });
});
