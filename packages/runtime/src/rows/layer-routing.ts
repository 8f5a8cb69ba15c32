/**
 * What one rank knows of a layer's routing in one micro-batch, and the plans of row moves that follow from it: where
 * every pick's row lies in the canonical order and in the buffers of the dispatcher's halves. Kept from the forward to
 * the backward of the layer, which may use another number of chunks. Which order a buffer has, the dispatcher's halves
 * say (`RowOrder`); every device follows these plans.
 *
 * Canonical order of expert rows: [local expert][ep rank][etp index][rows in token order]; of a sender's rows:
 * [expert][slice][rows]. Chunk c of n takes floor(m*c/n)..floor(m*(c+1)/n) of every block of m rows.
 */
import {
  GroupRouting,
  rankPlace,
  sliceStart,
  type MoeShape,
  type ProgramNode,
  type RankPlace,
  type RowOrder,
  type Scope,
} from '@monta/core';
import {
  buildPermutation,
  chunkMoves,
  chunkSegments,
  chunkTotal,
  keptPicks,
  pickedIds,
  type Moves,
  type Permutation,
  type Segments,
} from '../moe/index.js';

interface RoutedTokens {
  /** Rows of the tokens in the sender's canonical order. */
  readonly permutation: Permutation;
  /** Rows of block expert * slices + slice. */
  readonly blocks: Int32Array;
  readonly slices: number;
}

/** What the kernels that sum returned rows ask for. */
export interface ReturnedRequest {
  /** Tokens that are summed. */
  readonly scope: Scope;
  /** Tokens whose rows the buffer holds, and their order. */
  readonly returnedScope: Scope;
  readonly order: RowOrder;
  readonly chunks: number;
}

/** Sizes that a layer's routing depends on, for one rank. */
export class RoutingShape {
  readonly shape: MoeShape;
  readonly place: RankPlace;
  readonly localExperts: number;
  /** Tokens [start, end) of this rank's slice. */
  readonly slice: { readonly start: number; readonly end: number };

  constructor(shape: MoeShape, rank: number) {
    const { layout, tokens, experts } = shape;
    this.shape = shape;
    this.place = rankPlace(layout, rank);
    this.localExperts = experts / layout.ep;
    const { tp } = this.place;
    this.slice = { start: sliceStart(tokens, tp, layout.tp), end: sliceStart(tokens, tp + 1, layout.tp) };
  }
}

export class LayerRouting {
  /** Rows of the expert group, for sizes and counts. */
  readonly group: GroupRouting;
  readonly #shape: RoutingShape;
  /** Routed ids [tokens, k] of all T tokens or of the slice; ~id where the pick was dropped. */
  readonly #ids: Int32Array;
  /** Rows of this rank's experts by block, local expert * sources + source. */
  readonly #arrived: Int32Array;
  readonly #tokens = new Map<Scope, RoutedTokens>();
  readonly #returned = new Map<string, Permutation>();

