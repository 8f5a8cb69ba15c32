/**
 * Kernels on whole arrays, by WebAssembly SIMD over one rank's memory. Arrays outside the memory work too: they are
 * copied through scratch block by block, which stays in the cache; results are the same bits. An output may be the same
 * array as an input, but must not overlap one in another way.
 */
import { scratch } from './memory.js';
import type { Reduction } from '../reduction.js';
import type { CpuMemory } from './memory.js';
import { compileElementwiseKernels, kernelRoles } from './wasm/elementwise-kernels.js';
import type { ArrayRole, KernelName } from './wasm/elementwise-kernels.js';

type KernelArray = Float32Array | Uint16Array;

const lanes = 4;
/** Elements of a block: what a kernel touches of up to 9 arrays stays in the second-level cache. */
const blockElements = 4096;
const slotBytes = blockElements * 4;
/** Inputs of the widest reduction kernel. */
const widest = 8;
/** The partial results of wider reductions, behind the slots of a kernel's arrays. */
const partialSlot = widest + 1;

/** Rows of `columns` elements, apart by a stride, both in elements. */
export interface RowCopy {
  readonly rows: number;
  readonly columns: number;
  readonly source: Float32Array;
  readonly sourceStride: number;
  readonly target: Float32Array;
  readonly targetStride: number;
}

export class Elementwise {
  readonly #kernels: ReturnType<typeof compileElementwiseKernels>;

  /** `user` says whose scratch to work in; two threads that work on one memory at a time must differ. */
  constructor(
    private readonly memory: CpuMemory,
    private readonly user: 'computation' | 'communication' = 'computation',
  ) {
    this.#kernels = compileElementwiseKernels(memory.memory);
  }

  /** y += x. */
  add(y: Float32Array, x: Float32Array): void {
    this.#run('add', [y, x]);
  }

  /** y += factor * x. */
  addScaled(y: Float32Array, x: Float32Array, factor: number): void {
    this.#run('addScaled', [y, x], factor);
  }

  /** x *= factor. */
  scale(x: Float32Array, factor: number): void {
    this.#run('scale', [x], factor);
  }

  fill(x: Float32Array, value: number): void {
    x.fill(value);
  }

  /**
   * out = ((inputs[0] + inputs[1]) + inputs[2]) + …, in that order for every element, so the bits do not depend on how
   * the arrays are cut; zeros for no inputs. `max` gives NaN where any input is NaN, and -Infinity for no inputs.
   */
  reduce(out: Float32Array, inputs: readonly Float32Array[], reduction: Reduction = 'sum'): void {
    const [first, ...others] = inputs;
    for (const array of inputs) expectLength('reduce', array, out.length);
    if (first === undefined) {
      out.fill(reduction === 'sum' ? 0 : Number.NEGATIVE_INFINITY);
    } else if (others.length === 0) {
      if (out !== first) out.set(first);
    } else if (inputs.length <= widest) {
      this.#run(reducer(reduction, inputs.length), [out, ...inputs]);
    } else {
      this.#reduceMany(out, first, others, reduction);
    }
  }

  /** Copies rows between arrays that do not overlap. */
  copyRows({ rows, columns, source, sourceStride, target, targetStride }: RowCopy): void {
    if (rows === 0 || columns === 0) return;
    for (const [array, stride, name] of [
      [source, sourceStride, 'source'],
      [target, targetStride, 'target'],
    ] as const) {
      if (stride < columns || (rows - 1) * stride + columns > array.length) {
        throw new RangeError(
          `copyRows: ${rows} rows of ${columns} at stride ${stride} do not fit a ${name} of ${array.length}`,
        );
      }
    }
    if (this.memory.contains(source) && this.memory.contains(target)) {
      const [from, to] = [source.byteOffset, target.byteOffset];
      this.#kernels.copyRows(from, sourceStride * 4, to, targetStride * 4, rows, columns * 4);
      return;
    }
    for (let row = 0; row < rows; row++) {
      const from = row * sourceStride;
      target.set(source.subarray(from, from + columns), row * targetStride);
    }
  }

  /** out = silu(gate) * up, the SwiGLU activation; silu(g) = g / (1 + e^-g). Relative error below 1e-6. */
  siluMul(gate: Float32Array, up: Float32Array, out: Float32Array): void {
    this.#run('siluMul', [gate, up, out]);
  }

  /** Gradients of `siluMul` with respect to gate and up; they may overwrite gate, up or gradOut. */
  siluMulBackward({
    gate,
    up,
    gradOut,
    gradGate,
    gradUp,
  }: {
    readonly gate: Float32Array;
    readonly up: Float32Array;
    readonly gradOut: Float32Array;
    readonly gradGate: Float32Array;
    readonly gradUp: Float32Array;
  }): void {
    this.#run('siluMulBackward', [gate, up, gradOut, gradGate, gradUp]);
  }

