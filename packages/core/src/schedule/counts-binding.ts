/**
 * A binding from count matrices: C[s][e] rows that token slice s of an expert group sends to expert e. All sizes of a layer's templates
 * follow from it; simulator and executor bind the same class, one with expected or recorded counts, the other with exchanged ones.
 */
import type { Layout } from '../layout/layout.js';
import { sliceStart } from './moe-shape.js';
import type { Binding, RowSymbol, SymbolFamily } from './schedule.js';

/** Rows of chunk `chunk` of `of` of a block of `rows`: floor(m*(c+1)/n) - floor(m*c/n). */
export const chunkRows = (rows: number, chunk: number, of: number): number =>
  of === 1 ? rows : Math.floor((rows * (chunk + 1)) / of) - Math.floor((rows * chunk) / of);

const sum = (list: Int32Array): number => list.reduce((a, b) => a + b, 0);

export interface CountsShape {
  readonly layout: Layout;
  readonly experts: number;
  /** Tokens T of one micro-batch of one replica. */
  readonly tokens: number;
}

/** [source][expert] rows of the expert group of `rank` at `node`, row-major, etp*ep sources. */
export type CountsOf = (rank: number, node: number) => Int32Array;

export class CountsBinding implements Binding {
  readonly #shape: CountsShape;
  readonly #countsOf: CountsOf;
  readonly #localExperts: number;

  constructor(shape: CountsShape, countsOf: CountsOf) {
    this.#shape = shape;
    this.#countsOf = countsOf;
    this.#localExperts = shape.experts / shape.layout.ep;
  }

  counts(
    family: SymbolFamily,
    rank: number,
    node: number,
    chunk: number,
    of: number,
  ): { send: Int32Array; receive: Int32Array } {
    const { layout } = this.#shape;
    const { etp, ep, tp } = layout;
    const counts = this.#countsOf(rank, node);
    const etpIndex = rank % etp;
    const epIndex = Math.floor(rank / etp) % ep;
    const toExperts = (source: number, owner: number) => this.#block(counts, source, owner, chunk, of);
    const allSlices = (replica: number, owner: number) => {
      let rows = 0;
      for (let j = 0; j < etp; j++) rows += toExperts(replica * etp + j, owner);
      return rows;
    };
    switch (family) {
      case 'dispatch.sliced':
      case 'combine.sliced': {
        const out = Int32Array.from({ length: ep }, (_, owner) => toExperts(epIndex * etp + etpIndex, owner));
        const back = Int32Array.from({ length: ep }, (_, source) => toExperts(source * etp + etpIndex, epIndex));
        return family === 'dispatch.sliced' ? { send: out, receive: back } : { send: back, receive: out };
      }
      case 'dispatch.duplicated':
      case 'combine.duplicated': {
        const out = Int32Array.from({ length: ep }, (_, owner) => allSlices(epIndex, owner));
        const back = Int32Array.from({ length: ep }, (_, source) => allSlices(source, epIndex));
        return family === 'dispatch.duplicated' ? { send: out, receive: back } : { send: back, receive: out };
      }
      case 'gather':
      case 'scatter': {
        const shares = Int32Array.from({ length: etp }, (_, j) => {
          let rows = 0;
          for (let source = 0; source < ep; source++) rows += toExperts(source * etp + j, epIndex);
          return rows;
        });
        const own = shares.slice(etpIndex, etpIndex + 1);
        return family === 'gather' ? { send: own, receive: shares } : { send: shares, receive: own };
      }
      case 'expand': {
        const first = this.#firstPeer(rank);
        const shares = Int32Array.from({ length: tp }, (_, i) => this.#allExperts(counts, first + i, chunk, of));
        return { send: shares.slice(rank % tp, (rank % tp) + 1), receive: shares };
      }
    }
  }

  rows(symbol: RowSymbol, rank: number, node: number, chunk: number, of: number): number {
    const { layout, tokens } = this.#shape;
    if (symbol === 'slice') {
      const index = rank % layout.tp;
      return chunkRows(sliceStart(tokens, index + 1, layout.tp) - sliceStart(tokens, index, layout.tp), chunk, of);
    }
    switch (symbol) {
      case 'sent':
        return this.#allExperts(this.#countsOf(rank, node), this.#source(rank), chunk, of);
      case 'received':
        return sum(this.counts('dispatch.sliced', rank, node, chunk, of).receive);
      case 'expert':
        return sum(this.counts('gather', rank, node, chunk, of).receive);
      case 'replica':
        return sum(this.counts('expand', rank, node, chunk, of).receive);
    }
  }

  #source(rank: number): number {
    return rank % (this.#shape.layout.etp * this.#shape.layout.ep);
  }

  /** Source index of the first TP peer; TP peers are in one expert group wherever their counts are asked for (see `returningSliced`). */
  #firstPeer(rank: number): number {
    return this.#source(rank - (rank % this.#shape.layout.tp));
  }

  #block(counts: Int32Array, source: number, owner: number, chunk: number, of: number): number {
    const { experts } = this.#shape;
    const start = source * experts + owner * this.#localExperts;
    let rows = 0;
    for (let e = 0; e < this.#localExperts; e++) rows += chunkRows(counts[start + e] ?? 0, chunk, of);
    return rows;
  }

  #allExperts(counts: Int32Array, source: number, chunk: number, of: number): number {
    let rows = 0;
    for (let owner = 0; owner < this.#shape.layout.ep; owner++) rows += this.#block(counts, source, owner, chunk, of);
    return rows;
  }
}
