/**
 * Moves between row layouts as a launch is given them: blocks of rows, from which the host lists every row when it is
 * asked to, and a card that has the group's picks lists them for itself.
 */
import { chunkStart } from '@monta/core/routing';
import { OfLayer } from './pick-order.js';
import { pairBlocks, pairedRows, rowMoves, type MoveRequest, type PairedBlocks, type RowMoves } from './row-moves.js';

/** Picks of all tokens of an expert group, [token][k], source after source. */
export class GroupPicks extends OfLayer {
  readonly ids: Int32Array;
  readonly picks: number;

  /** picks: of a token. */
  constructor(ids: Int32Array, picks: number) {
    super();
    this.ids = ids;
    this.picks = picks;
  }
}

/** Tokens of a source's chunk. */
export interface ChunkTokens {
  /** The first pick of the first, among those of the group. */
  readonly firstPick: number;
  readonly tokens: number;
}

export class PlannedMoves implements RowMoves {
  /** Absent where only the host knows all picks that are needed. */
  readonly group: GroupPicks | undefined;
  readonly #request: MoveRequest;
  #blocks: readonly PairedBlocks[] | undefined;
  #moves: RowMoves | undefined;

  constructor(request: MoveRequest, group: GroupPicks | undefined) {
    this.#request = request;
    this.group = group;
  }

  get blocks(): readonly PairedBlocks[] {
    this.#blocks ??= pairBlocks(this.#request);
    return this.#blocks;
  }

  /** Pairs of rows. */
  get count(): number {
    return pairedRows(this.blocks);
  }

  get fine(): Int32Array {
    return this.#listed.fine;
  }

  get coarse(): Int32Array {
    return this.#listed.coarse;
  }

  get picks(): Int32Array {
    return this.#listed.picks;
  }

  /** Of a group whose picks are known. */
  chunkOf(source: number): ChunkTokens {
    const { part, routing, firstPick } = this.#request;
    const picks = routing.picks(source);
    if (picks === undefined || firstPick === undefined) throw new Error(`the picks of source ${source} are not known`);
    const { ids, topK } = picks;
    const [start, end] = [part.chunk, part.chunk + 1].map((chunk) => chunkStart(ids.length / topK, chunk, part.of));
    return { firstPick: firstPick(source) + start * topK, tokens: end - start };
  }

  get #listed(): RowMoves {
    this.#moves ??= rowMoves(this.#request, this.blocks);
    return this.#moves;
  }
}