  /** The sum of squares, in double precision, in an order that depends on the length only. */
  sumOfSquares(x: Float32Array): number {
    // Whole vectors, then the rest by itself, so that arrays inside and outside the memory are summed in the same
    // order.
    const whole = x.length - (x.length % lanes);
    let sum = 0;
    for (let from = 0; from < whole; from += blockElements) {
      sum += this.#run('sumOfSquares', [x.subarray(from, Math.min(whole, from + blockElements))]);
    }
    return whole < x.length ? sum + this.#run('sumOfSquares', [x.subarray(whole)]) : sum;
  }

  /** Round to nearest, ties to even. NaN stays NaN. */
  toBf16(from: Float32Array, to: Uint16Array): void {
    this.#run('toBf16', [from, to]);
  }

  fromBf16(from: Uint16Array, to: Float32Array): void {
    this.#run('fromBf16', [from, to]);
  }

  /** Round to nearest, ties to even; beyond 65504 (from 65520) infinity. NaN stays NaN. */
  toF16(from: Float32Array, to: Uint16Array): void {
    this.#run('toF16', [from, to]);
  }

  fromF16(from: Uint16Array, to: Float32Array): void {
    this.#run('fromF16', [from, to]);
  }

  /**
   * Runs a kernel in place as far as possible. Arrays outside the memory, and the last few elements of all, go through
   * scratch. Returns what the last call of the kernel did.
   */
  #run(name: KernelName, arrays: readonly KernelArray[], scalar = 0): number {
    const length = arrays[0]?.length ?? 0;
    for (const array of arrays) expectLength(name, array, length);
    const kernel = this.#kernels[name];
    const whole = length - (length % lanes);
    const inside = arrays.map((array) => this.memory.contains(array));
    let result = 0;
    if (!inside.includes(false)) {
      result = kernel(...arrays.map((array) => array.byteOffset), whole / lanes, scalar);
    } else {
      for (let from = 0; from < whole; from += blockElements) {
        result = this.#runStaged({
          name,
          arrays,
          inPlace: inside,
          from,
          count: Math.min(blockElements, whole - from),
          scalar,
        });
      }
    }
    if (whole < length)
      result = this.#runStaged({ name, arrays, inPlace: [], from: whole, count: length - whole, scalar });
    return result;
  }

  /** One block. Arrays that are not `inPlace` are copied to slots, filled up with zeros to whole vectors, and back. */
  #runStaged({
    name,
    arrays,
    inPlace,
    from,
    count,
    scalar,
  }: {
    readonly name: KernelName;
    readonly arrays: readonly KernelArray[];
    readonly inPlace: readonly boolean[];
    readonly from: number;
    readonly count: number;
    readonly scalar: number;
  }): number {
    const roles: readonly ArrayRole[] = kernelRoles[name];
    const padded = Math.ceil(count / lanes) * lanes;
    const slots = arrays.map((array, index) => {
      if (inPlace[index] ?? false) return undefined;
      const slot = this.#slot(index, array, padded);
      if (roles[index]?.reads ?? false) {
        slot.set(array.subarray(from, from + count));
        slot.fill(0, count);
      }
      return slot;
    });
    const addresses = arrays.map(
      (array, index) => slots[index]?.byteOffset ?? array.byteOffset + from * array.BYTES_PER_ELEMENT,
    );
    const result = this.#kernels[name](...addresses, padded / lanes, scalar);
    arrays.forEach((array, index) => {
      const slot = slots[index];
      if (slot !== undefined && (roles[index]?.writes ?? false)) array.set(slot.subarray(0, count), from);
    });
    return result;
  }

  #slot(index: number, like: KernelArray, length: number): KernelArray {
    const byteOffset = scratch[this.user].byteOffset + index * slotBytes;
    const { buffer } = this.memory;
    return like instanceof Float32Array
      ? new Float32Array(buffer, byteOffset, length)
      : new Uint16Array(buffer, byteOffset, length);
  }

  /**
   * More inputs than a kernel takes: block by block, with the partial result in scratch so that `out` may be any of the
   * inputs.
   */
  #reduceMany(out: Float32Array, first: Float32Array, others: readonly Float32Array[], reduction: Reduction): void {
    const each = widest - 1;
    const groups = Math.ceil(others.length / each);
    for (let from = 0; from < out.length; from += blockElements) {
      const end = Math.min(out.length, from + blockElements);
      const partial = this.#slot(partialSlot, out, end - from) as Float32Array;
      let soFar = first.subarray(from, end);
      for (let group = 0; group < groups; group++) {
        const next = others.slice(group * each, (group + 1) * each).map((array) => array.subarray(from, end));
        const target = group === groups - 1 ? out.subarray(from, end) : partial;
        this.#run(reducer(reduction, next.length + 1), [target, soFar, ...next]);
        soFar = partial;
      }
    }
  }
}

function reducer(reduction: Reduction, count: number): KernelName {
  const name = `${reduction}${count}`;
  if (name in kernelRoles) return name as KernelName;
  throw new RangeError(`no kernel reduces ${count} arrays`);
}

function expectLength(name: string, array: KernelArray, length: number): void {
  if (array.length !== length) throw new RangeError(`${name}: arrays of ${length} and ${array.length} elements`);
}
