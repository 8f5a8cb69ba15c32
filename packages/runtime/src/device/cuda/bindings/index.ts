/** CUDA's libraries, each opened when it is first asked for. */
import { bindCublas, cublasName, type CublasLibrary } from './cublas.js';
import { bindCublasLt, cublasLtName, type CublasLtLibrary } from './cublas-lt.js';
import { bindCudnn, cudnnName, type CudnnLibrary } from './cudnn.js';
import { bindDriver, driverName, type DriverLibrary } from './driver.js';
import { bindNvrtc, nvrtcName, type NvrtcLibrary } from './nvrtc.js';
import { bindNvtx, nvtxName, type NvtxLibrary } from './nvtx.js';
import { bindRuntime, runtimeName, type RuntimeLibrary } from './runtime.js';
import { writtenInt } from './calls.js';
import { openLibrary, type LibraryName, type NativeLibrary } from './search.js';

export { type Address, bindCalls, type Calls, CudaError, textOfCode, written, writtenInt } from './calls.js';
export { cublas } from './cublas.js';
export { cublasLt } from './cublas-lt.js';
export { cudnn, type CudnnLibrary } from './cudnn.js';
export { dynamicSharedBytes } from './driver.js';
export { type NvrtcLibrary } from './nvrtc.js';
export { cuda, type RuntimeLibrary } from './runtime.js';
export { type LibraryName, type NativeFunction, type NativeLibrary, openLibrary } from './search.js';

/**
 * The bindings as one rank sees them: errors name the rank. A library that is missing is an `InputError` when it is
 * first used.
 */
export class CudaLibraries {
  readonly #open: (name: LibraryName) => NativeLibrary;
  readonly #rank: number | undefined;
  readonly #bound = new Map<LibraryName, unknown>();

  constructor(rank?: number, open: (name: LibraryName) => NativeLibrary = openLibrary) {
    this.#rank = rank;
    this.#open = open;
  }

  get runtime(): RuntimeLibrary {
    return this.#library(runtimeName, bindRuntime);
  }

  get driver(): DriverLibrary {
    return this.#library(driverName, bindDriver);
  }

  get nvrtc(): NvrtcLibrary {
    return this.#library(nvrtcName, bindNvrtc);
  }

  get cublas(): CublasLibrary {
    return this.#library(cublasName, bindCublas);
  }

  get cublasLt(): CublasLtLibrary {
    return this.#library(cublasLtName, bindCublasLt);
  }

  /**
   * cuDNN compiles by NVRTC and multiplies by cuBLASLt, which it looks for on the loader's path alone: both are opened
   * before it.
   */
  get cudnn(): CudnnLibrary {
    return this.#library(cudnnName, (library, rank) => bindCudnn(library, rank), [nvrtcName, cublasLtName]);
  }

  /** Undefined where there is none: names of ranges are for profilers only. */
  get nvtx(): NvtxLibrary | undefined {
    try {
      return this.#library(nvtxName, bindNvtx);
    } catch {
      return undefined;
    }
  }

  #library<T>(
    name: LibraryName,
    bind: (library: NativeLibrary, rank?: number) => T,
    before: readonly LibraryName[] = [],
  ): T {
    let bound = this.#bound.get(name);
    if (bound === undefined) {
      for (const other of before) this.#open(other);
      bound = bind(this.#open(name), this.#rank);
      this.#bound.set(name, bound);
    }
    return bound as T;
  }
}

/** Whether this machine has a CUDA device that can be used, and if not, why. */
export function cudaAvailable(): { readonly devices: number; readonly reason?: string } {
  try {
    const cell = new Int32Array(1);
    new CudaLibraries().runtime.cudaGetDeviceCount(cell);
    return { devices: cell[0] };
  } catch (error) {
    return { devices: 0, reason: error instanceof Error ? error.message : String(error) };
  }
}

/** As `0000:1a:00.0`. */
const busIdBytes = 16;

/** Where on the machine's buses the cards lie that this process sees, by number; none where there are none. */
export function cardIds(): string[] {
  const { devices } = cudaAvailable();
  if (devices === 0) return [];
  const { runtime } = new CudaLibraries();
  return Array.from({ length: devices }, (_, device) => {
    const name = Buffer.alloc(busIdBytes);
    runtime.cudaDeviceGetPCIBusId(name, busIdBytes, device);
    return name.toString('utf8', 0, name.indexOf(0));
  });
}

/** A card as its driver describes it. */
export interface CardDescription {
  readonly name: string;
  readonly bytes: number;
}

/** Bytes for a device's name. */
const nameBytes = 256;

/** Name of a device of the driver. */
export function deviceName(driver: DriverLibrary, device: number): string {
  const handle = writtenInt((cell) => driver.cuDeviceGet(cell, device));
  const name = Buffer.alloc(nameBytes);
  driver.cuDeviceGetName(name, nameBytes, handle);
  return name.toString('utf8', 0, name.indexOf(0));
}

/** What this machine's first card is, asked without starting anything on it; undefined where there is none. */
export function firstCard(): CardDescription | undefined {
  if (cudaAvailable().devices === 0) return undefined;
  const { driver } = new CudaLibraries();
  driver.cuInit(0);
  const handle = writtenInt((cell) => driver.cuDeviceGet(cell, 0));
  const bytes = new BigUint64Array(1);
  driver.cuDeviceTotalMem_v2(bytes, handle);
  return { name: deviceName(driver, 0), bytes: Number(bytes[0]) };
}
