import { describe, expect, it } from 'vitest';
import { InputError } from '@monta/core';
import { CudaError, CudaLibraries, written, type LibraryName, type NativeFunction } from './index.js';

/** Libraries whose functions are given by name; what is not given returns 0. Keeps what was declared and called. */
function fake(functions: Readonly<Record<string, NativeFunction>>) {
  const declared: string[] = [];
  const opened: string[] = [];
  const called: unknown[][] = [];
  const open = (name: LibraryName) => {
    opened.push(name.title);
    return {
      file: name.files[0],
      func: (declaration: string): NativeFunction => {
        declared.push(declaration);
        const name = /(\w+)\(/.exec(declaration)?.[1] ?? '';
        return (...values) => {
          called.push([name, ...values]);
          return functions[name]?.(...values) ?? 0;
        };
      },
    };
  };
  return { open, declared, opened, called };
}

describe('bindings of CUDA', () => {
  it('opens a library when it is first used, once, and declares a call when it is first made, once', () => {
    const { open, opened, declared, called } = fake({});
    const libraries = new CudaLibraries(0, open);
    expect(opened).toEqual([]);
    const { runtime } = libraries;
    runtime.cudaMemsetAsync(0x7f00_0000_0000, 255, 64, 7);
    libraries.runtime.cudaMemsetAsync(0x7f00_0000_0000, 0, 64, 7);
    expect(opened).toEqual(["CUDA's runtime"]);
    expect(declared).toEqual(['int cudaMemsetAsync(uint64_t, int, size_t, uint64_t)']);
    expect(called[0]).toEqual(['cudaMemsetAsync', 0x7f00_0000_0000, 255, 64, 7]);
  });

  it('opens before cuDNN what cuDNN looks for by bare name', () => {
    const { open, opened } = fake({ cudnnGetVersion: () => 91_900n });
    expect(new CudaLibraries(0, open).cudnn.version).toBe(91_900);
    expect(opened).toEqual(["CUDA's run-time compiler NVRTC", 'cuBLASLt', 'cuDNN']);
  });

  it('turns a return code into an error with the call, the rank and the library text', () => {
    const { open } = fake({ cudaMalloc: () => 2, cudaGetErrorString: (code) => (code === 2 ? 'out of memory' : '?') });
    const { runtime } = new CudaLibraries(3, open);
    const allocate = () => written((cell) => runtime.cudaMalloc(cell, 1));
    expect(allocate).toThrow(CudaError);
    expect(allocate).toThrow('rank 3: cudaMalloc: out of memory (2)');
  });

  it('asks each library for its own words', () => {
    const { open } = fake({
      cuModuleUnload: () => 400,
      cuGetErrorString: (_code, out) => {
        (out as (string | null)[])[0] = 'invalid resource handle';
        return 0;
      },
      cublasLtDestroy: () => 1,
      cublasLtGetStatusString: () => 'CUBLAS_STATUS_NOT_INITIALIZED',
      cudnnBackendFinalize: () => 3000,
      cudnnGetErrorString: () => 'CUDNN_STATUS_NOT_SUPPORTED',
      cudnnGetLastErrorString: (buffer) => {
        (buffer as Buffer).write('no engine for this graph\0');
      },
    });
    const libraries = new CudaLibraries(undefined, open);
    expect(() => libraries.driver.cuModuleUnload(1)).toThrow('cuModuleUnload: invalid resource handle (400)');
    expect(() => libraries.cublasLt.cublasLtDestroy(1)).toThrow('cublasLtDestroy: CUBLAS_STATUS_NOT_INITIALIZED (1)');
    expect(() => libraries.cudnn.cudnnBackendFinalize(1)).toThrow(
      'cudnnBackendFinalize: CUDNN_STATUS_NOT_SUPPORTED: no engine for this graph (3000)',
    );
  });

  it('an event that has not happened is no error; one that failed is', () => {
    let code = 600;
    const { open } = fake({ cudaEventQuery: () => code, cudaGetErrorString: () => 'an illegal memory access' });
    const { runtime } = new CudaLibraries(1, open);
    expect(runtime.eventDone(9)).toBe(false);
    code = 0;
    expect(runtime.eventDone(9)).toBe(true);
    code = 700;
    expect(() => runtime.eventDone(9)).toThrow('rank 1: cudaEventQuery: an illegal memory access (700)');
  });

  it('reads written handles as numbers', () => {
    const handle = 0x7fff_1234_5678;
    expect(
      written((cell) => {
        cell[0] = BigInt(handle);
      }),
    ).toBe(handle);
  });

  it('does without NVTX', () => {
    const libraries = new CudaLibraries(0, () => {
      throw new InputError('not there');
    });
    expect(libraries.nvtx).toBeUndefined();
  });
});
