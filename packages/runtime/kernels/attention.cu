// Causal attention in any storage, without a buffer of sequence squared: for fp32 and for windows, where cuDNN has no
// engine. A warp walks the keys of one query, or the queries of one key; sums run in order. q, o: [batch, sequence,
// heads, width]; k, v: the same with kvHeads.
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

// logSum [batch, heads, sequence], fp32. A warp a query; window: tokens that a query sees, itself included.
extern "C" __global__ void attention_forward(const Element *q, const Element *k, const Element *v, Element *o,
                                             float *logSum, int queries, int sequence, int heads, int kvHeads,
                                             int width, int window, float scale) {
  const int index = blockIdx.x * warpsPerBlock + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (index >= queries) return;
  const int head = index % heads, row = index / heads;
  const int at = row % sequence, first = row - at, kvHead = head * kvHeads / heads;
  const Head query = loadHead(q + ((size_t)row * heads + head) * width, width, lane);
  Head out = {};
  float largest = -infinity, sum = 0;
  for (int key = max(0, at - window + 1); key <= at; key++) {
    const size_t place = ((size_t)(first + key) * kvHeads + kvHead) * width;
    const float score = scale * dot(query, loadHead(k + place, width, lane));
    const float larger = fmaxf(largest, score);
    const float shrink = expf(largest - larger), weight = expf(score - larger);
    rescale(out, shrink);
    addScaled(out, weight, loadHead(v + place, width, lane));
    sum = sum * shrink + weight;
    largest = larger;
  }
  rescale(out, 1 / sum);
  storeHead(o + ((size_t)row * heads + head) * width, out, width, lane);
  if (lane == 0) logSum[((size_t)(row / sequence) * heads + head) * sequence + at] = largest + logf(sum);
}

// dq, and dots [queries] = <o, do>, which the gradient of keys needs. A warp a query.
extern "C" __global__ void attention_query_gradient(const Element *q, const Element *k, const Element *v,
                                                    const Element *o, const Element *dO, const float *logSum,
                                                    Element *dq, float *dots, int queries, int sequence, int heads,
                                                    int kvHeads, int width, int window, float scale) {
  const int index = blockIdx.x * warpsPerBlock + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (index >= queries) return;
  const int head = index % heads, row = index / heads;
  const int at = row % sequence, first = row - at, kvHead = head * kvHeads / heads;
  const size_t own = ((size_t)row * heads + head) * width;
  const Head query = loadHead(q + own, width, lane), upstream = loadHead(dO + own, width, lane);
  const float inner = dot(upstream, loadHead(o + own, width, lane));
  const float shift = logSum[((size_t)(row / sequence) * heads + head) * sequence + at];
  Head gradient = {};
  for (int key = max(0, at - window + 1); key <= at; key++) {
    const size_t place = ((size_t)(first + key) * kvHeads + kvHead) * width;
    const Head keys = loadHead(k + place, width, lane);
    const float p = expf(scale * dot(query, keys) - shift);
    addScaled(gradient, scale * p * (dot(upstream, loadHead(v + place, width, lane)) - inner), keys);
  }
  storeHead(dq + own, gradient, width, lane);
  if (lane == 0) dots[index] = inner;
}

// dk and dv, summed over the query heads of the key's head and over queries, in order. A warp a key.
extern "C" __global__ void attention_key_gradient(const Element *q, const Element *k, const Element *v,
                                                  const Element *dO, const float *logSum, const float *dots,
                                                  Element *dk, Element *dv, int keys, int sequence, int heads,
                                                  int kvHeads, int width, int window, float scale) {
  const int index = blockIdx.x * warpsPerBlock + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (index >= keys) return;
  const int kvHead = index % kvHeads, row = index / kvHeads;
  const int at = row % sequence, first = row - at, group = heads / kvHeads;
  const size_t own = ((size_t)row * kvHeads + kvHead) * width;
  const Head key = loadHead(k + own, width, lane), value = loadHead(v + own, width, lane);
  Head keyGradient = {}, valueGradient = {};
  for (int head = kvHead * group; head < (kvHead + 1) * group; head++)
    for (int query = at; query < min(sequence, at + window); query++) {
      const size_t at = (size_t)(first + query) * heads + head;
      const Head queries = loadHead(q + at * width, width, lane), upstream = loadHead(dO + at * width, width, lane);
      const float shift = logSum[((size_t)(row / sequence) * heads + head) * sequence + query];
      const float p = expf(scale * dot(queries, key) - shift);
      addScaled(valueGradient, p, upstream);
      addScaled(keyGradient, scale * p * (dot(upstream, value) - dots[at]), queries);
    }
  storeHead(dk + own, keyGradient, width, lane);
  storeHead(dv + own, valueGradient, width, lane);
}
