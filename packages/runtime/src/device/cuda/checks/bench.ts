/**
 * What the checks of kernels share: random inputs on the card and here, outputs that were poisoned before, and one way
 * to compare.
 */
import { Random } from '@monta/core/units';
import { decodeToFloat32, encode } from '../../../checkpoint/safetensors-types.js';
import type { Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';
import type { Storage } from '../kernel-source.js';
import { elementSize, Launcher } from '../operations/launcher.js';

/** One output of one kernel beside the CPU's. */
export interface CheckResult {
  readonly check: string;
  readonly storage: Storage;
  /** Norm of the difference over the norm of what the CPU gives; NaN where something is not finite. */
  readonly error: number;
  readonly bound: number;
  readonly passed: boolean;
  /** What it threw, where it did. */
  readonly problem?: string;
}

/** Largest error that rounding explains: fp32 sums in another order; bf16 outputs and intermediates. */
const bounds: Readonly<Record<Storage, number>> = { f32: 1e-5, bf16: 5e-3 };

const formats = { f32: 'F32', bf16: 'BF16' } as const;

/** Elements in the storage type; the values are those that the storage can hold. */
export interface Sample {
  readonly address: Address;
  readonly values: Float32Array;
}

export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return NaN;
  let [apart, size] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    apart += (actual[i] - expected[i]) ** 2;
    size += expected[i] ** 2;
  }
  return size === 0 ? Math.sqrt(apart) : Math.sqrt(apart / size);
}

/** Where a check runs, and on what. */
export interface CheckPlace {
  readonly context: CudaContext;
  readonly storage: Storage;
  readonly seed: number;
  /** What numbers of rows are divided by, where it does not matter what is computed. */
  readonly smaller?: number;
}

/** A card, a storage type and a seed; adds results to a list. Everything allocated is given back by `close`. */
export class CheckBench {
  readonly on: Launcher;
  readonly random: Random;
  readonly #allocated: Address[] = [];

  readonly context: CudaContext;
  readonly storage: Storage;
  readonly #smaller: number;

  constructor(
    { context, storage, seed, smaller = 1 }: CheckPlace,
    readonly results: CheckResult[],
  ) {
    this.context = context;
    this.storage = storage;
    this.#smaller = smaller;
    this.random = new Random(seed);
    this.on = new Launcher(context.kernels, storage, context.createStream());
  }

  /** So many, or fewer where inputs are to be small: a multiple. */
  of(count: number, multiple = 1): number {
    return multiple * Math.ceil(count / this.#smaller / multiple);
  }

  /** Uniform in [-scale, scale), rounded to the storage type, on the card. */
  sample(length: number, scale = 1): Sample {
    return this.store(Float32Array.from({ length }, () => (2 * this.random.uniform() - 1) * scale));
  }

  /** Values in the storage type on the card, and as they were rounded. */
  store(values: Float32Array): Sample {
    const bytes = new Uint8Array(values.length * elementSize(this.storage));
    encode(formats[this.storage], values, bytes);
    const rounded = new Float32Array(values.length);
    decodeToFloat32(formats[this.storage], bytes, rounded);
    return { address: this.upload(bytes), values: rounded };
  }

  /** Bytes of an array on the card, whatever its type. */
  upload(array: NodeJS.TypedArray): Address {
    const address = this.#allocate(array.byteLength);
    this.context.memory.write(address, new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    return address;
  }

  /** `bytes` of 0xff: NaN in bf16, fp32 and fp64, -1 as an int. */
  poisoned(bytes: number): Address {
    const address = this.#allocate(bytes);
    this.context.memory.write(address, new Uint8Array(bytes).fill(0xff));
    return address;
  }

  /** Room for elements in the storage type. */
  room(elements: number): Address {
    return this.poisoned(elements * elementSize(this.storage));
  }

  /** Elements in the storage type, once the stream has done what was launched. */
  stored(address: Address, length: number): Float32Array {
    const bytes = this.bytes(address, length * elementSize(this.storage));
    const values = new Float32Array(length);
    decodeToFloat32(formats[this.storage], bytes, values);
    return values;
  }

  floats(address: Address, length: number): Float32Array {
    return new Float32Array(this.bytes(address, 4 * length).buffer);
  }

  doubles(address: Address, length: number): Float64Array {
    return new Float64Array(this.bytes(address, 8 * length).buffer);
  }

  ints(address: Address, length: number): Int32Array {
    return new Int32Array(this.bytes(address, 4 * length).buffer);
  }

  bytes(address: Address, length: number): Uint8Array {
    this.context.libraries.runtime.cudaStreamSynchronize(this.on.stream);
    const bytes = new Uint8Array(length);
    this.context.memory.read(address, bytes);
    return bytes;
  }

  /**
   * Records how far apart two arrays are. bound: where the storage's own does not fit, say fp32 outputs whatever the
   * storage.
   */
  expect(check: string, actual: ArrayLike<number>, expected: ArrayLike<number>, bound = bounds[this.storage]): void {
    const error = difference(actual, expected);
    this.results.push({ check, storage: this.storage, error, bound, passed: error <= bound });
  }

  close(): void {
    this.context.synchronize();
    for (const address of this.#allocated.splice(0)) this.context.memory.free(address);
  }

  #allocate(bytes: number): Address {
    const address = this.context.memory.allocate(bytes);
    this.#allocated.push(address);
    return address;
  }
}
