/**
 * What one rank knows of a layer's routing in one micro-batch, and the plans of row moves that follow from it: where
 * every pick's row lies in the canonical order and in the buffers of the dispatcher's halves. Kept from the forward to
 * the backward of the layer, which may use another number of chunks. Which order a buffer has, the dispatcher's halves
 * say (`RowOrder`); every device follows these plans.
 *
 * Canonical order of expert rows: [local expert][ep rank][etp index][rows in token order]; of a sender's rows:
 * [expert][slice][rows]. Chunk c of n takes floor(m*c/n)..floor(m*(c+1)/n) of every block of m rows.
 */
import { etpOfPlace } from '@monta/core/layout';
import { GroupRouting } from '@monta/core/routing';
import { rankPlace, sliceStart, sliceTokens, sourcesOf } from '@monta/core/schedule';
import type { MoeShape, ProgramNode, RankPlace, RowOrder, RowPairs, RowSide, Scope } from '@monta/core';
import { part } from '../device/view.js';
import { chunkMoves, chunkPlaces, chunkSegments, type CutBlocks, type Moves, type Segments } from '../moe/index.js';
import { PickOrder, ReturnedPicks, type RoutedIds } from './pick-order.js';
import { GroupPicks, PlannedMoves } from './planned-moves.js';

interface RoutedTokens {
  /** Rows of the tokens in the sender's canonical order. */
  readonly order: PickOrder;
  /** Block expert * slices + slice. */
  readonly blocks: CutBlocks;
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

  /** Of routed ids of all T tokens or of the own slice, those of the slice. */
  ownPicks(ids: RoutedIds): RoutedIds {
    const { tokens, topK, layout } = this.shape;
    if (ids.length !== tokens * topK || layout.tp === 1) return ids;
    const [first, end] = [this.slice.start * topK, this.slice.end * topK];
    const view = ids.view && { view: part(ids.view, first, end - first) };
    return { length: end - first, read: () => ids.read().subarray(first, end), ...view };
  }

  /**
   * First pick of a source where those of all tokens of the expert group lie source after source; of one behind the
   * last: their number.
   */
  firstPick(source: number): number {
    let tokens = 0;
    for (let before = 0; before < source; before++) tokens += sliceTokens(before, this.place, this.shape.tokens);
    return tokens * this.shape.topK;
  }
}

export class LayerRouting {
  /** Rows of the expert group, for sizes and counts. */
  readonly group: GroupRouting;
  readonly #shape: RoutingShape;
  /** Routed ids [tokens, k] of all T tokens or of the slice; ~id where the pick was dropped. */
  readonly #ids: RoutedIds;
  /** Rows of this rank's experts by block, local expert * sources + source. */
  readonly #arrived: CutBlocks;
  readonly #tokens = new Map<Scope, RoutedTokens>();
  readonly #returned = new Map<string, ReturnedPicks>();
  /** What was planned for pairs of row layouts, of which a pass asks several times; see `forgetMoves`. */
  #moves: { readonly pairs: RowPairs; readonly chunk: number; readonly of: number; readonly moves: PlannedMoves }[] =
    [];

  /** Where the picks of all tokens of the group are known. */
  readonly #picks: GroupPicks | undefined;

