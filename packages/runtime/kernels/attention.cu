// Causal attention in any storage, without a buffer of sequence squared: for fp32 and for windows, where cuDNN has no
// engine. A warp walks the keys of one query, or the queries of one key; sums run in order. q, o: [batch, sequence,
// heads, width]; k, v: the same with kvHeads; values and outputs are valueWidth wide.
#include "common.cuh"

constexpr int warpsPerBlock = 4;
// Elements of a head that a lane holds: heads up to 256 wide.
constexpr int held = 8;

struct Head {
  float values[held];
};

__device__ __forceinline__ Head loadHead(const Element *from, int width, int lane) {
  Head head;
#pragma unroll
  for (int i = 0; i < held; i++) head.values[i] = i * 32 + lane < width ? toFloat(from[i * 32 + lane]) : 0.0f;
  return head;
}

__device__ __forceinline__ void storeHead(Element *to, const Head &head, int width, int lane) {
#pragma unroll
  for (int i = 0; i < held; i++)
    if (i * 32 + lane < width) assign(to[i * 32 + lane], head.values[i]);
}

__device__ __forceinline__ float dot(const Head &a, const Head &b) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < held; i++) sum += a.values[i] * b.values[i];
  return warpSum(sum);
}

__device__ __forceinline__ void addScaled(Head &to, float scale, const Head &from) {
#pragma unroll
  for (int i = 0; i < held; i++) to.values[i] += scale * from.values[i];
}

__device__ __forceinline__ void rescale(Head &head, float scale) {
#pragma unroll
  for (int i = 0; i < held; i++) head.values[i] *= scale;
}

// logSum [batch, heads, sequence], fp32. A warp a query; window: tokens that a query sees, itself included. sinks
// [heads] or null: a logit that takes part in every softmax and has no value.
extern "C" __global__ void attention_forward(const Element *q, const Element *k, const Element *v, const Element *sinks,
                                             Element *o, float *logSum, int queries, int sequence, int heads,
                                             int kvHeads, int width, int valueWidth, int window, float scale) {
  const int index = blockIdx.x * warpsPerBlock + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (index >= queries) return;
  const int head = index % heads, row = index / heads;
  const int at = row % sequence, first = row - at, kvHead = head * kvHeads / heads;
  const Head query = loadHead(q + ((size_t)row * heads + head) * width, width, lane);
  Head out = {};
  float largest = sinks == NULLPTR ? -infinity : toFloat(sinks[head]), sum = sinks == NULLPTR ? 0.0f : 1.0f;
  for (int key = max(0, at - window + 1); key <= at; key++) {
    const size_t place = (size_t)(first + key) * kvHeads + kvHead;
    const float score = scale * dot(query, loadHead(k + place * width, width, lane));
    const float larger = fmaxf(largest, score);
    const float shrink = expf(largest - larger), weight = expf(score - larger);
    rescale(out, shrink);
    addScaled(out, weight, loadHead(v + place * valueWidth, valueWidth, lane));
    sum = sum * shrink + weight;
    largest = larger;
  }
  rescale(out, 1 / sum);
  storeHead(o + ((size_t)row * heads + head) * valueWidth, out, valueWidth, lane);
  if (lane == 0) logSum[((size_t)(row / sequence) * heads + head) * sequence + at] = largest + logf(sum);
}

// dq, and dots [queries] = <o, do>, which the gradient of keys needs. A warp a query.
extern "C" __global__ void attention_query_gradient(const Element *q, const Element *k, const Element *v,
                                                    const Element *o, const Element *dO, const float *logSum,
                                                    Element *dq, float *dots, int queries, int sequence, int heads,
                                                    int kvHeads, int width, int valueWidth, int window, float scale) {
  const int index = blockIdx.x * warpsPerBlock + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (index >= queries) return;
  const int head = index % heads, row = index / heads;
  const int at = row % sequence, first = row - at, kvHead = head * kvHeads / heads;
  const size_t own = (size_t)row * heads + head;
  const Head query = loadHead(q + own * width, width, lane);
  const Head upstream = loadHead(dO + own * valueWidth, valueWidth, lane);
  const float inner = dot(upstream, loadHead(o + own * valueWidth, valueWidth, lane));
  const float shift = logSum[((size_t)(row / sequence) * heads + head) * sequence + at];
  Head gradient = {};
  for (int key = max(0, at - window + 1); key <= at; key++) {
    const size_t place = (size_t)(first + key) * kvHeads + kvHead;
    const Head keys = loadHead(k + place * width, width, lane);
    const float p = expf(scale * dot(query, keys) - shift);
    const float pull = dot(upstream, loadHead(v + place * valueWidth, valueWidth, lane));
    addScaled(gradient, scale * p * (pull - inner), keys);
  }
  storeHead(dq + own * width, gradient, width, lane);
  if (lane == 0) dots[index] = inner;
}

// dk and dv, summed over the query heads of the key's head and over queries, in order. A warp a key.
extern "C" __global__ void attention_key_gradient(const Element *q, const Element *k, const Element *v,
                                                  const Element *dO, const float *logSum, const float *dots,
                                                  Element *dk, Element *dv, int keys, int sequence, int heads,
                                                  int kvHeads, int width, int valueWidth, int window, float scale) {
  const int index = blockIdx.x * warpsPerBlock + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (index >= keys) return;
  const int kvHead = index % kvHeads, row = index / kvHeads;
  const int at = row % sequence, first = row - at, group = heads / kvHeads;
  const size_t own = (size_t)row * kvHeads + kvHead;
  const Head key = loadHead(k + own * width, width, lane), value = loadHead(v + own * valueWidth, valueWidth, lane);
  Head keyGradient = {}, valueGradient = {};
  for (int head = kvHead * group; head < (kvHead + 1) * group; head++)
    for (int query = at; query < min(sequence, at + window); query++) {
      const size_t at = (size_t)(first + query) * heads + head;
      const Head queries = loadHead(q + at * width, width, lane);
      const Head upstream = loadHead(dO + at * valueWidth, valueWidth, lane);
      const float shift = logSum[((size_t)(row / sequence) * heads + head) * sequence + query];
      const float p = expf(scale * dot(queries, key) - shift);
      addScaled(valueGradient, p, upstream);
      addScaled(keyGradient, scale * p * (dot(upstream, value) - dots[at]), queries);
    }
  storeHead(dk + own * width, keyGradient, width, lane);
  storeHead(dv + own * valueWidth, valueGradient, valueWidth, lane);
}

// dsinks[head] -= the sum over queries of the sink's probability times dots, as attention_query_gradient leaves them. A
// block a head.
extern "C" __global__ void sinks_gradient(const Element *sinks, const float *logSum, const float *dots, float *dsinks,
                                          int tokens, int sequence, int heads) {
  const int head = blockIdx.x;
  const float sink = toFloat(sinks[head]);
  float sum = 0;
  for (int row = threadIdx.x; row < tokens; row += blockDim.x)
    sum += expf(sink - logSum[((size_t)(row / sequence) * heads + head) * sequence + row % sequence]) *
           dots[(size_t)row * heads + head];
  sum = blockSum(sum);
  if (threadIdx.x == 0) dsinks[head] -= sum;
}
