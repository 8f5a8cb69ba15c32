/**
 * What the host knows of one layer's routing in one micro-batch: the counts that were exchanged, and where every pick's row lies in the
 * canonical order and in the buffers of the dispatcher's halves. Kept from the forward to the backward of the layer, which may use
 * another number of chunks.
 *
 * Row orders, chunk c of n (floor(m*c/n)..floor(m*(c+1)/n) of every block of m rows):
 *   canonical        [local expert][ep rank p][etp index j][rows in token order]
 *   slice scope      sent [chunk][expert][rows];    received [chunk][p][local expert][rows];   gathered [chunk][j][p][local expert][rows]
 *   replica scope    sent [chunk][expert][slice][rows];    received [chunk][p][local expert][j][rows]
 *   expanded         [chunk][slice][expert][rows]
 */
import { sliceStart, type Layout, type MoeShape, type ProgramNode, type Strategy } from '@monta/core';
import { activationOf, combineScope, returningHalves, routingScope, type Scope } from '@monta/core';
import {
  buildPermutation,
  chunkMoves,
  chunkTotal,
  gatherOrder,
  receiveOrder,
  sendOrder,
  type Moves,
  type Permutation,
} from '../moe/index.js';

/** Buffers of the expert side. */
export type ArrivedOrder = 'slice' | 'replica';

export interface RoutedTokens {
  /** Rows of the tokens: canonical order of the sender, [expert][slice][rows]. */
  readonly permutation: Permutation;
  /** Rows of block expert * slices + slice. */
  readonly blocks: Int32Array;
  readonly slices: number;
}

/** Sizes that a layer's routing depends on, for one rank. */
export class RoutingShape {
  readonly layout: Layout;
  readonly routing: Scope;
  readonly combined: Scope;
  readonly localExperts: number;
  /** Place among the sources of the expert group. */
  readonly source: number;
  readonly epIndex: number;
  readonly tpIndex: number;

  constructor(
    readonly shape: MoeShape,
    readonly strategy: Strategy,
    readonly rank: number,
  ) {
    const { layout } = shape;
    this.layout = layout;
    this.routing = routingScope(strategy, shape);
    this.combined = layout.tp === 1 ? 'slice' : combineScope(strategy, activationOf(layout));
    this.localExperts = shape.experts / layout.ep;
    this.source = rank % (layout.etp * layout.ep);
    this.epIndex = Math.floor(this.source / layout.etp);
    this.tpIndex = rank % layout.tp;
  }

  /** Tokens [start, end) of this rank's slice. */
  get slice(): { readonly start: number; readonly end: number } {
    const { tokens, layout } = this.shape;
    return {
      start: sliceStart(tokens, this.tpIndex, layout.tp),
      end: sliceStart(tokens, this.tpIndex + 1, layout.tp),
    };
  }

  /** Tokens that a scope covers. */
  tokens(scope: Scope): number {
    return scope === 'replica' ? this.shape.tokens : this.slice.end - this.slice.start;
  }
}

const noIds = new Int32Array(0);

export class LayerRouting {
  readonly #shape: RoutingShape;
  /** Routed ids [tokens of the routing scope, k]; ~id where the pick was dropped. */
  readonly #ids: Int32Array;
  /** Rows of this rank's experts by block, local expert * sources + source. */
  readonly arrived: Int32Array;
  #slice: RoutedTokens | undefined;
  #replica: RoutedTokens | undefined;
  readonly #returned = new Map<number, Permutation>();

  constructor(
    shape: RoutingShape,
    /** [source of the expert group][expert] rows. */
    readonly counts: Int32Array,
    ids: Int32Array = noIds,
  ) {
    this.#shape = shape;
    this.#ids = ids;
    const { experts } = shape.shape;
    const sources = shape.layout.etp * shape.layout.ep;
    this.arrived = new Int32Array(shape.localExperts * sources);
    for (let expert = 0; expert < shape.localExperts; expert++)
      for (let source = 0; source < sources; source++)
        this.arrived[expert * sources + source] =
          counts[source * experts + shape.epIndex * shape.localExperts + expert];
  }

