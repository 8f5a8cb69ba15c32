/** CUDA's driver: modules and launches. Names and order of parameters as in NVIDIA's CUDA Driver API. */
import { bindCalls, type Calls } from './calls.js';
import type { LibraryName, NativeFunction, NativeLibrary } from './search.js';

export const driverName: LibraryName = { title: "CUDA's driver", files: ['libcuda.so.1', 'libcuda.so'] };

const calls = {
  cuInit: ['unsigned'],
  cuDeviceGet: ['host', 'int'],
  cuDeviceGetName: ['host', 'int', 'int'],
  cuDeviceTotalMem_v2: ['host', 'int'],
  cuModuleLoadData: ['host', 'host'],
  cuModuleUnload: ['address'],
  cuModuleGetFunction: ['host', 'address', 'text'],
  // address, value, elements, stream
  cuMemsetD8Async: ['address', 'unsigned', 'size', 'address'],
  cuMemsetD16Async: ['address', 'unsigned', 'size', 'address'],
  cuMemsetD32Async: ['address', 'unsigned', 'size', 'address'],
  cuFuncSetAttribute: ['address', 'int', 'int'],
  // function, grid x y z, block x y z, shared bytes, stream, addresses of the parameters, extra
  cuLaunchKernel: [
    'address',
    'unsigned',
    'unsigned',
    'unsigned',
    'unsigned',
    'unsigned',
    'unsigned',
    'unsigned',
    'address',
    'host',
    'host',
  ],
} as const;

export type DriverLibrary = Calls<typeof calls>;

/** CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES. */
export const dynamicSharedBytes = 8;

export function bindDriver(library: NativeLibrary, rank?: number): DriverLibrary {
  let native: NativeFunction | undefined;
  const text = (code: number): string => {
    native ??= library.func('int cuGetErrorString(int, _Out_ const char **)');
    const out: [string | null] = [null];
    native(code, out);
    return out[0] ?? 'unknown error';
  };
  return bindCalls(library, calls, { rank, text });
}
