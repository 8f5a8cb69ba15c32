// Token embedding of which this rank holds the vocabulary rows [first, first + count).
#include "common.cuh"

// out [tokens, hidden]: the weight's row, zeros for tokens that are held elsewhere. A block a token.
extern "C" __global__ void embedding_forward(const int *ids, const Element *weight, Element *out, int first, int count,
                                             int hidden) {
  const size_t token = blockIdx.x;
  const int row = ids[token] - first;
  const bool held = row >= 0 && row < count;
  for (int column = threadIdx.x * lanes; column < hidden; column += blockDim.x * lanes) {
    Vector value = {};
    if (held) value = loadVector(weight + (size_t)row * hidden + column);
    storeVector(out + token * hidden + column, value);
  }
}

// dweight (fp32) += dout of the tokens held here, in token order. A block a token: the block of an id's first token
// adds all of that id's, so no two blocks write one row. Every block reads all ids: quadratic in tokens, and small
// beside a step (8,192 tokens: 268 MB from L2).
extern "C" __global__ void embedding_backward(const int *ids, const Element *dout, float *dweight, int first, int count,
                                              int padding, int tokens, int hidden) {
  const int token = blockIdx.x;
  const int id = ids[token];
  const int row = id - first;
  if (row < 0 || row >= count || id == padding) return;
  __shared__ int found[256];
  __shared__ int many;
  int earlier = 0;
  for (int other = threadIdx.x; other < token; other += blockDim.x) earlier |= ids[other] == id;
  if (__syncthreads_or(earlier)) return;
  for (int from = token; from < tokens; from += blockDim.x) {
    // The tokens of this stretch that carry the id, in order: warp by warp, by ballot.
    const int other = from + threadIdx.x;
    const bool same = other < tokens && ids[other] == id;
    const unsigned votes = __ballot_sync(allLanes, same);
    if (threadIdx.x == 0) many = 0;
    __syncthreads();
    for (int warp = 0; warp < (int)(blockDim.x / 32); warp++) {
      const int at = many;
      __syncthreads();
      if ((int)threadIdx.x / 32 == warp) {
        const int lane = threadIdx.x % 32;
        if (same) found[at + __popc(votes & ((1u << lane) - 1))] = other;
        if (lane == 0) many = at + __popc(votes);
      }
      __syncthreads();
    }
    const int matches = many;
    for (int column = threadIdx.x; column < hidden; column += blockDim.x) {
      if (matches == 0) break;
      float sum = dweight[(size_t)row * hidden + column];
      for (int match = 0; match < matches; match++) sum += toFloat(dout[(size_t)found[match] * hidden + column]);
      dweight[(size_t)row * hidden + column] = sum;
    }
    __syncthreads();
  }
}
