/**
 * Matrix products by cuBLASLt: row-major D = alpha * op(A) * op(B) + beta * D, fp32 accumulation. The library's choice of algorithm costs 75 to
 * 370 us a new size (H200), so it is kept, by the size rounded up: experts' row counts differ in every step.
 */
import { cublas, cublasLt, written, type Address } from './bindings/index.js';
import type { CudaContext } from './context.js';
import type { Storage } from './kernel-source.js';

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
/** What NVIDIA advises for Hopper. */
const workspaceBytes = 32 * 2 ** 20;
/** All addresses are multiples of it: rows begin at multiples of 16 bytes. */
const alignment = 16;

interface Plan {
  readonly product: Address;
  readonly algorithm: Uint8Array;
}

const { types, compute32, transpose } = cublas;

/** Products on one stream after another; the workspace is shared, so one stream at a time. */
export class LtGemm {
  readonly #context: CudaContext;
  readonly #handle: Address;
  readonly #workspace: Address;
  readonly #plans = new Map<string, Plan>();
  readonly #layouts = new Map<string, Address>();
  readonly #scales = new Map<number, Float32Array>();

  constructor(context: CudaContext) {
    this.#context = context;
    const { cublasLt: library } = context.libraries;
    this.#handle = written((cell) => library.cublasLtCreate(cell));
    this.#workspace = context.memory.allocate(workspaceBytes);
    context.onClose(() => this.#close());
  }

  multiply(stream: Address, call: CudaGemmCall): void {
    const { m, n, k, a, b, d, storage, output = storage, transposeA, transposeB } = call;
    if (m === 0 || n === 0) return;
    const { cublasLt: library } = this.#context.libraries;
    const plan = this.#plan(call);
    // cuBLAS thinks in columns: the row-major product is the column-major one of the transposes, B first.
    const first = transposeB === true ? this.#layout(storage, n, k) : this.#layout(storage, k, n);
    const second = transposeA === true ? this.#layout(storage, k, m) : this.#layout(storage, m, k);
    const result = this.#layout(output, m, n);
    library.cublasLtMatmul(
      this.#handle,
      plan.product,
      this.#scale(call.alpha ?? 1),
      b,
      first,
      a,
      second,
      this.#scale(call.beta ?? 0),
      d,
      result,
      d,
      result,
      plan.algorithm,
      this.#workspace,
      workspaceBytes,
      stream,
    );
  }

  #plan(call: CudaGemmCall): Plan {
    const { transposeA = false, transposeB = false, storage, output = storage } = call;
    const [m, n, k] = [call.m, call.n, call.k].map((size) => Math.ceil(size / sizeUnit) * sizeUnit);
    const key = `${m} ${n} ${k} ${transposeA} ${transposeB} ${storage} ${output}`;
    let plan = this.#plans.get(key);
    if (plan === undefined) {
      plan = this.#choose({ ...call, m, n, k });
      this.#plans.set(key, plan);
    }
    return plan;
  }

  #choose({ m, n, k, transposeA = false, transposeB = false, storage, output = storage }: CudaGemmCall): Plan {
    const { cublasLt: library } = this.#context.libraries;
    const product = written((cell) => library.cublasLtMatmulDescCreate(cell, compute32, types.f32));
    const set = (attribute: number, value: boolean): void => {
      if (value) library.cublasLtMatmulDescSetAttribute(product, attribute, Int32Array.of(transpose), 4);
    };
    set(cublasLt.descriptor.transposeA, transposeB);
    set(cublasLt.descriptor.transposeB, transposeA);
    const preference = written((cell) => library.cublasLtMatmulPreferenceCreate(cell));
    const prefer = (attribute: number, value: NodeJS.TypedArray): void =>
      library.cublasLtMatmulPreferenceSetAttribute(preference, attribute, value, value.byteLength);
    const { preference: names } = cublasLt;
    prefer(names.workspaceBytes, BigUint64Array.of(BigInt(workspaceBytes)));
    for (const name of [names.alignmentA, names.alignmentB, names.alignmentC, names.alignmentD])
      prefer(name, Uint32Array.of(alignment));
    const first = transposeB ? this.#layout(storage, n, k) : this.#layout(storage, k, n);
    const second = transposeA ? this.#layout(storage, k, m) : this.#layout(storage, m, k);
    const result = this.#layout(output, m, n);
    const found = new Int32Array(1);
    const results = new Uint8Array(cublasLt.heuristic.bytes);
    try {
      library.cublasLtMatmulAlgoGetHeuristic(
        this.#handle,
        product,
        first,
        second,
        result,
        result,
        preference,
        1,
        results,
        found,
      );
    } finally {
      library.cublasLtMatmulPreferenceDestroy(preference);
    }
    if (found[0] === 0) throw new Error(`cuBLASLt has no algorithm for ${m} x ${n} x ${k} in ${storage}`);
    // A copy of its own: larger than what the garbage collector may move.
    return { product, algorithm: results.slice() };
  }

  /** A row-major matrix as it is stored, without gaps: in columns, its transpose. */
  #layout(storage: Storage, rows: number, columns: number): Address {
    const key = `${storage} ${rows} ${columns}`;
    let layout = this.#layouts.get(key);
    if (layout === undefined) {
      const { cublasLt: library } = this.#context.libraries;
      layout = written((cell) => library.cublasLtMatrixLayoutCreate(cell, types[storage], columns, rows, columns));
      this.#layouts.set(key, layout);
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
    for (const layout of this.#layouts.values()) library.cublasLtMatrixLayoutDestroy(layout);
    for (const { product } of this.#plans.values()) library.cublasLtMatmulDescDestroy(product);
    library.cublasLtDestroy(this.#handle);
    this.#context.memory.free(this.#workspace);
  }
}
