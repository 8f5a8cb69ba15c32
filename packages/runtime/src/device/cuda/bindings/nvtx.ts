/** NVTX: names of ranges in NVIDIA's profilers. Where the library is missing, ranges cost nothing and say nothing. */
import type { LibraryName, NativeLibrary } from './search.js';

export const nvtxName: LibraryName = {
  title: 'NVTX',
  files: ['libnvtx3interop.so.1', 'libnvtx3interop.so', 'libnvToolsExt.so.1'],
};

export interface NvtxLibrary {
  /** nvtxRangePushA. */
  push(name: string): void;
  /** nvtxRangePop. */
  pop(): void;
}

export function bindNvtx(library: NativeLibrary): NvtxLibrary {
  const push = library.func('int nvtxRangePushA(const char *)');
  const pop = library.func('int nvtxRangePop()');
  return {
    push: (name) => {
      push(name);
    },
    pop: () => {
      pop();
    },
  };
}
