/** Token embedding of which this rank holds the vocabulary rows [first, first + count). */

export interface VocabularyShare {
  readonly first: number;
  readonly count: number;
}

/**
 * out [tokens, hidden]: the weight's row of each token held here, zeros for other tokens; the sum over ranks
 * (all_reduce) is the embedding.
 */
export function embeddingForward({
  share,
  hidden,
  ids,
  weight,
  out,
}: {
  readonly share: VocabularyShare;
  readonly hidden: number;
  readonly ids: Int32Array;
  readonly weight: Float32Array;
  readonly out: Float32Array;
}): void {
  for (let token = 0; token < ids.length; token++) {
    const row = ids[token] - share.first;
    if (row >= 0 && row < share.count) out.set(weight.subarray(row * hidden, (row + 1) * hidden), token * hidden);
    else out.fill(0, token * hidden, (token + 1) * hidden);
  }
}

/**
 * dweight += dout of the tokens held here. `paddingId`: that token's row gets no gradient, as PyTorch's embedding with
 * `padding_idx` (Hugging Face passes the config's `pad_token_id`).
 */
export function embeddingBackward({
  share,
  hidden,
  ids,
  dout,
  dweight,
  paddingId,
}: {
  readonly share: VocabularyShare;
  readonly hidden: number;
  readonly ids: Int32Array;
  readonly dout: Float32Array;
  readonly dweight: Float32Array;
  readonly paddingId?: number;
}): void {
  for (let token = 0; token < ids.length; token++) {
    const id = ids[token];
    const row = id - share.first;
    if (row < 0 || row >= share.count || id === paddingId) continue;
    for (let i = 0; i < hidden; i++) dweight[row * hidden + i] = dweight[row * hidden + i] + dout[token * hidden + i];
  }
}
