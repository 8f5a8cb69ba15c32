/** Which attention heads a TP rank computes, also when there are more ranks than key/value heads. */

export interface HeadShare {
  readonly firstHead: number;
  readonly heads: number;
  readonly firstKvHead: number;
  readonly kvHeads: number;
  /** TP ranks that hold the same key/value heads; consecutive ranks. Gradients of those heads are summed over them. */
  readonly kvReplicas: number;
}

/**
 * Query heads are split evenly; a rank holds the key/value heads that its query heads read. Throws RangeError when tp
 * does not divide the query heads, or neither divides the key/value heads nor is divided by them.
 */
export function headShare(heads: number, kvHeads: number, tp: number, tpIndex: number): HeadShare {
  if (heads % kvHeads !== 0)
    throw new RangeError(`${heads} query heads are not a multiple of ${kvHeads} key/value heads`);
  if (heads % tp !== 0) throw new RangeError(`tp ${tp} does not divide the ${heads} query heads`);
  if (kvHeads % tp !== 0 && tp % kvHeads !== 0)
    throw new RangeError(`tp ${tp} and the ${kvHeads} key/value heads: one must divide the other`);
  const local = heads / tp;
  const kvReplicas = Math.max(1, tp / kvHeads);
  const localKv = Math.max(1, kvHeads / tp);
  return {
    firstHead: local * tpIndex,
    heads: local,
    firstKvHead: kvReplicas > 1 ? Math.floor(tpIndex / kvReplicas) : localKv * tpIndex,
    kvHeads: localKv,
    kvReplicas,
  };
}