  private constructor(shape: RoutingShape, group: GroupRouting, ids: RoutedIds, picks?: GroupPicks) {
    this.#shape = shape;
    this.#picks = picks;
    this.#ids = ids;
    this.group = group;
    const { layout } = shape.shape;
    const sources = layout.etp * layout.ep;
    const expertOf = (block: number): number => shape.place.ep * shape.localExperts + Math.floor(block / sources);
    const counts = Int32Array.from({ length: shape.localExperts * sources }, (_, block) =>
      group.blockRows(block % sources, expertOf(block)),
    );
    this.#arrived = {
      counts,
      begin: (block, chunk, of) => group.blockBegin(block % sources, expertOf(block), chunk, of),
    };
  }

  /** Only sums were exchanged: `counts`, [source of the expert group][expert] rows. */
  static ofCounts(shape: RoutingShape, counts: Int32Array, ids: RoutedIds): LayerRouting {
    const { place } = shape;
    const { topK } = shape.shape;
    const group = new GroupRouting(shape.shape, counts, (source) =>
      source === place.source ? { ids: shape.ownPicks(ids).read(), topK } : undefined,
    );
    return new LayerRouting(shape, group, ids);
  }

  /** Picks of all tokens of the expert group were exchanged, [token][k], source after source. */
  static ofPicks(shape: RoutingShape, picks: Int32Array, ids: RoutedIds): LayerRouting {
    const { topK } = shape.shape;
    const bySource = sourcesOf(shape.place).map((source) => ({
      ids: picks.subarray(shape.firstPick(source), shape.firstPick(source + 1)),
      topK,
    }));
    const group = GroupRouting.fromPicks(shape.shape, bySource, { cut: 'tokens' });
    return new LayerRouting(shape, group, ids, new GroupPicks(picks, topK));
  }

  /** Chunk `chunk` of `of` of rows that move between two row layouts. */
  moves(pairs: RowPairs, chunk: number, of: number): PlannedMoves {
    const known = this.#moves.find((one) => one.chunk === chunk && one.of === of && samePairs(one.pairs, pairs));
    if (known !== undefined) return known.moves;
    const { place } = this.#shape;
    const firstPick = this.#picks !== undefined ? { firstPick: (source: number) => this.#shape.firstPick(source) } : {};
    const request = { pairs, part: { chunk, of }, at: place, routing: this.group, ...firstPick };
    const moves = new PlannedMoves(request, this.#picks);
    this.#moves.push({ pairs, chunk, of, moves });
    return moves;
  }

  /** Gives the room of planned moves back: twelve bytes a row, which the layer's next pass plans anew. */
  forgetMoves(): void {
    this.#moves = [];
  }

  /**
   * Chunk `chunk` of `of` of the rows to send: from the canonical order of the tokens to packed rows counted from 0.
   */
  send(scope: Scope, order: RowOrder, chunk: number, of: number): { permutation: PickOrder; moves: Moves } {
    const { order: permutation, blocks, slices } = this.#routed(scope);
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
    const { layout } = this.#shape.shape;
    const { begin } = this.#arrived;
    const rows = (block: number): number => begin(block, chunk + 1, of) - begin(block, chunk, of);
    const blocks = this.#ownerOrder(order);
    // Blocks are numbered with places of the group fastest, and these with etp.
    const own = (block: number): boolean => etpOfPlace(layout, block) === this.#shape.place.etp;
    const first = blocks.findIndex(own);
    let start = 0;
    for (const block of blocks.subarray(0, first)) start += rows(block);
    let end = start;
    for (const block of blocks.subarray(first)) {
      if (!own(block)) break;
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

  /** Where each pick of the summed tokens finds its row in the returned buffer. */
  returned(request: ReturnedRequest): ReturnedPicks {
    const { scope, returnedScope, order, chunks } = request;
    const key = `${scope} ${returnedScope} ${order.name} ${chunks}`;
    let returned = this.#returned.get(key);
    if (returned === undefined) this.#returned.set(key, (returned = this.#returnedPicks(request)));
    return returned;
  }

  /** Nothing that was launched needs what devices keep of the layer. */
  over(): void {
    for (const { order } of this.#tokens.values()) order.over();
    for (const returned of this.#returned.values()) returned.over();
    this.#picks?.over();
  }

  #returnedPicks({ scope, returnedScope, order, chunks }: ReturnedRequest): ReturnedPicks {
    const { shape, slice } = this.#shape;
    const { order: picks, blocks, slices } = this.#routed(returnedScope);
    const blockOrder = this.#senderOrder(order, slices);
    const k = shape.topK;
    const range =
      returnedScope === 'replica' && scope === 'slice' && shape.layout.tp > 1
        ? { first: slice.start * k, length: (slice.end - slice.start) * k }
        : { first: 0, length: picks.ids.length };
    return new ReturnedPicks(picks, range, chunkPlaces(blocks, blockOrder, chunks));
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
  #picked(scope: Scope): RoutedIds {
    const { shape } = this.#shape;
    if (scope === 'slice') return this.#shape.ownPicks(this.#ids);
    if (this.#ids.length !== shape.tokens * shape.topK)
      throw new Error('the routing of the whole replica is asked for, but this rank routed only its slice');
    return this.#ids;
  }

  #route(scope: Scope): RoutedTokens {
    const { layout, topK: picks, experts } = this.#shape.shape;
    const ids = this.#picked(scope);
    const order = new PickOrder(ids, { tokens: ids.length / picks, picks, experts });
    const { place } = this.#shape;
    const slices = scope === 'slice' ? 1 : layout.tp;
    const first = scope === 'slice' ? place.source : place.source - place.tp;
    const sourceOf = (block: number): number => first + (block % slices);
    const expertOf = (block: number): number => Math.floor(block / slices);
    const counts = Int32Array.from({ length: experts * slices }, (_, block) =>
      this.group.blockRows(sourceOf(block), expertOf(block)),
    );
    const begin: CutBlocks['begin'] = (block, chunk, of) =>
      this.group.blockBegin(sourceOf(block), expertOf(block), chunk, of);
    return { order, blocks: { counts, begin }, slices };
  }
}

const sameSide = (a: RowSide, b: RowSide): boolean => a.layout === b.layout && a.whole === b.whole;

const samePairs = (a: RowPairs, b: RowPairs): boolean =>
  sameSide(a.fine, b.fine) && sameSide(a.coarse, b.coarse) && a.partial === b.partial;

type OfLayer = Pick<ProgramNode, 'layer' | 'microBatch'>;

/** Layers that are under way at a time: a forward beside a backward. */
const underWay = 2;

/** Routings by layer and micro-batch. */
export class RoutingBook {
  readonly #routings = new Map<string, LayerRouting>();
  /** Those that were asked for last, which keep what they planned. */
  #recent: LayerRouting[] = [];
  /** Of layers that were routed once more, whose first pass may be under way. */
  readonly #replaced: LayerRouting[] = [];

  set({ layer, microBatch }: OfLayer, routing: LayerRouting): void {
    const key = `${layer}/${microBatch}`;
    const before = this.#routings.get(key);
    if (before !== undefined) this.#replaced.push(before);
    this.#routings.set(key, routing);
  }

  get({ layer, microBatch }: OfLayer): LayerRouting {
    const routing = this.#routings.get(`${layer}/${microBatch}`);
    if (routing === undefined) throw new Error(`layer ${layer}, micro-batch ${microBatch}: counts are not known yet`);
    if (this.#recent[0] !== routing) {
      this.#recent = [routing, ...this.#recent.filter((other) => other !== routing)];
      for (const other of this.#recent.splice(underWay)) other.forgetMoves();
    }
    return routing;
  }

  /** Nothing that was launched is under way. */
  clear(): void {
    for (const routing of [...this.#routings.values(), ...this.#replaced.splice(0)]) routing.over();
    this.#routings.clear();
    this.#recent = [];
  }
}