  /** `counts`: [source of the expert group][expert] rows. */
  constructor(shape: RoutingShape, counts: Int32Array, ids: Int32Array) {
    this.#shape = shape;
    this.#ids = ids;
    // Of the others only sums were exchanged.
    this.group = new GroupRouting(shape.shape, counts, (source) =>
      source === shape.place.source ? { ids: this.#picked('slice'), topK: shape.shape.topK } : undefined,
    );
    const { experts, layout } = shape.shape;
    const sources = layout.etp * layout.ep;
    this.#arrived = new Int32Array(shape.localExperts * sources);
    for (let expert = 0; expert < shape.localExperts; expert++)
      for (let source = 0; source < sources; source++)
        this.#arrived[expert * sources + source] =
          counts[source * experts + shape.place.ep * shape.localExperts + expert];
  }

  /**
   * Chunk `chunk` of `of` of the rows to send: from the canonical order of the tokens to packed rows counted from 0.
   */
  send(scope: Scope, order: RowOrder, chunk: number, of: number): { permutation: Permutation; moves: Moves } {
    const { permutation, blocks, slices } = this.#routed(scope);
    return { permutation, moves: chunkMoves(blocks, this.#senderOrder(order, slices), chunk, of) };
  }

  /**
   * Chunk `chunk` of `of` of the rows of this rank's experts: between the canonical order and the one in which they
   * travel.
   */
  arrived(order: RowOrder, chunk: number, of: number): Moves {
    return chunkMoves(this.#arrived, this.#ownerOrder(order), chunk, of);
  }

  /**
   * Rows [start, end) of this rank's etp section in a chunk of the order: the blocks of sources with its etp index,
   * which lie together.
   */
  section(order: RowOrder, chunk: number, of: number): { start: number; end: number } {
    const { etp } = this.#shape.shape.layout;
    const rows = (block: number): number => chunkTotal(this.#arrived.subarray(block, block + 1), chunk, of);
    const blocks = this.#ownerOrder(order);
    // Sources are numbered with etp fastest, and blocks with sources fastest.
    const first = blocks.findIndex((block) => block % etp === this.#shape.place.etp);
    let start = 0;
    for (const block of blocks.subarray(0, first)) start += rows(block);
    let end = start;
    for (const block of blocks.subarray(first)) {
      if (block % etp !== this.#shape.place.etp) break;
      end += rows(block);
    }
    return { start, end };
  }

  /** Runs of canonical rows of a chunk, by local expert. */
  segments(chunk: number, of: number): Segments {
    const { localExperts, shape } = this.#shape;
    return chunkSegments({
      counts: this.#arrived,
      localExperts,
      sources: shape.layout.etp * shape.layout.ep,
      chunk,
      of,
    });
  }

  /**
   * Where each pick of the summed tokens finds its row in the returned buffer: a permutation whose `pickRow` counts
   * rows of that buffer.
   */
  returned(request: ReturnedRequest): Permutation {
    const { scope, returnedScope, order, chunks } = request;
    const key = `${scope} ${returnedScope} ${order.name} ${chunks}`;
    let permutation = this.#returned.get(key);
    if (permutation === undefined) this.#returned.set(key, (permutation = this.#returnedRows(request)));
    return permutation;
  }

  #returnedRows({ scope, returnedScope, order, chunks }: ReturnedRequest): Permutation {
    const { shape, slice } = this.#shape;
    const { permutation, blocks, slices } = this.#routed(returnedScope);
    const blockOrder = this.#senderOrder(order, slices);
    const place = new Int32Array(permutation.rows);
    let base = 0;
    for (let chunk = 0; chunk < chunks; chunk++) {
      const moves = chunkMoves(blocks, blockOrder, chunk, chunks);
      for (let move = 0; move < moves.length; move += 3)
        for (let i = 0; i < moves[move + 2]; i++) place[moves[move] + i] = base + moves[move + 1] + i;
      base += chunkTotal(blocks, chunk, chunks);
    }
    const k = shape.topK;
    const picks =
      returnedScope === 'replica' && scope === 'slice' && shape.layout.tp > 1
        ? permutation.pickRow.subarray(slice.start * k, slice.end * k)
        : permutation.pickRow;
    return { ...permutation, pickRow: picks.map((row) => (row < 0 ? row : place[row])) };
  }

  #senderOrder(order: RowOrder, slices: number): Int32Array {
    const { layout, experts } = this.#shape.shape;
    return order.blocks({ layout, experts, slices });
  }

  #ownerOrder(order: RowOrder): Int32Array {
    const { layout } = this.#shape.shape;
    return order.blocks({ layout, experts: this.#shape.localExperts, slices: layout.etp * layout.ep });
  }

  #routed(scope: Scope): RoutedTokens {
    let routed = this.#tokens.get(scope);
    if (routed === undefined) this.#tokens.set(scope, (routed = this.#route(scope)));
    return routed;
  }

  /** Routed ids of all tokens of the replica or of this rank's slice, as `#ids`. */
  #picked(scope: Scope): Int32Array {
    const { slice, shape } = this.#shape;
    const { tokens: replica, topK: k } = shape;
    const wholeReplica = this.#ids.length === replica * k;
    if (scope === 'replica' && !wholeReplica)
      throw new Error('the routing of the whole replica is asked for, but this rank routed only its slice');
    const tokens = scope === 'replica' ? replica : slice.end - slice.start;
    const offset = scope === 'slice' && wholeReplica ? slice.start * k : 0;
    return this.#ids.subarray(offset, offset + tokens * k);
  }

  #route(scope: Scope): RoutedTokens {
    const { layout, topK: k, experts } = this.#shape.shape;
    const encoded = this.#picked(scope);
    const tokens = encoded.length / k;
    const permutation = buildPermutation({
      ids: pickedIds(encoded),
      kept: keptPicks(encoded),
      tokens,
      picks: k,
      experts,
    });
    if (scope === 'slice' || layout.tp === 1) return { permutation, blocks: permutation.counts, slices: 1 };
    const blocks = new Int32Array(experts * layout.tp);
    for (let i = 0; i < layout.tp; i++) {
      const from = sliceStart(tokens, i, layout.tp) * k;
      const end = sliceStart(tokens, i + 1, layout.tp) * k;
      for (let pick = from; pick < end; pick++) if (encoded[pick] >= 0) blocks[encoded[pick] * layout.tp + i]++;
    }
    return { permutation, blocks, slices: layout.tp };
  }
}

type OfLayer = Pick<ProgramNode, 'layer' | 'microBatch'>;

/** Routings by layer and micro-batch. */
export class RoutingBook {
  readonly #routings = new Map<string, LayerRouting>();

  set({ layer, microBatch }: OfLayer, routing: LayerRouting): void {
    this.#routings.set(`${layer}/${microBatch}`, routing);
  }

  get({ layer, microBatch }: OfLayer): LayerRouting {
    const routing = this.#routings.get(`${layer}/${microBatch}`);
    if (routing === undefined) throw new Error(`layer ${layer}, micro-batch ${microBatch}: counts are not known yet`);
    return routing;
  }

  clear(): void {
    this.#routings.clear();
  }
}
