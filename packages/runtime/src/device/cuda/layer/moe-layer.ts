/**
 * One layer of experts on one card, router to combined output, forward and backward. The host reads the counts once a
 * forward pass, while the card packs rows. The combine's weights are folded into the activation, so no expert output is
 * saved for the backward.
 */
import type { Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';
import { LtGemm } from '../gemm.js';
import type { Storage } from '../kernel-source.js';
import { elementSize, Launcher } from '../operations/launcher.js';
import { routerGradient, routerSelect } from '../operations/router.js';
import {
  buildCudaPermutation,
  combine,
  fetchInts,
  packRows,
  permutationScratch,
  rowCapacity,
  type CudaPermutation,
  type PermutationShape,
} from '../operations/rows.js';
import { swigluBackward, swigluForward } from '../operations/swiglu.js';
import { StreamUploads } from '../stream-uploads.js';
import { makeExpertProducts, type ExpertMatrix, type ExpertProducts, type ExpertWay } from './expert-products.js';
import { runsOfRanges } from './expert-rows.js';

export interface MoeLayerShape {
  /** Of one pass. */
  readonly tokens: number;
  /** Elements of a token. */
  readonly hidden: number;
  /** Inner width of an expert. */
  readonly ffn: number;
  readonly experts: number;
  /** Experts of a token. */
  readonly picks: number;
  /** Whether a token's weights are scaled to sum to one. */
  readonly renormalise: boolean;
}

/**
 * Weights, or their gradients, in the storage type: router [experts, hidden], gateUp [experts, 2 ffn, hidden], down
 * [experts, hidden, ffn].
 */
export interface MoeWeights {
  readonly router: Address;
  readonly gateUp: Address;
  readonly down: Address;
}

export interface MoeLayerOptions {
  readonly storage: Storage;
  readonly way: ExpertWay;
  /** Algorithms of cuBLASLt that are timed for a size when it first appears; 1 unless given. */
  readonly candidates?: number;
  /** Called after each piece was appended to the stream: for measurements. */
  readonly onPiece?: (piece: string) => void;
}

/** What a layer computes with, and where; a stream of its own unless given. */
export interface MoeLayerOperands {
  readonly shape: MoeLayerShape;
  readonly weights: MoeWeights;
  readonly gradients: MoeWeights;
  readonly stream?: Address;
}

/** Elements of each weight. */
export function weightElements({ hidden, ffn, experts }: MoeLayerShape): Readonly<Record<keyof MoeWeights, number>> {
  return { router: experts * hidden, gateUp: experts * 2 * ffn * hidden, down: experts * hidden * ffn };
}

/** Multiplications and additions of the experts' products, forward and backward. */
export function expertFlops({ tokens, picks, hidden, ffn }: MoeLayerShape): number {
  return 3 * 2 * tokens * picks * hidden * 3 * ffn;
}

interface Matrices {
  readonly x: ExpertMatrix;
  /** Gate and up of each row; the backward writes their gradient over them. */
  readonly gateUp: ExpertMatrix;
  readonly activated: ExpertMatrix;
  readonly dactivated: ExpertMatrix;
  /** The experts' output; in the backward the rows of dy, then those of dx. */
  readonly rows: ExpertMatrix;
  readonly gateUpWeights: ExpertMatrix;
  readonly downWeights: ExpertMatrix;
  readonly gateUpGradient: ExpertMatrix;
  readonly downGradient: ExpertMatrix;
}

/** What the experts' products read and write; rows by expert lie in buffers that `rows` makes. */
function matricesOf(
  {
    weights,
    gradients,
    hidden,
    ffn,
  }: Pick<MoeLayerOperands, 'weights' | 'gradients'> & Pick<MoeLayerShape, 'hidden' | 'ffn'>,
  rows: (columns: number) => ExpertMatrix,
): Matrices {
  return {
    x: rows(hidden),
    gateUp: rows(2 * ffn),
    activated: rows(ffn),
    dactivated: rows(ffn),
    rows: rows(hidden),
    gateUpWeights: { base: weights.gateUp, columns: hidden, weightRows: 2 * ffn },
    downWeights: { base: weights.down, columns: ffn, weightRows: hidden },
    gateUpGradient: { base: gradients.gateUp, columns: hidden, weightRows: 2 * ffn },
    downGradient: { base: gradients.down, columns: ffn, weightRows: hidden },
  };
}

/** A layer and its buffers, for one micro-batch at a time. */
export class CudaMoeLayer {
  readonly #context: CudaContext;
  readonly #shape: MoeLayerShape;
  readonly #on: Launcher;
  readonly #gemm: LtGemm;
  readonly #products: ExpertProducts;
  readonly #permutationShape: PermutationShape;
  readonly #permutation: CudaPermutation;
  readonly #weights: MoeWeights;
  readonly #gradients: MoeWeights;
  readonly #matrices: Matrices;
  readonly #small: Readonly<Record<'probabilities' | 'ids' | 'picked' | 'dpicked' | 'dlogits' | 'rounded', Address>>;
  readonly #fetched: Int32Array;
  readonly #fetchedAddress: Address;
  readonly #counted: Address;
  readonly #mark: (piece: string) => void;
  #rows = 0;

  constructor(
    context: CudaContext,
    {
      shape,
      weights,
      gradients,
      storage,
      way,
      candidates,
      onPiece,
      stream = context.createStream(1),
    }: MoeLayerOptions & MoeLayerOperands,
  ) {
    const { tokens, hidden, ffn, experts, picks } = shape;
    const { memory } = context;
    this.#context = context;
    this.#shape = shape;
    this.#weights = weights;
    this.#gradients = gradients;
    this.#mark = onPiece ?? ((): void => undefined);
    this.#on = new Launcher(context.kernels, storage, stream);
    this.#gemm = new LtGemm(context, candidates);
    this.#products = makeExpertProducts({
      context,
      gemm: this.#gemm,
      uploads: new StreamUploads(context, stream),
      storage,
      way,
    });
    this.#permutationShape = { tokens, picks, experts, padding: this.#products.padding };
    const capacity = rowCapacity(this.#permutationShape);
    const ints = (count: number): Address => memory.allocate(4 * count);
    this.#permutation = {
      counts: ints(experts),
      offsets: ints(experts + 1),
      rowPick: ints(capacity),
      pickRow: ints(tokens * picks),
      scratch: ints(permutationScratch(this.#permutationShape)),
    };
    this.#matrices = matricesOf({ weights, gradients, hidden, ffn }, (columns) => ({
      base: memory.allocate(capacity * columns * elementSize(storage)),
      columns,
    }));
    this.#small = {
      probabilities: ints(tokens * experts),
      ids: ints(tokens * picks),
      picked: ints(tokens * picks),
      dpicked: ints(tokens * picks),
      dlogits: ints(tokens * experts),
      rounded: ints(tokens * experts),
    };
    const pinned = memory.allocatePinned(4 * (2 * experts + 1));
    this.#fetched = new Int32Array(pinned.bytes.buffer);
    this.#fetchedAddress = pinned.address;
    this.#counted = context.createEvent();
    context.onClose(() => memory.freePinned(pinned));
  }

  get stream(): Address {
    return this.#on.stream;
  }

  /** How experts are multiplied, as people say it. */
  get way(): string {
    return this.#products.name;
  }

  /** Which way each product took, where that was measured. */
  get choices(): Readonly<Record<string, string>> | undefined {
    return this.#products.choices;
  }

  /** x, y: [tokens, hidden]. Waits for the counts, and for nothing else. */
  forward(x: Address, y: Address): void {
    const { tokens, hidden, experts, picks } = this.#shape;
    const on = this.#on;
    const { stream, storage } = on;
    const { runtime } = this.#context.libraries;
    const { probabilities, ids, picked: weights } = this.#small;
    const router = { m: tokens, n: experts, k: hidden, a: x, b: this.#weights.router, d: probabilities };
    this.#gemm.multiply(stream, { ...router, transposeB: true, storage, output: 'f32' });
    routerSelect(on, this.#shape, { logits: probabilities, probabilities, ids, weights });
    buildCudaPermutation({ on, runtime, shape: this.#permutationShape, ids, cudaPermutation: this.#permutation });
    const { counts, offsets } = this.#permutation;
    this.#mark('route');
    fetchInts({ runtime, stream, from: counts, to: this.#fetchedAddress, count: experts });
    fetchInts({ runtime, stream, from: offsets, to: this.#fetchedAddress + 4 * experts, count: experts + 1 });
    runtime.cudaEventRecord(this.#counted, stream);
    const { x: xRows, gateUp, activated, rows, gateUpWeights, downWeights } = this.#matrices;
    this.#pack(x, xRows);
    this.#mark('pack');
    runtime.cudaEventSynchronize(this.#counted);
    const runs = runsOfRanges({
      experts,
      counts: this.#fetched.subarray(0, experts),
      offsets: this.#fetched.subarray(experts, 2 * experts + 1),
    });
    this.#rows = runs.paddedTotal;
    this.#products.prepare(stream, runs, Object.values<ExpertMatrix>({ ...this.#matrices }));
    this.#products.multiply(stream, { kind: 'forward', a: xRows, b: gateUpWeights, d: gateUp });
    this.#mark('gate and up');
    swigluForward(on, this.#expertRows(), { gateUp: gateUp.base, activated: activated.base });
    this.#mark('swiglu');
    this.#products.multiply(stream, { kind: 'forward', a: activated, b: downWeights, d: rows });
    this.#mark('down');
    combine(on, this.#back(picks), { rows: rows.base, y });
    this.#mark('combine');
  }

  /** dx from dy, both [tokens, hidden]; x as given to the forward. Weights' gradients are overwritten. */
  backward(x: Address, dy: Address, dx: Address): void {
    const { tokens, hidden, experts, picks } = this.#shape;
    const on = this.#on;
    const { stream, storage } = on;
    const { probabilities, ids, dpicked, dlogits, rounded } = this.#small;
    const { x: xRows, gateUp, activated, dactivated, rows, ...weights } = this.#matrices;
    const products = this.#products;
    this.#pack(dy, rows);
    this.#mark('pack, backward');
    products.multiply(stream, { kind: 'input', a: rows, b: weights.downWeights, d: dactivated });
    this.#mark('down, input gradient');
    products.multiply(stream, { kind: 'weight', a: rows, b: activated, d: weights.downGradient });
    this.#mark('down, weight gradient');
    swigluBackward(on, this.#expertRows(), {
      gateUp: gateUp.base,
      dactivated: dactivated.base,
      dgateUp: gateUp.base,
      dweights: dpicked,
    });
    this.#mark('swiglu, backward');
    products.multiply(stream, { kind: 'input', a: gateUp, b: weights.gateUpWeights, d: rows });
    this.#mark('gate and up, input gradient');
    products.multiply(stream, { kind: 'weight', a: gateUp, b: xRows, d: weights.gateUpGradient });
    this.#mark('gate and up, weight gradient');
    routerGradient(on, this.#shape, { probabilities, ids, dweights: dpicked, dlogits, rounded });
    const router = { storage, a: rounded } as const;
    const toWeight = { m: experts, n: hidden, k: tokens, b: x, d: this.#gradients.router, transposeA: true };
    this.#gemm.multiply(stream, { ...router, ...toWeight });
    this.#gemm.multiply(stream, { ...router, m: tokens, n: hidden, k: experts, b: this.#weights.router, d: dx });
    this.#mark('route, backward');
    combine(on, this.#back(picks), { rows: rows.base, y: dx, add: true });
    this.#mark('combine, backward');
  }

  #pack(source: Address, to: ExpertMatrix): void {
    const { hidden } = this.#shape;
    packRows(this.#on, this.#permutationShape, this.#permutation, { width: hidden, source, rows: to.base });
  }

  #back(picks: number) {
    const { tokens, hidden: width } = this.#shape;
    return { tokens, picks, width, pickRow: this.#permutation.pickRow };
  }

  #expertRows() {
    const { ffn, experts } = this.#shape;
    const { rowPick, offsets } = this.#permutation;
    return { rows: this.#rows, ffn, total: offsets + 4 * experts, rowPick, weights: this.#small.picked };
  }
}
