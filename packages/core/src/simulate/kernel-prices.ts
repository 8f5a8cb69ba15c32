/** Prices of kernels by what they do and their rows: chunks of a task mostly have equally many of them. */
import { kernelSeconds, pricedKernel, type CostModel, type Estimate } from '../cost/index.js';
import { priceKey } from '../schedule/kernels.js';
import type { Body, Operation, Work } from '../schedule/schedule.js';
import { memoized } from '../units/index.js';

type KernelBody = Extract<Body, { kind: 'kernel' }>;

export interface KernelPrice {
  /** By what it is priced. */
  readonly name: string;
  /** Through memory. */
  readonly bytes: number;
  readonly estimate: Estimate;
}

/** What costs the same on equally many rows. */
interface Known {
  readonly name: string;
  readonly work: Work;
  readonly byRows: Map<number, KernelPrice>;
}

const sameWork = (one: Work, other: Work): boolean =>
  one.kind === other.kind &&
  one.flopsPerRow === other.flopsPerRow &&
  one.bytesPerRow === other.bytesPerRow &&
  one.fixedBytes === other.fixedBytes;

class KernelPrices {
  readonly #model: CostModel;
  /** By all that decides it but the rows. */
  readonly #byKey = new Map<string, Map<number, KernelPrice>>();
  /** By the parts of the work, which all chunks of a task have in common. */
  readonly #known = new WeakMap<Work['parts'], Known[]>();

  constructor(model: CostModel) {
    this.#model = model;
  }

  /** A kernel of an operation that runs alone on so many rows. */
  of({ uses }: Pick<Operation, 'uses'>, { name: kernel, work }: KernelBody, rows: number): KernelPrice {
    const name = priceKey(kernel, uses);
    let list = this.#known.get(work.parts);
    if (list === undefined) this.#known.set(work.parts, (list = []));
    let known = list.find((one) => one.name === name && sameWork(one.work, work));
    if (known === undefined) list.push((known = { name, work, byRows: this.#byRows(name, work) }));
    let price = known.byRows.get(rows);
    if (price === undefined) {
      const priced = pricedKernel(name, work, rows);
      price = { name, bytes: priced.bytes, estimate: kernelSeconds(this.#model, priced) };
      known.byRows.set(rows, price);
    }
    return price;
  }

  #byRows(name: string, { kind, flopsPerRow, bytesPerRow, fixedBytes, parts }: Work): Map<number, KernelPrice> {
    const key = JSON.stringify([name, kind, flopsPerRow, bytesPerRow, fixedBytes, parts]);
    let byRows = this.#byKey.get(key);
    if (byRows === undefined) this.#byKey.set(key, (byRows = new Map()));
    return byRows;
  }
}

/** The prices of a model, which are kept as long as it is. */
export const kernelPrices = memoized((model: CostModel) => new KernelPrices(model));
