/** Operations of halves whose rows are copies of tokens (`row-layout.ts`). */
import { expertSize } from '../moe-shape.js';
import type { Group } from '../../layout/layout.js';
import { add, own, read, write } from '../template-builder.js';
import { memoryWork } from '../work.js';
import { summedRegion, type ChunkContext, type OutgoingContext, type ReturningContext } from './dispatcher.js';
import { buffer, exchange, packBytes, plainBytes, spread, travelBytes } from './emit.js';
import {
  canonicalRows,
  joined,
  layoutExchange,
  layoutSize,
  ownTokens,
  replicaTokens,
  type RowLayout,
  type RowPairs,
} from './row-layout.js';

/** A buffer of a layout's rows. */
export interface CopyBuffer {
  readonly layout: RowLayout;
  readonly region: string;
}

/** Declares a communication buffer that holds the rows of a layout. */
export const copyBuffer = (c: ChunkContext, id: string, layout: RowLayout): CopyBuffer => ({
  layout,
  region: buffer(c, id, layoutSize(layout, c.shape)),
});

const part = (layout: RowLayout) => ({ layout, whole: false });
const canonical = { layout: canonicalRows, whole: true };

/** Rows of the finer side are read and written once: so many bytes of each. */
const gathered = ({ shape, chunk, of }: ChunkContext, layout: RowLayout, bytes: number) =>
  memoryWork('gather', bytes, {
    rows: layout === canonicalRows ? expertSize(shape) : layoutSize(layout, shape),
    chunk,
    of,
  });

interface CopyStep {
  readonly task: string;
  readonly pairs: RowPairs;
  readonly coarse: string;
  /** What of the coarse region is meant where it is not the chunk: all of it, or the rows of the own slice. */
  readonly of?: 'all' | 'own';
  readonly fine: string;
  /** Other fine rows stay as they are. */
  readonly accumulate?: true;
  /** Bytes of a row that are read and written. */
  readonly bytes: number;
  /** Rows are rounded as they would be on their way, which they do not take. */
  readonly rounded?: boolean;
}

function copy(c: ChunkContext, step: CopyStep): void {
  const { task, pairs, coarse, of: rows, fine, accumulate, bytes, rounded = false } = step;
  const { chunk, of } = c;
  const whole = rows === 'own' ? own(read(coarse)) : read(coarse);
  c.builder.kernel({
    id: { task, chunk, of },
    kernel: 'rows.copy',
    operands: {
      coarse: rows === undefined ? read(coarse, chunk, of) : whole,
      fine: accumulate === true ? add(fine, chunk, of) : write(fine, chunk, of),
    },
    arguments: { pairs, accumulate: accumulate === true, ...(rounded ? { rounded } : {}) },
    work: gathered(c, pairs.fine.layout, bytes),
    lane: 'copy',
  });
}

/** All T tokens are in the source region of an outgoing half. */
export const holdsReplica = ({ activation, shape }: ChunkContext): boolean =>
  activation === 'replicated' && shape.layout.tp > 1;

/** Copies of the own slice's tokens into a send buffer. */
export const packCopies = (c: OutgoingContext, to: CopyBuffer): void =>
  copy(c, {
    task: 'pack',
    pairs: { fine: part(to.layout), coarse: { layout: ownTokens, whole: true } },
    coarse: c.source,
    of: 'own',
    fine: to.region,
    bytes: packBytes(c),
  });

/** Rows of a buffer copied into another whose blocks ask for fewer experts, or for the same in another order. */
export const fanOut = (c: ChunkContext, task: string, from: CopyBuffer, to: CopyBuffer): void =>
  copy(c, {
    task,
    pairs: { fine: part(to.layout), coarse: part(from.layout) },
    coarse: from.region,
    fine: to.region,
    bytes: 2 * travelBytes(c),
  });

/**
 * Arrived copies expanded into the canonical rows, those of sources that are not in the buffer left out when `partial`.
 */
