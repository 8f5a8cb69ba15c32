/** CUDA's runtime: memory, streams, events. Names and order of parameters as in NVIDIA's CUDA Runtime API. */
import { bindCalls, CudaError, textOfCode, type Calls } from './calls.js';
import type { LibraryName, NativeFunction, NativeLibrary } from './search.js';

export const runtimeName: LibraryName = {
  title: "CUDA's runtime",
  files: ['libcudart.so.13', 'libcudart.so.12', 'libcudart.so'],
};

const calls = {
  cudaGetDeviceCount: ['host'],
  // name, its bytes, device
  cudaDeviceGetPCIBusId: ['host', 'int', 'int'],
  cudaSetDevice: ['int'],
  cudaDeviceGetAttribute: ['host', 'int', 'int'],
  cudaDeviceGetStreamPriorityRange: ['host', 'host'],
  cudaDeviceSynchronize: [],
  cudaDriverGetVersion: ['host'],
  cudaRuntimeGetVersion: ['host'],
  cudaMemGetInfo: ['host', 'host'],
  cudaMalloc: ['host', 'size'],
  cudaFree: ['address'],
  cudaMallocHost: ['host', 'size'],
  cudaFreeHost: ['address'],
  cudaMemsetAsync: ['address', 'int', 'size', 'address'],
  cudaMemcpyAsync: ['address', 'address', 'size', 'int', 'address'],
  cudaMemcpy2DAsync: ['address', 'size', 'address', 'size', 'size', 'size', 'int', 'address'],
  cudaStreamCreateWithPriority: ['host', 'unsigned', 'int'],
  cudaStreamSynchronize: ['address'],
  cudaStreamWaitEvent: ['address', 'address', 'unsigned'],
  cudaStreamDestroy: ['address'],
  cudaEventCreateWithFlags: ['host', 'unsigned'],
  cudaEventRecord: ['address', 'address'],
  cudaEventSynchronize: ['address'],
  cudaEventElapsedTime: ['host', 'address', 'address'],
  cudaEventDestroy: ['address'],
} as const;

export interface RuntimeLibrary extends Calls<typeof calls> {
  /** Whether an event has happened: cudaEventQuery, whose code 600 (not ready) is no error. */
  eventDone(event: number): boolean;
}

/** Values of CUDA's enums. */
export const cuda = {
  /** cudaMemcpyDefault: the addresses say which way. */
  copyAnyWay: 4,
  streamNonBlocking: 1,
  eventDefault: 0,
  eventDisableTiming: 2,
  outOfMemory: 2,
  notReady: 600,
  attributes: { multiprocessors: 16, computeMajor: 75, computeMinor: 76, sharedMemoryPerBlockOptIn: 97, l2Bytes: 38 },
} as const;

export function bindRuntime(library: NativeLibrary, rank?: number): RuntimeLibrary {
  const caller = { rank, text: textOfCode(library, 'cudaGetErrorString') };
  let query: NativeFunction | undefined;
  return {
    ...bindCalls(library, calls, caller),
    eventDone: (event) => {
      query ??= library.func('int cudaEventQuery(uint64_t)');
      const code = query(event) as number;
      if (code !== 0 && code !== cuda.notReady) throw new CudaError('cudaEventQuery', code, caller.text(code), rank);
      return code === 0;
    },
  };
}
