/**
 * Products over all experts of a card, in the two ways that are fastest on an H200, and the faster of both as measured:
 * see `ExpertProducts`.
 */
import { DeviceMemoryError } from '../../device.js';
import type { Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';
import { BatchedGemm } from '../batched-gemm.js';
import type { LtGemm } from '../gemm.js';
import { GrowingRoom } from '../growing-room.js';
import type { Storage } from '../kernel-source.js';
import { elementSize } from '../operations/launcher.js';
import type { StreamUploads } from '../stream-uploads.js';
import { bucketsOf, type Bucket, type ExpertRun, type ExpertRuns } from './expert-rows.js';
import { maxOf, minOf } from '@monta/core/units';

/** A matrix for each run of rows: rows of a buffer, or the weights of the run's expert. */
export interface ExpertMatrix {
  readonly base: Address;
  /** Of a row. */
  readonly columns: number;
  /** Rows of one expert's weights; absent for a buffer of rows. */
  readonly weightRows?: number;
  /** A padded buffer: rows lie as `ExpertRun.padded` says. */
  readonly padded?: true;
  /** Type of its elements, where it is not that of all. */
  readonly storage?: Storage;
}

/**
 * Which product, for every run of rows: `forward`: d = a * b^T; `input`: d = a * b, with rows a and d and weights b;
 * `weight`: d = a^T * b, with rows a and b and weights d.
 */
export interface ExpertProduct {
  readonly kind: 'forward' | 'input' | 'weight';
  readonly a: ExpertMatrix;
  readonly b: ExpertMatrix;
  readonly d: ExpertMatrix;
  /** Whether weights d are added to; an expert has one run then at most. */
  readonly add?: boolean;
  /** Whether rows d may stay in a padded buffer, till the next product. */
  readonly anywhere?: boolean;
}

/** A way to multiply. `prepare` is called once the runs are known, with all matrices of the products that follow. */
export interface ExpertProducts {
  readonly name: string;
  /** Rows of an expert begin at a multiple of it. */
  readonly padding: number;
  /** Whether the host makes a call for each run. */
  readonly callsByRun?: true;
  /** Which way each product took, where they differ. */
  readonly choices?: Readonly<Record<string, string>>;
  prepare(stream: Address, runs: ExpertRuns, matrices: readonly ExpertMatrix[]): void;
  /** Returns where the product's rows lie: d, but with `anywhere` perhaps a padded buffer. */
  multiply(stream: Address, product: ExpertProduct): ExpertMatrix;
  /** Gives room back that only its products need. */
  release?(): void;
}

/** measured: the faster of both for each product, found when it is first multiplied. */
export type ExpertWay = 'loop' | 'batched' | 'measured';

/** Products of a layer whose rows are padded where they lie. */
export function makeExpertProducts({
  context,
  gemm,
  uploads,
  storage,
  way,
}: {
  readonly context: CudaContext;
  readonly gemm: LtGemm;
  readonly uploads: StreamUploads;
  readonly storage: Storage;
  readonly way: ExpertWay;
}): ExpertProducts {
  if (way === 'loop') return new LoopedProducts(context, gemm, storage);
  const batched = new BatchedProducts(context, uploads, storage);
  return way === 'batched'
    ? batched
    : new MeasuredProducts(context, [batched, new LoopedProducts(context, gemm, storage)]);
}

/** Sizes of one run's product. */
function sizes({ kind, a, b, d }: ExpertProduct, rows: number): { m: number; n: number; k: number } {
  if (kind === 'forward') return { m: rows, n: d.columns, k: a.columns };
  if (kind === 'input') return { m: rows, n: b.columns, k: a.columns };
  return { m: a.columns, n: b.columns, k: rows };
}

function transposes(kind: ExpertProduct['kind']): { transposeA: boolean; transposeB: boolean } {
  return { transposeA: kind === 'weight', transposeB: kind === 'forward' };
}

/** Bytes of a matrix's row. */
const rowBytes = ({ columns, storage }: ExpertMatrix, usual: Storage): number =>
  columns * elementSize(storage ?? usual);

/** The row of a buffer, or of all experts' weights, at which a run's matrix begins. */
const firstRow = ({ weightRows, padded }: ExpertMatrix, run: ExpertRun, ofBuffer: number): number =>
  weightRows === undefined ? (padded === true ? run.padded : ofBuffer) : run.expert * weightRows;

/** Weights' gradients of experts that no token chose are zeros, where they are not added to. */
function clearIdle({
  context,
  stream,
  expertProduct: { kind, d, add = false },
  runs: { experts, runs },
  storage,
}: {
  readonly context: CudaContext;
  readonly stream: Address;
  readonly expertProduct: ExpertProduct;
  readonly runs: ExpertRuns;
  readonly storage: Storage;
}): void {
  if (kind !== 'weight' || add) return;
  const bytes = (d.weightRows ?? 0) * rowBytes(d, storage);
  const busy = new Set(runs.map(({ expert }) => expert));
  for (let expert = 0; expert < experts; expert++)
    if (!busy.has(expert)) context.libraries.runtime.cudaMemsetAsync(d.base + expert * bytes, 0, bytes, stream);
}

/** One product a run by cuBLASLt, on exactly its rows: for few large experts. */
export class LoopedProducts implements ExpertProducts {
  readonly name = 'cublasLt loop';
  readonly callsByRun = true;
  readonly padding = 1;
  readonly #context: CudaContext;
  readonly #gemm: LtGemm;
  readonly #storage: Storage;
  #runs: ExpertRuns | undefined;

  constructor(context: CudaContext, gemm: LtGemm, storage: Storage) {
    this.#context = context;
    this.#gemm = gemm;
    this.#storage = storage;
  }

  prepare(_stream: Address, runs: ExpertRuns): void {
    this.#runs = runs;
  }

  multiply(stream: Address, product: ExpertProduct): ExpertMatrix {
    const runs = prepared(this.#runs);
    const storage = this.#storage;
    clearIdle({ context: this.#context, stream, expertProduct: product, runs, storage });
    const { kind, a, b, d, add = false } = product;
    const at = (matrix: ExpertMatrix, run: ExpertRun): Address =>
      matrix.base + firstRow(matrix, run, run.row) * rowBytes(matrix, storage);
    for (const run of runs.runs)
      this.#gemm.multiply(stream, {
        storage,
        output: d.storage ?? storage,
        beta: Number(add),
        a: at(a, run),
        b: at(b, run),
        d: at(d, run),
        ...sizes(product, run.rows),
        ...transposes(kind),
      });
    return d;
  }
}

/** Rows of experts are padded to it, so that many have the same count. */
export const bucketRows = 64;
/** Room for addresses is taken for so many times what is needed: chunks differ in their numbers of runs. */
const pointersSpare = 2;

/** One batched product for each padded row count by cuBLAS: for many small experts. */
export class BatchedProducts implements ExpertProducts {
  readonly name = 'batched buckets';
  readonly padding = bucketRows;
  readonly #context: CudaContext;
  readonly #uploads: StreamUploads;
  readonly #gemm: BatchedGemm;
  readonly #storage: Storage;
  /** Of addresses. */
  readonly #room: GrowingRoom;
  /** pointers: addresses of every run's matrices in bucket order, [matrix][runs], on the card. */
  #prepared:
    | {
        readonly runs: ExpertRuns;
        readonly buckets: readonly Bucket[];
        readonly places: Map<ExpertMatrix, number>;
        readonly pointers: Address;
      }
    | undefined;

  constructor(context: CudaContext, uploads: StreamUploads, storage: Storage) {
    this.#context = context;
    this.#uploads = uploads;
    this.#storage = storage;
    this.#gemm = new BatchedGemm(context);
    this.#room = new GrowingRoom(context, pointersSpare);
  }

  prepare(stream: Address, runs: ExpertRuns, matrices: readonly ExpertMatrix[]): void {
    const { order, buckets } = bucketsOf(runs);
    const words = new Uint32Array(2 * order.length * matrices.length);
    // The card has little to do meanwhile: plain loops, two words an address.
    let word = 0;
    for (const matrix of matrices) {
      const bytes = rowBytes(matrix, this.#storage);
      for (const run of order) {
        const address = matrix.base + firstRow(matrix, run, run.window) * bytes;
        words[word++] = address % 2 ** 32;
        words[word++] = Math.floor(address / 2 ** 32);
      }
    }
    const pointers = this.#room.of(stream, words.byteLength);
    this.#uploads.copy(pointers, words);
    this.#prepared = { runs, buckets, places: new Map(matrices.map((matrix, place) => [matrix, place])), pointers };
  }

  multiply(stream: Address, product: ExpertProduct): ExpertMatrix {
    const { runs, buckets, places, pointers: base } = prepared(this.#prepared);
    const storage = this.#storage;
    clearIdle({ context: this.#context, stream, expertProduct: product, runs, storage });
    const { kind, a, b, d, add = false } = product;
    const pointers = (matrix: ExpertMatrix, { start }: Bucket): Address => {
      const place = places.get(matrix);
      if (place === undefined) throw new Error('a product of a matrix that was not prepared');
      return base + 8 * (place * runs.runs.length + start);
    };
    for (const bucket of buckets)
      this.#gemm.multiply(stream, {
        storage,
        output: d.storage ?? storage,
        add,
        batch: bucket.count,
        a: pointers(a, bucket),
        b: pointers(b, bucket),
        d: pointers(d, bucket),
        ...sizes(product, bucket.rows),
        ...transposes(kind),
      });
    return d;
  }
}

export function prepared<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('products before their rows are known');
  return value;
}

/** How long a way is timed: long enough for the power limit to be felt; but not in more calls than that. */
const [timedMilliseconds, timedCalls] = [50, 64];

/**
 * A way with a call for each run must be so much faster where runs are more than that: the card waits for a host that
 * falls behind, which products in a row do not show.
 */
const [fewRuns, byFar] = [16, 1.25];

/** Names of ways that were chosen, by product. */
export interface ExpertChoices {
  get(product: string): string | undefined;
  /** Keeps a choice and returns the one that holds, which may be another's who was first. */
  keep(product: string, way: string): string;
}

/** Runs what takes room on the card; undefined where it has none. */
function whereRoom<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof DeviceMemoryError) return undefined;
    throw error;
  }
}