export const expandCopies = (c: OutgoingContext, from: CopyBuffer, partial?: true): void =>
  copy(c, {
    task: 'place',
    pairs: { fine: canonical, coarse: part(from.layout), ...(partial === true ? { partial } : {}) },
    coarse: from.region,
    fine: c.into,
    bytes: packBytes(c),
  });

/** Canonical rows of the own replica's tokens, which every rank of it holds: beside those that have arrived. */
export const expandReplica = (c: OutgoingContext): void =>
  copy(c, {
    task: 'place.own',
    pairs: { fine: canonical, coarse: { layout: replicaTokens, whole: true }, partial: true },
    coarse: c.source,
    of: 'all',
    fine: c.into,
    accumulate: true,
    bytes: 2 * plainBytes(c),
    rounded: c.payload === 'fp8',
  });

interface SumStep {
  readonly task: string;
  readonly pairs: RowPairs;
  readonly fine: string;
  readonly coarse: string;
  readonly weighted?: boolean;
}

function sum(c: ChunkContext, { task, pairs, fine, coarse, weighted = false }: SumStep): void {
  const { chunk, of } = c;
  c.builder.kernel({
    id: { task, chunk, of },
    kernel: 'rows.sum',
    operands: {
      fine: read(fine, chunk, of),
      weights: weighted ? read('route.weights.group') : undefined,
      coarse: write(coarse, chunk, of),
    },
    arguments: { pairs },
    work: gathered(c, pairs.fine.layout, 2 * plainBytes(c)),
    lane: 'copy',
  });
}

/** Expert rows as they are, into a buffer with the same blocks in another order. */
export const packExperts = (c: ReturningContext, to: CopyBuffer): void =>
  copy(c, {
    task: 'unplace',
    pairs: { fine: part(to.layout), coarse: canonical },
    coarse: c.source,
    fine: to.region,
    bytes: 2 * plainBytes(c),
  });

/** Expert rows summed over a token's picks, weighted in the forward pass. */
export const sumExperts = (c: ReturningContext, to: CopyBuffer): void =>
  sum(c, {
    task: 'sum.experts',
    pairs: { fine: canonical, coarse: part(to.layout) },
    fine: c.source,
    coarse: to.region,
    weighted: c.saved,
  });

/** Partial sums of a buffer added up into another whose blocks serve more experts. */
export const addUp = (c: ChunkContext, task: string, from: CopyBuffer, to: CopyBuffer): void =>
  sum(c, {
    task,
    pairs: { fine: part(from.layout), coarse: part(to.layout) },
    fine: from.region,
    coarse: to.region,
  });

/** The tokens of the own slice: what a returning half has to fill. */
export const summedTokens = (c: ReturningContext): CopyBuffer => ({
  layout: ownTokens,
  region: c.builder.region(summedRegion(c.shape)),
});

interface Hop {
  readonly task: string;
  readonly group: Group;
  readonly from: CopyBuffer;
  readonly to: CopyBuffer;
}

/** An all_to_all between two layouts, on the intra lane inside a node. */
export const hop = (c: ChunkContext, { task, group, from, to }: Hop): void =>
  exchange(c, {
    task,
    group,
    lane: group === 'node' ? 'intra' : 'inter',
    counts: layoutExchange(from.layout, to.layout),
    from: from.region,
    to: to.region,
  });

/** An all_gather of what each member has into what all have. */
export const gatherCopies = (c: ChunkContext, { task, group, from, to }: Hop): void =>
  spread(c, {
    name: 'all_gather',
    group,
    counts: layoutExchange(joined(from.layout), to.layout),
    from: from.region,
    to: to.region,
    task,
  });

/** A reduce_scatter, the adjoint of a gather. */
export const scatterSums = (c: ChunkContext, { task, group, from, to }: Hop): void =>
  spread(c, {
    name: 'reduce_scatter',
    group,
    counts: layoutExchange(from.layout, joined(to.layout)),
    from: from.region,
    to: to.region,
    task,
  });
