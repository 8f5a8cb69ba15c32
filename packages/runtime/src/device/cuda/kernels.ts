/** Kernels on a card: compiled or taken from the cache, loaded, and launched with parameters by name. */
import koffi from 'koffi';
import { dynamicSharedBytes, written, type Address, type CudaLibraries } from './bindings/index.js';
import { compileKernels } from './compile.js';
import { kernelParameters, readKernelSource, type KernelParameter, type Storage } from './kernel-source.js';

/** Blocks and threads, and bytes of dynamic shared memory. */
export interface Grid {
  readonly blocks: number;
  /** Second dimension of the grid; 1. */
  readonly blocksY?: number;
  readonly threads: number;
  readonly sharedBytes?: number;
}

/** A pointer may be null: 0. */
export type Parameters = Readonly<Record<string, number>>;

/** Above this a kernel must ask for more dynamic shared memory. */
const plainSharedBytes = 48 * 1024;
/** Room for parameters; also keeps the array out of the garbage collector's moving heap. */
const parameterRoom = 256;

/**
 * Writes a kernel's parameters into `packed`. Throws on a name that the kernel does not have, and on one that is
 * missing.
 */
export function packParameters(
  kernel: string,
  parameters: readonly KernelParameter[],
  values: Parameters,
  packed: DataView,
): void {
  let given = 0;
  for (const { name, type, offset } of parameters) {
    const value = values[name];
    if (value === undefined) throw new TypeError(`kernel ${kernel} needs the parameter ${name}`);
    given++;
    if (type === 'int') packed.setInt32(offset, value, true);
    else if (type === 'float') packed.setFloat32(offset, value, true);
    else if (type === 'double') packed.setFloat64(offset, value, true);
    else {
      packed.setUint32(offset, value % 2 ** 32, true);
      packed.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
    }
  }
  for (const name in values)
    if (!parameters.some((parameter) => parameter.name === name))
      throw new TypeError(`kernel ${kernel} has no parameter ${name} (${given} were given)`);
}

/** One kernel of a loaded module. */
export class Kernel {
  readonly #libraries: CudaLibraries;
  readonly #function: Address;
  readonly #parameters: readonly KernelParameter[];
  readonly #packed = new DataView(new ArrayBuffer(parameterRoom));
  readonly #addresses: BigUint64Array;
  #sharedBytes = plainSharedBytes;

  constructor(
    readonly name: string,
    libraries: CudaLibraries,
    module: Address,
    parameters: readonly KernelParameter[],
  ) {
    this.#libraries = libraries;
    this.#parameters = parameters;
    this.#function = written((cell) => libraries.driver.cuModuleGetFunction(cell, module, name));
    const base = koffi.address(new Uint8Array(this.#packed.buffer));
    this.#addresses = new BigUint64Array(parameterRoom / 8);
    this.#addresses.set(parameters.map(({ offset }) => base + BigInt(offset)));
  }

  /** Appends a launch to a stream. The driver copies parameters before it returns. */
  launch(stream: Address, grid: Grid, values: Parameters): void {
    const { blocks, blocksY = 1, threads, sharedBytes = 0 } = grid;
    if (blocks === 0 || blocksY === 0) return;
    packParameters(this.name, this.#parameters, values, this.#packed);
    const { driver } = this.#libraries;
    if (sharedBytes > this.#sharedBytes) {
      driver.cuFuncSetAttribute(this.#function, dynamicSharedBytes, sharedBytes);
      this.#sharedBytes = sharedBytes;
    }
    driver.cuLaunchKernel(
      this.#function,
      blocks,
      blocksY,
      1,
      threads,
      1,
      1,
      sharedBytes,
      stream,
      this.#addresses,
      null,
    );
  }
}

/**
 * The kernels of a card, by source, storage and name; each source is compiled when a kernel of it is first asked for.
 */
export class KernelLibrary {
  readonly #libraries: CudaLibraries;
  readonly #architecture: string;
  readonly #modules = new Map<string, { readonly module: Address; readonly kernels: ReadonlyMap<string, Kernel> }>();

  constructor(libraries: CudaLibraries, architecture: string) {
    this.#libraries = libraries;
    this.#architecture = architecture;
  }

  get(source: string, storage: Storage, name: string): Kernel {
    const kernel = this.#load(source, storage).get(name);
    if (kernel === undefined) throw new Error(`${source}.cu has no kernel ${name}`);
    return kernel;
  }

  /** Unloads all modules. */
  close(): void {
    for (const { module } of this.#modules.values()) this.#libraries.driver.cuModuleUnload(module);
    this.#modules.clear();
  }

  #load(name: string, storage: Storage): ReadonlyMap<string, Kernel> {
    const key = `${name} ${storage}`;
    let loaded = this.#modules.get(key);
    if (loaded === undefined) {
      const source = readKernelSource(name);
      const code = compileKernels(this.#libraries.nvrtc, source, { architecture: this.#architecture, storage });
      const module = written((cell) => this.#libraries.driver.cuModuleLoadData(cell, code));
      const kernels = new Map<string, Kernel>();
      for (const [kernel, parameters] of kernelParameters(source.text))
        kernels.set(kernel, new Kernel(kernel, this.#libraries, module, parameters));
      loaded = { module, kernels };
      this.#modules.set(key, loaded);
    }
    return loaded.kernels;
  }
}
