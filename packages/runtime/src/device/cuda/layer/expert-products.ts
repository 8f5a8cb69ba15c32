/**
 * The six products of an expert layer, over all experts of the card, in the two ways that are fastest on an H200: see
 * `ExpertProducts`.
 */
import { cuda, type Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';
import { BatchedGemm } from '../batched-gemm.js';
import type { LtGemm } from '../gemm.js';
import type { Storage } from '../kernel-source.js';
import { elementSize } from '../operations/launcher.js';
import { bucketsOf, type Bucket, type ExpertRanges } from './expert-rows.js';
import { maxOf, minOf } from '@monta/core';

/** A matrix for each expert: rows of a row buffer, or the expert's weights. */
export interface ExpertMatrix {
  readonly base: Address;
  /** Of a row. */
  readonly columns: number;
  /** Rows of one expert's weights; absent for a row buffer, whose rows are the expert's range. */
  readonly weightRows?: number;
}

/**
 * Which product, for every expert with rows: `forward`: d = a * b^T; `input`: d = a * b, with rows a and d and weights
 * b; `weight`: d = a^T * b, with rows a and b and weights d.
 */
export interface ExpertProduct {
  readonly kind: 'forward' | 'input' | 'weight';
  readonly a: ExpertMatrix;
  readonly b: ExpertMatrix;
  readonly d: ExpertMatrix;
}

/** A way to multiply. `prepare` is called once when the ranges are known, with all products that will follow. */
export interface ExpertProducts {
  readonly name: string;
  /** Rows of an expert begin at a multiple of it. */
  readonly padding: number;
  /** Which way each product took, where they differ. */
  readonly choices?: Readonly<Record<string, string>>;
  prepare(stream: Address, ranges: ExpertRanges, matrices: readonly ExpertMatrix[]): void;
  multiply(stream: Address, product: ExpertProduct): void;
}

/** measured: the faster of both for each product, found when it is first multiplied. */
export type ExpertWay = 'loop' | 'batched' | 'measured';

export function makeExpertProducts({
  context,
  gemm,
  storage,
  way,
  experts,
}: {
  readonly context: CudaContext;
  readonly gemm: LtGemm;
  readonly storage: Storage;
  readonly way: ExpertWay;
  readonly experts: number;
}): ExpertProducts {
  if (way === 'loop') return new LoopedProducts(context, gemm, storage);
  const batched = new BatchedProducts(context, storage, experts);
  return way === 'batched'
    ? batched
    : new MeasuredProducts(context, [batched, new LoopedProducts(context, gemm, storage)]);
}

/** Sizes of one expert's product. */
function sizes({ kind, a, b, d }: ExpertProduct, rows: number): { m: number; n: number; k: number } {
  if (kind === 'forward') return { m: rows, n: d.columns, k: a.columns };
  if (kind === 'input') return { m: rows, n: b.columns, k: a.columns };
  return { m: a.columns, n: b.columns, k: rows };
}

function transposes(kind: ExpertProduct['kind']): { transposeA: boolean; transposeB: boolean } {
  return { transposeA: kind === 'weight', transposeB: kind === 'forward' };
}

/** Where an expert's matrix begins. */
function addressOf(matrix: ExpertMatrix, expert: number, ranges: ExpertRanges, storage: Storage): Address {
  const row = matrix.weightRows === undefined ? ranges.offsets[expert] : expert * matrix.weightRows;
  return matrix.base + row * matrix.columns * elementSize(storage);
}

/** Weights' gradients of experts that no token chose are zeros. */
function clearIdle({
  context,
  stream,
  expertProduct: { kind, d },
  ranges,
  storage,
}: {
  readonly context: CudaContext;
  readonly stream: Address;
  readonly expertProduct: ExpertProduct;
  readonly ranges: ExpertRanges;
  readonly storage: Storage;
}): void {
  if (kind !== 'weight') return;
  const bytes = (d.weightRows ?? 0) * d.columns * elementSize(storage);
  for (let expert = 0; expert < ranges.experts; expert++)
    if (ranges.counts[expert] === 0)
      context.libraries.runtime.cudaMemsetAsync(d.base + expert * bytes, 0, bytes, stream);
}

/** One product an expert by cuBLASLt, on exactly its rows: for few large experts. */
class LoopedProducts implements ExpertProducts {
  readonly name = 'cublasLt loop';
  readonly padding = 1;
  readonly #context: CudaContext;
  readonly #gemm: LtGemm;
  readonly #storage: Storage;
  #ranges: ExpertRanges | undefined;

  constructor(context: CudaContext, gemm: LtGemm, storage: Storage) {
    this.#context = context;
    this.#gemm = gemm;
    this.#storage = storage;
  }

  prepare(_stream: Address, ranges: ExpertRanges): void {
    this.#ranges = ranges;
  }

  multiply(stream: Address, product: ExpertProduct): void {
    const ranges = prepared(this.#ranges);
    const storage = this.#storage;
    clearIdle({ context: this.#context, stream, expertProduct: product, ranges, storage });
    for (let expert = 0; expert < ranges.experts; expert++) {
      const rows = ranges.counts[expert];
      if (rows === 0) continue;
      this.#gemm.multiply(stream, {
        ...sizes(product, rows),
        ...transposes(product.kind),
        storage,
        a: addressOf(product.a, expert, ranges, storage),
        b: addressOf(product.b, expert, ranges, storage),
        d: addressOf(product.d, expert, ranges, storage),
      });
    }
  }
}

/** Rows of experts are padded to it, so that many have the same count. */
const bucketRows = 64;
/** Matrices that one layer multiplies. */
const mostMatrices = 16;

/** One batched product for each padded row count by cuBLAS: for many small experts. */
class BatchedProducts implements ExpertProducts {
  readonly name = 'batched buckets';
  readonly padding = bucketRows;
  readonly #context: CudaContext;
  readonly #gemm: BatchedGemm;
  readonly #storage: Storage;
  readonly #experts: number;
  /** Addresses of every expert's matrices in bucket order, [matrix][experts]: in the card's memory, and pinned here. */
  readonly #pointers: Address;
  readonly #pinned: { readonly address: Address; readonly bytes: Uint8Array };
  #prepared:
    | { readonly ranges: ExpertRanges; readonly buckets: readonly Bucket[]; readonly places: Map<ExpertMatrix, number> }
    | undefined;

  constructor(context: CudaContext, storage: Storage, experts: number) {
    this.#context = context;
    this.#storage = storage;
    this.#experts = experts;
    this.#gemm = new BatchedGemm(context);
    const bytes = 8 * experts * mostMatrices;
    this.#pointers = context.memory.allocate(bytes);
    this.#pinned = context.memory.allocatePinned(bytes);
    context.onClose(() => {
      context.memory.free(this.#pointers);
      context.memory.freePinned(this.#pinned);
    });
  }

  prepare(stream: Address, ranges: ExpertRanges, matrices: readonly ExpertMatrix[]): void {
    if (matrices.length > mostMatrices) throw new RangeError(`${matrices.length} matrices, at most ${mostMatrices}`);
    const { order, buckets } = bucketsOf(ranges);
    const { buffer, byteOffset, length } = this.#pinned.bytes;
    const words = new Uint32Array(buffer, byteOffset, length / 4);
    // The card has only the packing of rows to do meanwhile: plain loops, two words an address.
    for (let place = 0; place < matrices.length; place++) {
      const { base, columns, weightRows } = matrices[place];
      const rowBytes = columns * elementSize(this.#storage);
      let word = 2 * place * this.#experts;
      for (const expert of order) {
        const row = weightRows === undefined ? ranges.offsets[expert] : expert * weightRows;
        const address = base + row * rowBytes;
        words[word++] = address % 2 ** 32;
        words[word++] = Math.floor(address / 2 ** 32);
      }
    }
    const bytes = 8 * this.#experts * matrices.length;
    const { runtime } = this.#context.libraries;
    runtime.cudaMemcpyAsync(this.#pointers, this.#pinned.address, bytes, cuda.copyAnyWay, stream);
    this.#prepared = { ranges, buckets, places: new Map(matrices.map((matrix, place) => [matrix, place])) };
  }

  multiply(stream: Address, product: ExpertProduct): void {
    const { ranges, buckets, places } = prepared(this.#prepared);
    clearIdle({ context: this.#context, stream, expertProduct: product, ranges, storage: this.#storage });
    const pointers = (matrix: ExpertMatrix, { start }: Bucket): Address => {
      const place = places.get(matrix);
      if (place === undefined) throw new Error('a product of a matrix that was not prepared');
      return this.#pointers + 8 * (place * this.#experts + start);
    };
    for (const bucket of buckets)
      this.#gemm.multiply(stream, {
        ...sizes(product, bucket.rows),
        ...transposes(product.kind),
        storage: this.#storage,
        batch: bucket.count,
        a: pointers(product.a, bucket),
        b: pointers(product.b, bucket),
        d: pointers(product.d, bucket),
      });
  }
}

function prepared<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('products before their ranges are known');
  return value;
}

/** How long a way is timed: long enough for the power limit to be felt. */
const timedMilliseconds = 50;

/**
 * Each product in the way that was faster when it first came up, on the rows of that time. Which one stays for good:
 * results keep their bits.
 */
class MeasuredProducts implements ExpertProducts {
  readonly name = 'the faster way for each product';
  readonly padding: number;
  readonly #context: CudaContext;
  readonly #ways: readonly ExpertProducts[];
  readonly #chosen = new Map<string, ExpertProducts>();
  readonly #clock: readonly [Address, Address];

  constructor(context: CudaContext, ways: readonly ExpertProducts[]) {
    this.#context = context;
    this.#ways = ways;
    this.padding = maxOf(ways.map(({ padding }) => padding));
    this.#clock = [context.createEvent(true), context.createEvent(true)];
  }

  get choices(): Readonly<Record<string, string>> {
    return Object.fromEntries([...this.#chosen].map(([product, { name }]) => [product, name]));
  }

  prepare(stream: Address, ranges: ExpertRanges, matrices: readonly ExpertMatrix[]): void {
    for (const way of this.#ways) way.prepare(stream, ranges, matrices);
  }

  multiply(stream: Address, product: ExpertProduct): void {
    const key = `${product.kind} ${product.a.columns} to ${product.d.columns}`;
    let way = this.#chosen.get(key);
    if (way === undefined) {
      const times = this.#ways.map((way) => this.#time(stream, product, way));
      way = this.#ways[times.indexOf(minOf(times))];
      this.#chosen.set(key, way);
    }
    way.multiply(stream, product);
  }

  /**
   * Milliseconds of a call. A product may be made again: it overwrites its result, and reads what it does not write.
   */
  #time(stream: Address, product: ExpertProduct, way: ExpertProducts): number {
    const { runtime } = this.#context.libraries;
    const [start, end] = this.#clock;
    const run = (calls: number): number => {
      runtime.cudaEventRecord(start, stream);
      for (let i = 0; i < calls; i++) way.multiply(stream, product);
      runtime.cudaEventRecord(end, stream);
      runtime.cudaEventSynchronize(end);
      return this.#context.milliseconds(start, end) / calls;
    };
    run(1);
    return run(Math.ceil(timedMilliseconds / run(1)));
  }
}