/** Choices of one object alone. */
function ownChoices(): ExpertChoices {
  const kept = new Map<string, string>();
  return {
    get: (product) => kept.get(product),
    keep: (product, way) => {
      kept.set(product, way);
      return way;
    },
  };
}

/** Of a product where sizes of its runs do not matter. */
const plainKey = ({ kind, a, d }: ExpertProduct): string => `${kind} ${a.columns} to ${d.columns}`;

/**
 * Each product in the way that was faster when it first came up, on the rows of that time. Which one stays for good:
 * results keep their bits.
 */
export class MeasuredProducts implements ExpertProducts {
  readonly name = 'the faster way for each product';
  readonly padding: number;
  readonly #context: CudaContext;
  readonly #ways: readonly ExpertProducts[];
  readonly #kept: ExpertChoices;
  readonly #key: (product: ExpertProduct, runs: ExpertRuns) => string;
  readonly #chosen = new Map<string, ExpertProducts>();
  readonly #clock: readonly [Address, Address];
  #prepared: { readonly runs: ExpertRuns; readonly matrices: readonly ExpertMatrix[] } | undefined;
  #pending = new Set<ExpertProducts>();

  constructor(
    context: CudaContext,
    ways: readonly ExpertProducts[],
    kept: ExpertChoices = ownChoices(),
    key: (product: ExpertProduct, runs: ExpertRuns) => string = plainKey,
  ) {
    this.#context = context;
    this.#ways = ways;
    this.#kept = kept;
    this.#key = key;
    this.padding = maxOf(ways.map(({ padding }) => padding));
    this.#clock = [context.createEvent(true), context.createEvent(true)];
  }

