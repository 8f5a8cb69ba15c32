/**
 * Orders of a layer's picks, worked out when somebody asks: by the host for kernels of the CPU, by a card for itself
 * from where the ids lie. What a device made of one it keeps until the layer is over.
 */
import type { View } from '../device/view.js';
import { buildPermutation, type Moves, type Permutation } from '../moe/index.js';

/** Routed ids, row-major; ~id where the pick was dropped. */
export interface RoutedIds {
  readonly length: number;
  /** Where they lie on the device; absent where only the host has them. */
  readonly view?: View;
  read(): Int32Array;
}

export const hostIds = (ids: Int32Array): RoutedIds => ({ length: ids.length, read: () => ids });

/** Something of a layer of which a device may keep a form of its own. */
export class OfLayer {
  #endings: (() => void)[] = [];

  /** Runs `ending` when nothing that was launched needs it any more. */
  whenOver(ending: () => void): void {
    this.#endings.push(ending);
  }

  over(): void {
    for (const ending of this.#endings.splice(0)) ending();
  }
}

export interface PicksShape {
  readonly tokens: number;
  readonly picks: number;
  readonly experts: number;
}

/** The canonical order of a token range's rows: see `Permutation`. */
export class PickOrder extends OfLayer implements Permutation {
  readonly ids: RoutedIds;
  readonly shape: PicksShape;
  #permutation: Permutation | undefined;

  constructor(ids: RoutedIds, shape: PicksShape) {
    super();
    this.ids = ids;
    this.shape = shape;
  }

  get rows(): number {
    return this.#built.rows;
  }

  get counts(): Int32Array {
    return this.#built.counts;
  }

  get rowToken(): Int32Array {
    return this.#built.rowToken;
  }

  get rowPick(): Int32Array {
    return this.#built.rowPick;
  }

  get pickRow(): Int32Array {
    return this.#built.pickRow;
  }

  get #built(): Permutation {
    this.#permutation ??= buildPermutation({ ids: this.ids.read(), kept: undefined, ...this.shape });
    return this.#permutation;
  }
}

/** Picks [first, first + length) of an order. */
export interface PickRange {
  readonly first: number;
  readonly length: number;
}

/** Where picks find their rows in a buffer to which rows came back. */
export class ReturnedPicks extends OfLayer {
  readonly order: PickOrder;
  readonly range: PickRange;
  /** Triples [canonical row, row of the buffer, rows] that cover all rows, ascending. */
  readonly places: Moves;
  #pickRow: Int32Array | undefined;

  constructor(order: PickOrder, range: PickRange, places: Moves) {
    super();
    this.order = order;
    this.range = range;
    this.places = places;
  }

  /** Whether rows of the buffer are in canonical order. */
  get canonical(): boolean {
    return this.places.length === 0 || (this.places.length === 3 && this.places[0] === this.places[1]);
  }

  /** The row of each pick, -1 where dropped. */
  get pickRow(): Int32Array {
    this.#pickRow ??= this.#find();
    return this.#pickRow;
  }

  #find(): Int32Array {
    const { places, order, range } = this;
    const rows = order.pickRow.subarray(range.first, range.first + range.length);
    if (this.canonical) return rows;
    const place = new Int32Array(order.rows);
    for (let move = 0; move < places.length; move += 3)
      for (let i = 0; i < places[move + 2]; i++) place[places[move] + i] = places[move + 1] + i;
    return rows.map((row) => (row < 0 ? row : place[row]));
  }
}
