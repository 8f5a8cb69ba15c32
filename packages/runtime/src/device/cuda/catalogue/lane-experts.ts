/** Products of experts on the stream of a lane, each in the way that was measured to be the faster one. */
import type { Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';
import type { LtGemm } from '../gemm.js';
import type { Storage } from '../kernel-source.js';
import {
  bucketRows,
  LoopedProducts,
  MeasuredProducts,
  type ExpertMatrix,
  type ExpertProduct,
} from '../layer/expert-products.js';
import { runsOfSegments, type ExpertRuns } from '../layer/expert-rows.js';
import { KeptChoices } from '../layer/kept-choices.js';
import { closeRuns, fitWindows, PaddedProducts } from '../layer/padded-products.js';
import { elementSize } from '../operations/launcher.js';
import type { MovesPlan } from '../operations/rows.js';
import type { StreamUploads } from '../stream-uploads.js';

/** What batched products ask of rows' bytes. */
const alignment = 16;

interface Ways {
  readonly loop: LoopedProducts;
  readonly padded: PaddedProducts;
  readonly measured: MeasuredProducts;
}

/** Of one launch. */
export interface LaunchProducts {
  readonly runs: ExpertRuns;
  /** Returns where the product's rows lie: see `ExpertProducts`. */
  multiply(product: ExpertProduct): ExpertMatrix;
  /** Where rows lie in a padded buffer that a product left. */
  readonly plan: MovesPlan;
}

/** The nearest one: a rank that has a few rows more than its share multiplies as one that has a few less. */
const powerOfTwo = (count: number): number => 2 ** Math.round(Math.log2(Math.max(1, count)));

/** Products whose runs are about as many and as long are made in one way. */
const keyOf =
  (storage: Storage) =>
  ({ kind, a, d, anywhere = false }: ExpertProduct, { runs, total }: ExpertRuns): string =>
    `${storage} ${kind} ${a.columns} to ${d.columns}, ${powerOfTwo(runs.length)} runs of ` +
    `${powerOfTwo(total / runs.length)} rows${anywhere ? ', left padded' : ''}`;

export class LaneExperts {
  readonly #context: CudaContext;
  readonly #stream: Address;
  readonly #gemm: LtGemm;
  readonly #uploads: StreamUploads;
  readonly #ways = new Map<Storage, Ways>();

  constructor(
    context: CudaContext,
    { stream, gemm, uploads }: { readonly stream: Address; readonly gemm: LtGemm; readonly uploads: StreamUploads },
  ) {
    this.#context = context;
    this.#stream = stream;
    this.#gemm = gemm;
    this.#uploads = uploads;
  }

  /** segments: triples [expert, first row, rows]. matrices: all that the launch multiplies. */
  prepare(
    storage: Storage,
    { segments, experts }: { readonly segments: Int32Array; readonly experts: number },
    matrices: readonly ExpertMatrix[],
  ): LaunchProducts {
    const runs = runsOfSegments(segments, experts, bucketRows);
    const { loop, padded, measured } = this.#waysOf(storage);
    const aligned = matrices.every(({ columns }) => (columns * elementSize(storage)) % alignment === 0);
    const windows = runs.runs.length > 1 && aligned && fitWindows(runs);
    const sums = windows && closeRuns(runs);
    loop.prepare(this.#stream, runs);
    measured.prepare(this.#stream, runs, matrices);
    return {
      runs,
      multiply: (product) => {
        const choosing = product.kind === 'weight' ? sums : windows;
        return (choosing ? measured : loop).multiply(this.#stream, product);
      },
      get plan(): MovesPlan {
        return padded.plan;
      },
    };
  }

  #waysOf(storage: Storage): Ways {
    let ways = this.#ways.get(storage);
    if (ways === undefined) {
      const context = this.#context;
      const loop = new LoopedProducts(context, this.#gemm, storage);
      const padded = new PaddedProducts(context, { uploads: this.#uploads, storage, stream: this.#stream });
      const choices = new KeptChoices(context.facts, context.choicesFolder);
      ways = { loop, padded, measured: new MeasuredProducts(context, [padded, loop], choices, keyOf(storage)) };
      this.#ways.set(storage, ways);
    }
    return ways;
  }
}
