/**
 * Matrix products by cuBLASLt: row-major D = alpha * op(A) * op(B) + beta * D, fp32 accumulation. The library's choice
 * of algorithm costs 75 to 370 us a new size (H200), so it is kept, by the size rounded up: experts' row counts differ
 * in every step.
 */
import { cublas, cublasLt, CudaError, written, type Address } from './bindings/index.js';
import type { CudaContext } from './context.js';
import type { Storage } from './kernel-source.js';
import { elementSize } from './operations/launcher.js';
import { minOf } from '@monta/core/units';

export interface CudaGemmCall {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Address;
  readonly b: Address;
  readonly d: Address;
  /** A is stored k x m. */
  readonly transposeA?: boolean;
  /** B is stored n x k. */
  readonly transposeB?: boolean;
  /** Type of A and B. */
  readonly storage: Storage;
  /** Type of D; that of A and B unless given. */
  readonly output?: Storage;
  readonly alpha?: number;
  readonly beta?: number;
}

/** Sizes are rounded up to this when an algorithm is looked up. */
const sizeUnit = 64;
/** Calls over which a proposal is timed. */
const timedCalls = 3;
/** What NVIDIA advises for Hopper. */
const workspaceBytes = 32 * 2 ** 20;
/** Beyond this, products gain nothing. */
const largestAlignment = 16;

/** The largest power of two, at most 16, that all rows of a matrix begin at a multiple of. */
function alignmentOf(matrix: Address, columns: number, storage: Storage): number {
  let alignment = largestAlignment;
  while ((columns * elementSize(storage)) % alignment !== 0 || matrix % alignment !== 0) alignment /= 2;
  return alignment;
}

interface Plan {
  readonly product: Address;
  readonly algorithm: Uint8Array;
}

const { types, compute32, transpose } = cublas;

/**
 * Whether cuBLASLt said, before it launched anything, that an algorithm does not fit: invalid value or not supported.
 */
function refused(error: unknown): boolean {
  return error instanceof CudaError && error.call === 'cublasLtMatmul' && (error.code === 7 || error.code === 15);
}

/** Products on one stream after another; the workspace is shared, so one stream at a time. */
export class LtGemm {
  readonly #context: CudaContext;
  readonly #handle: Address;
  readonly #workspace: Address;
  readonly #plans = new Map<string, Plan>();
  readonly #known = new Map<string, Address>();
  readonly #scales = new Map<number, Float32Array>();
  readonly #candidates: number;
  #clock: [Address, Address] | undefined;