  /** The tokens of this rank's slice, or of its whole replica. */
  tokens(scope: Scope): RoutedTokens {
    if (scope === 'slice') return (this.#slice ??= this.#routed('slice'));
    return (this.#replica ??= this.#routed('replica'));
  }

  /** Chunk `chunk` of `of` of the rows to send: from the canonical order of `tokens(scope)` to packed rows counted from 0. */
  sendMoves(scope: Scope, chunk: number, of: number): Moves {
    const { blocks, slices } = this.tokens(scope);
    return chunkMoves(blocks, sendOrder(this.#shape.shape.experts, slices), chunk, of);
  }

  /** Chunk `chunk` of `of` of the rows of this rank's experts: from the canonical order to the order in which they travel. */
  arrivedMoves(order: ArrivedOrder, chunk: number, of: number): Moves {
    const { localExperts, layout } = this.#shape;
    const blocks =
      order === 'slice'
        ? gatherOrder(localExperts, layout.ep, layout.etp)
        : receiveOrder(localExperts, layout.ep, layout.etp);
    return chunkMoves(this.arrived, blocks, chunk, of);
  }

  /** Rows [start, end) of this rank's etp section in a chunk of the gathered order. */
  ownSection(chunk: number, of: number): { start: number; end: number } {
    const { localExperts, layout, source } = this.#shape;
    const own = source % layout.etp;
    const rows = Array.from({ length: layout.etp }, () => 0);
    const sources = layout.etp * layout.ep;
    for (let j = 0; j < layout.etp; j++) {
      const blocks = new Int32Array(localExperts * layout.ep);
      for (let i = 0; i < blocks.length; i++) {
        const expert = Math.floor(i / layout.ep);
        blocks[i] = this.arrived[expert * sources + (i % layout.ep) * layout.etp + j];
      }
      rows[j] = chunkTotal(blocks, chunk, of);
    }
    const start = rows.slice(0, own).reduce((sum, n) => sum + n, 0);
    return { start, end: start + rows[own] };
  }

  /**
   * Where each pick of the combined tokens finds its row in the returned buffer of a pass with `of` chunks: a permutation whose `pickRow`
   * counts rows of that buffer, for the tokens of the combine scope.
   */
  returned(of: number): Permutation {
    let permutation = this.#returned.get(of);
    if (permutation === undefined) {
      permutation = this.#returnedPermutation(of);
      this.#returned.set(of, permutation);
    }
    return permutation;
  }

  #returnedPermutation(of: number): Permutation {
    const { strategy, shape, layout, combined, slice } = this.#shape;
    const half = returningHalves[strategy.combine];
    const activation = activationOf(layout);
    const scope: Scope = layout.tp > 1 && half.returnedRows(activation) === 'replica' ? 'replica' : 'slice';
    const { permutation, blocks, slices } = this.tokens(scope);
    const expanded = scope === 'replica' && half.name === 'sliced';
    const order = expanded ? expandOrder(shape.experts, slices) : sendOrder(shape.experts, slices);
    const place = new Int32Array(permutation.rows);
    let base = 0;
    for (let chunk = 0; chunk < of; chunk++) {
      const moves = chunkMoves(blocks, order, chunk, of);
      for (let move = 0; move < moves.length; move += 3)
        for (let i = 0; i < moves[move + 2]; i++) place[moves[move] + i] = base + moves[move + 1] + i;
      base += chunkTotal(blocks, chunk, of);
    }
    const k = shape.topK;
    const picks =
      scope === 'replica' && combined === 'slice'
        ? permutation.pickRow.subarray(slice.start * k, slice.end * k)
        : permutation.pickRow;
    return { ...permutation, pickRow: picks.map((row) => (row < 0 ? row : place[row])) };
  }

  #routed(scope: Scope): RoutedTokens {
    const { shape, routing, slice, layout } = this.#shape;
    const k = shape.topK;
    if (scope === 'replica' && routing === 'slice' && layout.tp > 1)
      throw new Error('the routing of the whole replica is asked for, but this rank routed only its slice');
    const offset = scope === 'slice' && routing === 'replica' ? slice.start * k : 0;
    const tokens = this.#shape.tokens(scope);
    const encoded = this.#ids.subarray(offset, offset + tokens * k);
    const permutation = buildPermutation(pickedIds(encoded), keptPicks(encoded), tokens, k, shape.experts);
    if (scope === 'slice' || layout.tp === 1) return { permutation, blocks: permutation.counts, slices: 1 };
    const blocks = new Int32Array(shape.experts * layout.tp);
    for (let i = 0; i < layout.tp; i++) {
      const from = sliceStart(tokens, i, layout.tp) * k;
      const end = sliceStart(tokens, i + 1, layout.tp) * k;
      for (let pick = from; pick < end; pick++) if (encoded[pick] >= 0) blocks[encoded[pick] * layout.tp + i]++;
    }
    return { permutation, blocks, slices: layout.tp };
  }
}

/** Ids with the mark of dropped picks taken off. */
export const pickedIds = (encoded: Int32Array): Int32Array => encoded.map((id) => (id < 0 ? ~id : id));

/** 1 for kept picks; undefined when none was dropped. */
export function keptPicks(encoded: Int32Array): Uint8Array | undefined {
  if (!encoded.some((id) => id < 0)) return undefined;
  return Uint8Array.from(encoded, (id) => (id < 0 ? 0 : 1));
}

/** Blocks expert * slices + slice in the order [slice][expert]. */
function expandOrder(experts: number, slices: number): Int32Array {
  return Int32Array.from({ length: experts * slices }, (_, i) => (i % experts) * slices + Math.floor(i / experts));
}

/** Routings by layer and micro-batch. */
export class RoutingBook {
  readonly #routings = new Map<string, LayerRouting>();

  set(layer: number, microBatch: number, routing: LayerRouting): void {
    this.#routings.set(`${layer}/${microBatch}`, routing);
  }

  has({ layer, microBatch }: Pick<ProgramNode, 'layer' | 'microBatch'>): boolean {
    return this.#routings.has(`${layer}/${microBatch}`);
  }

  get({ layer, microBatch }: Pick<ProgramNode, 'layer' | 'microBatch'>): LayerRouting {
    const routing = this.#routings.get(`${layer}/${microBatch}`);
    if (routing === undefined) throw new Error(`layer ${layer}, micro-batch ${microBatch}: counts are not known yet`);
    return routing;
  }

  delete({ layer, microBatch }: Pick<ProgramNode, 'layer' | 'microBatch'>): void {
    this.#routings.delete(`${layer}/${microBatch}`);
  }

  clear(): void {
    this.#routings.clear();
  }
}
