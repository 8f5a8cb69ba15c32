/**
 * Batched products of rows that lie close together: they are read where they lie, whole windows of padded rows at a
 * time, and written to a padded buffer, from which they are copied to their place. What a window holds of other experts
 * gives rows that nobody reads. Where rows are summed over, those of one operand are copied among zeros first.
 */
import type { Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';
import type { Storage } from '../kernel-source.js';
import { GrowingRoom } from '../growing-room.js';
import { elementSize, Launcher } from '../operations/launcher.js';
import { followMoves, padRows, type MovesPlan } from '../operations/rows.js';
import type { StreamUploads } from '../stream-uploads.js';
import {
  BatchedProducts,
  bucketRows,
  prepared,
  type ExpertMatrix,
  type ExpertProduct,
  type ExpertProducts,
} from './expert-products.js';
import type { ExpertRuns } from './expert-rows.js';
import { maxOf } from '@monta/core/units';

/** Room is taken with so much to spare: counts of rows differ in every step. */
const spare = 1.125;

/** Whether products of these runs can be made in windows: padded rows begin nowhere before the first row. */
export const fitWindows = ({ runs }: ExpertRuns): boolean => runs.every(({ window }) => window >= 0);

/** Whether rows of all runs follow one another, from the first on, one run an expert: what a window holds is known. */
export function closeRuns({ runs }: ExpertRuns): boolean {
  let end = 0;
  const experts = new Set<number>();
  for (const { expert, row, rows } of runs) {
    if (row !== end || experts.has(expert)) return false;
    experts.add(expert);
    end += rows;
  }
  return true;
}

export class PaddedProducts implements ExpertProducts {
  readonly name: string;
  readonly padding = bucketRows;
  readonly #on: Launcher;
  readonly #uploads: StreamUploads;
  readonly #storage: Storage;
  readonly #batched: BatchedProducts;
  readonly #rows: GrowingRoom;
  readonly #plans: GrowingRoom;
  #prepared:
    | { readonly runs: ExpertRuns; readonly plan: MovesPlan; readonly twins: Map<ExpertMatrix, ExpertMatrix> }
    | undefined;

  /** All of its products are on one stream. */
  constructor(
    context: CudaContext,
    {
      uploads,
      storage,
      stream,
    }: {
      readonly uploads: StreamUploads;
      readonly storage: Storage;
      readonly stream: Address;
    },
  ) {
    this.#on = new Launcher(context.kernels, storage, stream);
    this.#uploads = uploads;
    this.#storage = storage;
    this.#batched = new BatchedProducts(context, uploads, storage);
    this.name = this.#batched.name;
    this.#rows = new GrowingRoom(context, spare);
    this.#plans = new GrowingRoom(context, spare);
  }

  /** Where rows of the last runs lie, and where in a padded buffer. */
  get plan(): MovesPlan {
    return prepared(this.#prepared).plan;
  }

  /** Gives the padded buffer back, which is large. */
  release(): void {
    this.#rows.release();
  }

  prepare(stream: Address, runs: ExpertRuns, matrices: readonly ExpertMatrix[]): void {
    const buffers = matrices.filter(({ weightRows }) => weightRows === undefined);
    const widest = maxOf(buffers.map(({ columns }) => columns));
    const base = this.#rows.of(stream, runs.paddedTotal * widest * elementSize(this.#storage));
    const twins = new Map(
      buffers.map((matrix): [ExpertMatrix, ExpertMatrix] => [matrix, { base, columns: matrix.columns, padded: true }]),
    );
    this.#batched.prepare(stream, runs, [...matrices, ...twins.values()]);
    this.#prepared = { runs, plan: this.#planOf(runs), twins };
  }

  multiply(stream: Address, product: ExpertProduct): ExpertMatrix {
    const { plan } = prepared(this.#prepared);
    const { kind, a, b, d, anywhere = false } = product;
    if (kind === 'weight') {
      const narrower = a.columns <= b.columns ? a : b;
      const among = this.#twin(narrower);
      padRows(this.#on, { width: narrower.columns, from: narrower.base, to: among.base, ...plan });
      return this.#batched.multiply(stream, {
        ...product,
        a: narrower === a ? among : a,
        b: narrower === b ? among : b,
      });
    }
    const made = this.#batched.multiply(stream, { ...product, d: this.#twin(d) });
    if (anywhere) return made;
    followMoves(this.#on, { width: d.columns, from: made.base, to: d.base, ...plan });
    return d;
  }

  #twin(matrix: ExpertMatrix): ExpertMatrix {
    const twin = prepared(this.#prepared).twins.get(matrix);
    if (twin === undefined) throw new Error('a product of rows that were not prepared');
    return twin;
  }

  #planOf({ runs, paddedTotal, total }: ExpertRuns): MovesPlan {
    const count = runs.length;
    const plan = new Int32Array(5 * count + 2);
    const [starts, blocks] = [3 * count, 4 * count + 1];
    // Plain loops: the card may wait for every chunk's plan.
    for (let place = 0; place < count; place++) {
      const { row, rows, window, padded, paddedRows } = runs[place];
      plan[3 * place] = row;
      plan[3 * place + 1] = padded + row - window;
      plan[3 * place + 2] = rows;
      plan[starts + place + 1] = plan[starts + place] + rows;
      plan[blocks + place + 1] = plan[blocks + place] + paddedRows;
    }
    const moves = this.#plans.of(this.#on.stream, plan.byteLength);
    this.#uploads.copy(moves, plan);
    return { moves, starts: moves + 4 * starts, blocks: moves + 4 * blocks, count, rows: total, padded: paddedTotal };
  }
}