  /**
   * candidates: how many of the library's proposals are timed when a size first appears; with 1 its first is taken
   * unseen.
   */
  constructor(context: CudaContext, candidates = 1) {
    this.#context = context;
    this.#candidates = candidates;
    const { cublasLt: library } = context.libraries;
    this.#workspace = context.memory.allocate(workspaceBytes);
    this.#handle = written((cell) => library.cublasLtCreate(cell));
    context.onClose(() => this.#close());
  }

  /** Sums of no terms are zeros: with k = 0, which cuBLASLt refuses, D is cleared or, with beta 1, left alone. */
  multiply(stream: Address, call: CudaGemmCall): void {
    const { m, n, k, d, output = call.storage, beta = 0 } = call;
    if (m === 0 || n === 0 || (k === 0 && beta === 1)) return;
    if (k === 0 && beta === 0) {
      this.#context.libraries.runtime.cudaMemsetAsync(d, 0, m * n * elementSize(output), stream);
      return;
    }
    try {
      this.#run(stream, call, this.#plan(stream, call, sizeUnit));
    } catch (error) {
      if (!refused(error)) throw error;
      // Not every algorithm of a neighbouring size fits: this very size gets one of its own.
      this.#run(stream, call, this.#plan(stream, call, 1));
    }
  }

  #run(stream: Address, call: CudaGemmCall, { product, algorithm }: Plan): void {
    const [first, second, result] = this.#layouts(call);
    this.#context.libraries.cublasLt.cublasLtMatmul(
      this.#handle,
      product,
      this.#scale(call.alpha ?? 1),
      call.b,
      first,
      call.a,
      second,
      this.#scale(call.beta ?? 0),
      call.d,
      result,
      call.d,
      result,
      algorithm,
      this.#workspace,
      workspaceBytes,
      stream,
    );
  }

  /**
   * Of the operands as cuBLAS sees them. It thinks in columns: the row-major product is the column-major one of the
   * transposes, B first.
   */
  #layouts({ m, n, k, transposeA = false, transposeB = false, storage, output = storage }: CudaGemmCall) {
    return [
      transposeB ? this.#layout(storage, n, k) : this.#layout(storage, k, n),
      transposeA ? this.#layout(storage, k, m) : this.#layout(storage, m, k),
      this.#layout(output, m, n),
    ] as const;
  }

  /** The plan of all sizes that round up to the same multiples of `unit`; sizes below 64 stand for themselves. */
  #plan(stream: Address, call: CudaGemmCall, unit: number): Plan {
    const { transposeA = false, transposeB = false, storage, output = storage } = call;
    const alignments = [
      alignmentOf(call.b, transposeB ? call.k : call.n, storage),
      alignmentOf(call.a, transposeA ? call.m : call.k, storage),
      alignmentOf(call.d, call.n, output),
    ];
    const [m, n, k] = [call.m, call.n, call.k].map((size) => (size < unit ? size : Math.ceil(size / unit) * unit));
    const key = [unit, m, n, k, ...alignments, transposeA, transposeB, storage, output].join(' ');
    let plan = this.#plans.get(key);
    if (plan === undefined) {
      plan = this.#choose(stream, call, this.#proposals({ ...call, m, n, k }, alignments));
      this.#plans.set(key, plan);
    }
    return plan;
  }

  /**
   * The first of the library's proposals, or the fastest of them on this very product where its result is not added to
   * anything.
   */
  #choose(stream: Address, call: CudaGemmCall, plans: readonly Plan[]): Plan {
    if (plans.length === 0)
      throw new Error(`cuBLASLt has no algorithm for ${call.m} x ${call.n} x ${call.k} in ${call.storage}`);
    if (plans.length === 1 || (call.beta ?? 0) !== 0) return plans[0];
    const times = plans.map((plan) => this.#time(stream, call, plan));
    return plans[times.indexOf(minOf(times))];
  }

  #product({ transposeA = false, transposeB = false }: CudaGemmCall): Address {
    const { cublasLt: library } = this.#context.libraries;
    const product = written((cell) => library.cublasLtMatmulDescCreate(cell, compute32, types.f32));
    const set = (attribute: number, value: boolean): void => {
      if (value) library.cublasLtMatmulDescSetAttribute(product, attribute, Int32Array.of(transpose), 4);
    };
    set(cublasLt.descriptor.transposeA, transposeB);
    set(cublasLt.descriptor.transposeB, transposeA);
    return product;
  }

  /**
   * Algorithms for a size, the most promising first. Sizes that share a plan ask for one size here, so that which of
   * them comes first, in a run or in one that is resumed, changes no sum.
   */
  #proposals(call: CudaGemmCall, alignments: readonly number[]): Plan[] {
    const { cublasLt: library } = this.#context.libraries;
    const product = this.#product(call);
    const [first, second, result] = this.#layouts(call);
    const preference = written((cell) => library.cublasLtMatmulPreferenceCreate(cell));
    const prefer = (attribute: number, value: NodeJS.TypedArray): void =>
      library.cublasLtMatmulPreferenceSetAttribute(preference, attribute, value, value.byteLength);
    const { preference: names, heuristic } = cublasLt;
    const found = new Int32Array(1);
    const results = new Uint8Array(heuristic.bytes * this.#candidates);
    try {
      prefer(names.workspaceBytes, BigUint64Array.of(BigInt(workspaceBytes)));
      for (const [place, name] of [names.alignmentA, names.alignmentB, names.alignmentC].entries())
        prefer(name, Uint32Array.of(alignments[place]));
      prefer(names.alignmentD, Uint32Array.of(alignments[2]));
      library.cublasLtMatmulAlgoGetHeuristic(
        this.#handle,
        product,
        first,
        second,
        result,
        result,
        preference,
        this.#candidates,
        results,
        found,
      );
    } finally {
      library.cublasLtMatmulPreferenceDestroy(preference);
      // What no plan will hold.
      if (found[0] === 0) library.cublasLtMatmulDescDestroy(product);
    }
    // Copies of their own, larger than what the garbage collector may move.
    return Array.from({ length: found[0] }, (_, i) => ({
      product,
      algorithm: results.slice(i * heuristic.bytes, (i + 1) * heuristic.bytes),
    }));
  }

  /** Milliseconds of one product by a plan; Infinity where the plan cannot run it. */
  #time(stream: Address, call: CudaGemmCall, plan: Plan): number {
    const { runtime } = this.#context.libraries;
    const [start, end] = (this.#clock ??= [this.#context.createEvent(true), this.#context.createEvent(true)]);
    try {
      this.#run(stream, call, plan);
      runtime.cudaEventRecord(start, stream);
      for (let i = 0; i < timedCalls; i++) this.#run(stream, call, plan);
      runtime.cudaEventRecord(end, stream);
      runtime.cudaEventSynchronize(end);
    } catch (error) {
      if (refused(error)) return Infinity;
      throw error;
    }
    return this.#context.milliseconds(start, end);
  }

  /** A row-major matrix as it is stored, without gaps: in columns, its transpose. */
  #layout(storage: Storage, rows: number, columns: number): Address {
    const key = `${storage} ${rows} ${columns}`;
    let layout = this.#known.get(key);
    if (layout === undefined) {
      const { cublasLt: library } = this.#context.libraries;
      layout = written((cell) => library.cublasLtMatrixLayoutCreate(cell, types[storage], columns, rows, columns));
      this.#known.set(key, layout);
    }
    return layout;
  }

  #scale(value: number): Float32Array {
    let scale = this.#scales.get(value);
    if (scale === undefined) {
      scale = Float32Array.of(value);
      this.#scales.set(value, scale);
    }
    return scale;
  }

  #close(): void {
    const { cublasLt: library } = this.#context.libraries;
    for (const layout of this.#known.values()) library.cublasLtMatrixLayoutDestroy(layout);
    for (const { product } of this.#plans.values()) library.cublasLtMatmulDescDestroy(product);
    library.cublasLtDestroy(this.#handle);
    this.#context.memory.free(this.#workspace);
  }
}
