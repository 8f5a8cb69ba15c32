// The router after its linear layer, in fp32 whatever Element is: softmax over the experts, the largest picks, and the
// way back. A warp a token.
#include "common.cuh"

constexpr int warpsPerBlock = 4;

// Softmax of a row in registers (lane l holds experts l, l + 32, ...), then picks times the largest. Ties go to the
// lowest expert.
template <int held>
__device__ void select(const float *logits, float *probabilities, int *ids, float *weights, int experts, int picks,
                       int renormalise, int lane) {
  float value[held];
  float largest = -infinity;
#pragma unroll
  for (int i = 0; i < held; i++) {
    const int expert = i * 32 + lane;
    value[i] = expert < experts ? logits[expert] : -infinity;
    largest = fmaxf(largest, value[i]);
  }
  largest = warpMax(largest);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < held; i++) {
    value[i] = i * 32 + lane < experts ? expf(value[i] - largest) : 0.0f;
    sum += value[i];
  }
  sum = warpSum(sum);
#pragma unroll
  for (int i = 0; i < held; i++) {
    const int expert = i * 32 + lane;
    value[i] = value[i] / sum;
    if (expert < experts) probabilities[expert] = value[i];
    else value[i] = -1;
  }
  float picked = 0;
  for (int pick = 0; pick < picks; pick++) {
    float best = -1;
    int expert = 0;
#pragma unroll
    for (int i = 0; i < held; i++)
      if (value[i] > best) {
        best = value[i];
        expert = i * 32 + lane;
      }
    for (int offset = 16; offset > 0; offset /= 2) {
      const float otherBest = __shfl_xor_sync(allLanes, best, offset);
      const int otherExpert = __shfl_xor_sync(allLanes, expert, offset);
      if (otherBest > best || (otherBest == best && otherExpert < expert)) {
        best = otherBest;
        expert = otherExpert;
      }
    }
#pragma unroll
    for (int i = 0; i < held; i++)
      if (expert == i * 32 + lane) value[i] = -1;
    picked += best;
    if (lane == 0) {
      ids[pick] = expert;
      weights[pick] = best;
    }
  }
  if (!renormalise) return;
  __syncwarp();
  for (int pick = lane; pick < picks; pick += 32) weights[pick] = weights[pick] / picked;
}

// logits, probabilities: tokens x experts (may be one array); ids, weights: tokens x picks, largest probability first.
// experts <= 1024.
extern "C" __global__ void router_select(const float *logits, float *probabilities, int *ids, float *weights,
                                         int tokens, int experts, int picks, int renormalise) {
  const int token = blockIdx.x * warpsPerBlock + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (token >= tokens) return;
  const size_t row = (size_t)token * experts, first = (size_t)token * picks;
#define SELECT(held) \
  select<held>(logits + row, probabilities + row, ids + first, weights + first, experts, picks, renormalise, lane)
  if (experts <= 32) SELECT(1);
  else if (experts <= 64) SELECT(2);
  else if (experts <= 128) SELECT(4);
  else if (experts <= 256) SELECT(8);
  else if (experts <= 512) SELECT(16);
  else SELECT(32);
}

// probabilities = sigmoid(logits); may be one array.
extern "C" __global__ void router_sigmoid(const float *logits, float *probabilities, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) probabilities[i] = 1 / (1 + expf(-logits[i]));
}

// The place of the largest of values[0..count), the lowest of equals, in every lane.
__device__ __forceinline__ int warpLargest(const float *values, int count, int lane) {
  float best = -infinity;
  int place = count;
  for (int i = lane; i < count; i += 32)
    if (place == count || values[i] > best) {
      best = values[i];
      place = i;
    }
  for (int offset = 16; offset > 0; offset /= 2) {
    const float otherBest = __shfl_xor_sync(allLanes, best, offset);
    const int other = __shfl_xor_sync(allLanes, place, offset);
    if (other < count && (place == count || otherBest > best || (otherBest == best && other < place))) {
      best = otherBest;
      place = other;
    }
  }
  return place;
}

