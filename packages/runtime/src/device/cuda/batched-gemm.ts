/**
 * Many products of one shape in one call, by cuBLAS: experts in buckets of equal padded row counts. On an H200 this is
 * the fastest way for many small experts, and `LtGemm` in a loop for few large ones.
 */
import { cublas, written, type Address } from './bindings/index.js';
import type { CudaContext } from './context.js';
import type { Storage } from './kernel-source.js';

export interface BatchedGemmCall {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly storage: Storage;
  /** Type of D; that of A and B unless given. */
  readonly output?: Storage;
  /** Whether D is added to; overwritten unless given. */
  readonly add?: boolean;
  /** Products; the arrays below, in the card's memory, hold one address for each. */
  readonly batch: number;
  readonly a: Address;
  readonly b: Address;
  readonly d: Address;
}

const workspaceBytes = 32 * 2 ** 20;
const one = Float32Array.of(1);
const zero = Float32Array.of(0);

/**
 * Row-major D = op(A) * op(B), or D + op(A) * op(B), for a batch, fp32 accumulation. Products on one stream after
 * another; the workspace is shared, so one stream at a time.
 */
export class BatchedGemm {
  readonly #context: CudaContext;
  readonly #handle: Address;
  readonly #workspace: Address;
  #stream: Address | undefined;

  constructor(context: CudaContext) {
    this.#context = context;
    const { cublas: library } = context.libraries;
    this.#workspace = context.memory.allocate(workspaceBytes);
    this.#handle = written((cell) => library.cublasCreate_v2(cell));
    context.onClose(() => {
      library.cublasDestroy_v2(this.#handle);
      context.memory.free(this.#workspace);
    });
  }

  multiply(stream: Address, call: BatchedGemmCall): void {
    const { m, n, k, transposeA = false, transposeB = false, storage, output = storage, batch, a, b, d } = call;
    if (m === 0 || n === 0 || batch === 0) return;
    const { cublas: library } = this.#context.libraries;
    const type = cublas.types[storage];
    if (stream !== this.#stream) {
      library.cublasSetStream_v2(this.#handle, stream);
      // Setting a stream takes the workspace away.
      library.cublasSetWorkspace_v2(this.#handle, this.#workspace, workspaceBytes);
      this.#stream = stream;
    }
    // In columns, so B first: see gemm.ts.
    library.cublasGemmBatchedEx(
      this.#handle,
      transposeB ? cublas.transpose : cublas.noTranspose,
      transposeA ? cublas.transpose : cublas.noTranspose,
      n,
      m,
      k,
      one,
      b,
      type,
      transposeB ? k : n,
      a,
      type,
      transposeA ? m : k,
      call.add === true ? one : zero,
      d,
      cublas.types[output],
      n,
      batch,
      cublas.compute32,
      cublas.defaultAlgorithm,
    );
  }
}
