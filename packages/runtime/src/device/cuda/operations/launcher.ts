/** What the operations share: where they launch, and how many threads a row gets. */
import type { Address } from '../bindings/index.js';
import type { Storage } from '../kernel-source.js';
import type { Grid, KernelLibrary, Parameters } from '../kernels.js';

/** Kernels of one storage type on one stream. */
export class Launcher {
  readonly #kernels: KernelLibrary;
  readonly #before: (() => void) | undefined;

  /** before: called before each launch. */
  constructor(
    kernels: KernelLibrary,
    readonly storage: Storage,
    readonly stream: Address,
    before?: () => void,
  ) {
    this.#kernels = kernels;
    this.#before = before;
  }

  /**
   * Appends a launch. Literals of parameters that begin with a spread cost up to two microseconds for every name that
   * follows it (V8 11): spreads go last.
   */
  launch(source: string, kernel: string, grid: Grid, parameters: Parameters): void {
    this.#before?.();
    this.#kernels.get(source, this.storage, kernel).launch(this.stream, grid, parameters);
  }

  /** Elements of one 16-byte access: rows must be multiples of it. */
  get lanes(): number {
    return 16 / elementSize(this.storage);
  }

  /**
   * Threads of a block that walks a row of `width` elements. Throws where rows do not begin at multiples of 16 bytes.
   */
  rowThreads(width: number): number {
    if (width % this.lanes !== 0)
      throw new RangeError(
        `rows of ${width} elements: on a GPU they must be multiples of ${this.lanes} in ${this.storage}`,
      );
    return Math.min(mostThreads, Math.ceil(width / this.lanes / warp) * warp);
  }
}

export function elementSize(storage: Storage): number {
  return storage === 'bf16' ? 2 : 4;
}

/** Threads of a warp. */
export const warp = 32;
const mostThreads = 256;

export const nullAddress: Address = 0;