// Picks by scores plus bias (null: none), among the experts of the `chosen` best of `groups` groups (0: of all), which
// are judged by the sum of their `judges` best. Weights are the scores themselves, renormalised or not, times scaling.
// At most 64 groups. A warp a token; dynamic shared memory: experts + groups floats a warp.
extern "C" __global__ void router_choose(const float *scores, const Element *bias, int *ids, float *weights, int tokens,
                                         int experts, int picks, int renormalise, int groups, int chosen, int judges,
                                         float scaling) {
  extern __shared__ float room[];
  const int token = blockIdx.x * warpsPerBlock + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (token >= tokens) return;
  float *values = room + (threadIdx.x / 32) * (experts + groups), *ofGroups = values + experts;
  const float *row = scores + (size_t)token * experts;
  int *own = ids + (size_t)token * picks;
  for (int expert = lane; expert < experts; expert += 32)
    values[expert] = row[expert] + (bias == NULLPTR ? 0.0f : toFloat(bias[expert]));
  __syncwarp();
  if (groups > 0) {
    const int size = experts / groups;
    for (int group = lane; group < groups; group += 32) {
      const float *members = values + group * size;
      float first = -infinity, second = -infinity;
      for (int i = 0; i < size; i++) {
        second = fmaxf(second, fminf(first, members[i]));
        first = fmaxf(first, members[i]);
      }
      ofGroups[group] = judges == 1 || size == 1 ? first : first + second;
    }
    __syncwarp();
    unsigned long long kept = 0;
    for (int pick = 0; pick < chosen; pick++) {
      const int group = warpLargest(ofGroups, groups, lane);
      __syncwarp();
      if (lane == 0) ofGroups[group] = -infinity;
      kept |= 1ull << group;
      __syncwarp();
    }
    for (int expert = lane; expert < experts; expert += 32)
      if (!(kept >> (expert / size) & 1)) values[expert] = -infinity;
    __syncwarp();
  }
  float sum = renormalise ? 1e-20f : 0.0f;
  for (int pick = 0; pick < picks; pick++) {
    const int expert = warpLargest(values, experts, lane);
    __syncwarp();
    if (lane == 0) {
      values[expert] = -infinity;
      own[pick] = expert;
    }
    sum += row[expert];
    __syncwarp();
  }
  for (int pick = lane; pick < picks; pick += 32)
    weights[(size_t)token * picks + pick] = row[own[pick]] / (renormalise ? sum : 1.0f) * scaling;
}

// dlogits from the gradient of the picks' weights and the auxiliary loss's gradient of each expert's probability (or
// null). Dropped picks carry ~id and a dweight of 0. Written in fp32 and, where `rounded` is given, as Element for the
// products that follow. scaling: factor on the weights; sigmoid: how probabilities came from logits, else softmax.
extern "C" __global__ void router_backward(const float *probabilities, const int *ids, const float *dweights,
                                           const float *auxiliary, float *dlogits, Element *rounded, int tokens,
                                           int experts, int picks, int renormalise, float scaling, int sigmoid) {
  const int token = blockIdx.x * warpsPerBlock + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (token >= tokens) return;
  const size_t row = (size_t)token * experts, first = (size_t)token * picks;
  float sum = 1, dot = 0;
  if (renormalise) {
    sum = 0;
    for (int pick = 0; pick < picks; pick++) {
      const int id = ids[first + pick];
      const float probability = probabilities[row + (id < 0 ? ~id : id)];
      sum += probability;
      dot += probability * dweights[first + pick];
    }
    dot /= sum;
  }
  float mean = 0;
  for (int expert = lane; expert < experts; expert += 32) {
    float gradient = auxiliary == NULLPTR ? 0.0f : auxiliary[expert];
    for (int pick = 0; pick < picks; pick++) {
      const int id = ids[first + pick];
      if ((id < 0 ? ~id : id) == expert) gradient += scaling * (dweights[first + pick] - dot) / sum;
    }
    dlogits[row + expert] = gradient;
    mean += probabilities[row + expert] * gradient;
  }
  mean = warpSum(mean);
  for (int expert = lane; expert < experts; expert += 32) {
    const float p = probabilities[row + expert], upstream = dlogits[row + expert];
    const float gradient = sigmoid ? p * (1 - p) * upstream : p * (upstream - mean);
    dlogits[row + expert] = gradient;
    if (rounded != NULLPTR) assign(rounded[row + expert], gradient);
  }
}

// statistics [2, experts] += picks of each expert, then the sum of its probabilities, over tokens. A block of 256
// threads an expert.
extern "C" __global__ void router_statistics(const float *probabilities, const int *ids, float *statistics, int tokens,
                                             int experts, int picks) {
  const int expert = blockIdx.x;
  float count = 0, sum = 0;
  for (int token = threadIdx.x; token < tokens; token += blockDim.x) {
    for (int pick = 0; pick < picks; pick++) {
      const int id = ids[(size_t)token * picks + pick];
      count += (id < 0 ? ~id : id) == expert;
    }
    sum += probabilities[(size_t)token * experts + expert];
  }
  count = blockSum(count);
  sum = blockSum(sum);
  if (threadIdx.x != 0) return;
  statistics[expert] += count;
  statistics[experts + expert] += sum;
}

// The auxiliary loss's gradient of every probability of an expert: coefficient * experts * picks / tokens^2, 0 without
// tokens. One block.
extern "C" __global__ void auxiliary_gradient(const float *counts, float *gradient, int experts, float pooledTokens,
                                              float coefficient) {
  for (int expert = threadIdx.x; expert < experts; expert += blockDim.x)
    gradient[expert] =
        pooledTokens > 0 ? coefficient * experts * counts[expert] / pooledTokens / pooledTokens : 0.0f;
}

// counts[expert]: kept picks. A block an expert.
extern "C" __global__ void count_picks(const int *ids, int *counts, int picks) {
  int count = 0;
  for (int pick = threadIdx.x; pick < picks; pick += blockDim.x) count += ids[pick] == (int)blockIdx.x;
  count = (int)blockSum((float)count);
  if (threadIdx.x == 0) counts[blockIdx.x] = count;
}
