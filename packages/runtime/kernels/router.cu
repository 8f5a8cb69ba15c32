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
extern "C" __global__ void router_choose(const float *scores, const float *bias, int *ids, float *weights, int tokens,
                                         int experts, int picks, int renormalise, int groups, int chosen, int judges,
                                         float scaling) {
  extern __shared__ float room[];
  const int token = blockIdx.x * warpsPerBlock + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (token >= tokens) return;
  float *values = room + (threadIdx.x / 32) * (experts + groups), *ofGroups = values + experts;
  const float *row = scores + (size_t)token * experts;
  int *own = ids + (size_t)token * picks;
  for (int expert = lane; expert < experts; expert += 32)
    values[expert] = row[expert] + (bias == NULLPTR ? 0.0f : bias[expert]);
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

// picks[expert] += its picks of all, dropped or not. A block an expert.
extern "C" __global__ void add_picks(const int *ids, float *picks, int count) {
  float sum = 0;
  for (int pick = threadIdx.x; pick < count; pick += blockDim.x) {
    const int id = ids[pick];
    sum += (id < 0 ? ~id : id) == (int)blockIdx.x;
  }
  sum = blockSum(sum);
  if (threadIdx.x == 0) picks[blockIdx.x] += sum;
}

// counts[expert]: kept picks. A block an expert.
extern "C" __global__ void count_picks(const int *ids, int *counts, int picks) {
  int count = 0;
  for (int pick = threadIdx.x; pick < picks; pick += blockDim.x) count += ids[pick] == (int)blockIdx.x;
  count = (int)blockSum((float)count);
  if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

// Capacity: of an expert's picks, all but the `capacity` of the largest gates are dropped, the earlier of equal ones
// staying. A block of dropThreads threads an expert; blocks see each other's marks, which name no expert.
constexpr int dropThreads = 256;

template <class Picks> __device__ void dropBeyond(Picks picks, int count, int capacity, int expert) {
  __shared__ int counts[256];
  __shared__ int found[2];
  __shared__ int parts[dropThreads / 32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  // The gate of the last that stays, digit by digit: the bits of gates, none of which is negative, order as they do.
  unsigned last = 0, known = 0;
  int wanted = capacity;
  for (int shift = 24; shift >= 0; shift -= 8) {
    counts[threadIdx.x] = 0;
    __syncthreads();
    for (int pick = threadIdx.x; pick < count; pick += dropThreads)
      if (picks.expert(pick) == expert) {
        const unsigned gate = __float_as_uint(picks.gate(pick, expert));
        if ((gate & known) == last) atomicAdd(&counts[gate >> shift & 255], 1);
      }
    __syncthreads();
    if (threadIdx.x == 0) {
      int digit = 255, above = 0;
      while (digit >= 0 && above + counts[digit] <= wanted) above += counts[digit--];
      found[0] = digit;
      found[1] = wanted - above;
    }
    __syncthreads();
    const int digit = found[0];
    wanted = found[1];
    // Only at the first digit: all of them fit.
    if (digit < 0) return;
    last |= (unsigned)digit << shift;
    known |= 255u << shift;
  }
  int before = 0;
  for (int first = 0; first < count; first += dropThreads) {
    const int pick = first + threadIdx.x;
    const bool own = pick < count && picks.expert(pick) == expert;
    const unsigned gate = own ? __float_as_uint(picks.gate(pick, expert)) : 0;
    const bool equal = own && gate == last;
    const unsigned votes = __ballot_sync(allLanes, equal);
    if (lane == 0) parts[warp] = __popc(votes);
    __syncthreads();
    int rank = before + __popc(votes & ((1u << lane) - 1));
    for (int other = 0; other < dropThreads / 32; other++) {
      if (other < warp) rank += parts[other];
      before += parts[other];
    }
    if (own && (gate < last || (equal && rank >= wanted))) picks.drop(pick);
    __syncthreads();
  }
}

// Picks and probabilities of all tokens.
struct RoutedPicks {
  const float *probabilities;
  int *ids;
  float *weights;
  int experts, picks;
  __device__ int expert(int pick) const { return ids[pick]; }
  __device__ float gate(int pick, int expert) const {
    return probabilities[(size_t)(pick / picks) * experts + expert];
  }
  __device__ void drop(int pick) const {
    ids[pick] = ~ids[pick];
    weights[pick] = 0;
  }
};

// Picks of all tokens as `note_picks` leaves them; those from `first` to `end` are this rank's, which alone it marks.
struct GatheredPicks {
  const float *noted;
  int *ids;
  float *weights;
  int picks, first, end;
  __device__ const float *at(int pick) const { return noted + (size_t)(pick / picks) * 2 * picks + pick % picks; }
  __device__ int expert(int pick) const { return (int)*at(pick); }
  __device__ float gate(int pick, int) const { return at(pick)[picks]; }
  __device__ void drop(int pick) const {
    if (pick < first || pick >= end) return;
    ids[pick - first] = ~ids[pick - first];
    weights[pick - first] = 0;
  }
};

// ids, weights: tokens x picks. A dropped pick becomes ~id and its weight 0.
extern "C" __global__ void drop_routed(const float *probabilities, int *ids, float *weights, int count, int experts,
                                       int picks, int capacity) {
  dropBeyond(RoutedPicks{probabilities, ids, weights, experts, picks}, count, capacity, blockIdx.x);
}

// The same of picks noted by several ranks: count in all, of which first to end are those of ids and weights.
extern "C" __global__ void drop_gathered(const float *noted, int *ids, float *weights, int count, int picks,
                                         int capacity, int first, int end) {
  dropBeyond(GatheredPicks{noted, ids, weights, picks, first, end}, count, capacity, blockIdx.x);
}

// noted, tokens x 2 x picks: the picks of a token as numbers, then their probabilities.
extern "C" __global__ void note_picks(const float *probabilities, const int *ids, float *noted, int count, int experts,
                                      int picks) {
  const int pick = blockIdx.x * blockDim.x + threadIdx.x;
  if (pick >= count) return;
  const int token = pick / picks, id = ids[pick];
  float *to = noted + (size_t)token * 2 * picks + pick % picks;
  to[0] = (float)id;
  to[picks] = probabilities[(size_t)token * experts + id];
}
