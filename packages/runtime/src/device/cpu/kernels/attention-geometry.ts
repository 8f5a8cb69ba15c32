/** Which heads and columns of attention a rank has, and how queries, keys and values lie in a region. */
import type { HeadArguments } from '@monta/core';
import { headShare, type HeadShare } from '../../../transformer/index.js';

export interface Planes {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
}

export type Projection = 'query' | 'key' | 'value';
export const projections = ['query', 'key', 'value'] as const;
export const normed = ['query', 'key'] as const;

/** Heads and columns of this rank. */
export interface Geometry {
  readonly tokens: number;
  readonly headDim: number;
  readonly heads: HeadArguments;
  readonly share: HeadShare;
  columns(projection: Projection): number;
  /** Planes of a region; raw queries and keys have no values. */
  planes(region: Float32Array): Planes;
}

export function geometry(tokens: number, heads: HeadArguments, tp: { index: number; size: number }): Geometry {
  const { headDim } = heads;
  const share = headShare(heads.attentionHeads, heads.keyValueHeads, tp.size, tp.index);
  const [queryColumns, keyColumns] = [share.heads * headDim, share.kvHeads * headDim];
  return {
    tokens,
    headDim,
    heads,
    share,
    columns: (projection) => (projection === 'query' ? queryColumns : keyColumns),
    planes: (region) => {
      const key = tokens * queryColumns;
      const value = key + tokens * keyColumns;
      return { query: region.subarray(0, key), key: region.subarray(key, value), value: region.subarray(value) };
    },
  };
}

/** What of a parameter belongs to this rank's heads; replicated key/value weights hold them all. */
export function ownHeads(
  all: Float32Array,
  g: Geometry,
  projection: Projection,
  elementsPerHead: number,
): Float32Array {
  const { kvReplicas, firstKvHead, kvHeads } = g.share;
  if (projection === 'query' || kvReplicas === 1) return all;
  return all.subarray(firstKvHead * elementsPerHead, (firstKvHead + kvHeads) * elementsPerHead);
}