  get choices(): Readonly<Record<string, string>> {
    return Object.fromEntries([...this.#chosen].map(([product, { name }]) => [product, name]));
  }

  prepare(_stream: Address, runs: ExpertRuns, matrices: readonly ExpertMatrix[]): void {
    this.#prepared = { runs, matrices };
    this.#pending = new Set(this.#ways);
  }

  multiply(stream: Address, product: ExpertProduct): ExpertMatrix {
    const key = this.#key(product, prepared(this.#prepared).runs);
    let way = this.#chosen.get(key);
    if (way === undefined) {
      const named = this.#kept.get(key) ?? this.#kept.keep(key, this.#fastest(stream, product).name);
      way = this.#ways.find(({ name }) => name === named) ?? this.#ways[0];
      this.#chosen.set(key, way);
    }
    return this.#ready(stream, way).multiply(stream, product);
  }

  /** Ways are prepared when they are first needed: most layers need one of them. */
  #ready(stream: Address, way: ExpertProducts): ExpertProducts {
    if (!this.#pending.delete(way)) return way;
    const { runs, matrices } = prepared(this.#prepared);
    way.prepare(stream, runs, matrices);
    return way;
  }

  #fastest(stream: Address, product: ExpertProduct): ExpertProducts {
    const { memory } = this.#context;
    const { runs, matrices } = prepared(this.#prepared);
    const { d, add } = product;
    // A product that overwrites its result may be made again. One that adds to it is timed on a result of its own, the
    // same for all experts.
    const bytes = (d.weightRows ?? 0) * rowBytes(d, d.storage ?? 'f32');
    const base = add === true ? whereRoom(() => memory.allocate(bytes)) : d.base;
    // The last way needs no room of its own.
    if (base === undefined) return this.#ways[this.#ways.length - 1];
    const trial = add === true ? { ...d, base, weightRows: 0 } : d;
    const all = add === true ? [...matrices, trial] : matrices;
    const times = this.#ways.map(
      (way) =>
        whereRoom(() => {
          way.prepare(stream, runs, all);
          // Rows that may stay in a padded buffer are brought to their place later: that is counted here.
          const milliseconds = this.#time(stream, { ...product, d: trial, anywhere: false }, way);
          return way.callsByRun === true && runs.runs.length > fewRuns ? byFar * milliseconds : milliseconds;
        }) ?? Infinity,
    );
    this.#pending = new Set(this.#ways);
    if (add === true) memory.free(base);
    const fastest = this.#ways[times.indexOf(minOf(times))];
    for (const way of this.#ways) if (way !== fastest) way.release?.();
    return fastest;
  }

  /** Milliseconds of a call. */
  #time(stream: Address, product: ExpertProduct, way: ExpertProducts): number {
    const { runtime } = this.#context.libraries;
    const [start, end] = this.#clock;
    const run = (calls: number): number => {
      runtime.cudaEventRecord(start, stream);
      for (let i = 0; i < calls; i++) way.multiply(stream, product);
      runtime.cudaEventRecord(end, stream);
      this.#context.waitFor(end);
      return this.#context.milliseconds(start, end) / calls;
    };
    run(1);
    return run(Math.max(1, Math.min(timedCalls, Math.ceil(timedMilliseconds / run(1)))));
  }
}
