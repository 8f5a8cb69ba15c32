// Cross entropy over a share of the vocabulary, columns [first, first + count); between the kernels the caller reduces
// over ranks: max -> all_reduce max -> sums -> all_reduce sum -> loss, gradient. A target of -100 takes no part. A
// block a row.
#include "common.cuh"

constexpr int ignored = -100;

extern "C" __global__ void cross_entropy_max(const Element *logits, float *largest, int count) {
  const Element *row = logits + (size_t)blockIdx.x * count;
  float value = -infinity;
  for (int column = threadIdx.x; column < count; column += blockDim.x) value = fmaxf(value, toFloat(row[column]));
  value = blockMax(value);
  if (threadIdx.x == 0) largest[blockIdx.x] = value;
}

// sums [2, rows]: the sum of exp(logit - largest), then the target's logit - largest where it is held here, else 0.
extern "C" __global__ void cross_entropy_sums(const Element *logits, const int *targets, const float *largest,
                                              float *sums, int rows, int first, int count) {
  const Element *row = logits + (size_t)blockIdx.x * count;
  const float shift = largest[blockIdx.x];
  float sum = 0;
  for (int column = threadIdx.x; column < count; column += blockDim.x) sum += expf(toFloat(row[column]) - shift);
  sum = blockSum(sum);
  if (threadIdx.x != 0) return;
  const int column = targets[blockIdx.x] - first;
  sums[blockIdx.x] = sum;
  sums[rows + blockIdx.x] = column >= 0 && column < count ? toFloat(row[column]) - shift : 0.0f;
}

// One block of 1024 threads: *total (+)= the sum of the losses, in fp64.
extern "C" __global__ void cross_entropy_loss(const int *targets, const float *sums, double *total, int rows, int add) {
  double sum = 0;
  for (int row = threadIdx.x; row < rows; row += blockDim.x)
    if (targets[row] != ignored) sum += log((double)sums[row]) - sums[rows + row];
  sum = blockSum(sum);
  if (threadIdx.x == 0) *total = (add ? *total : 0.0) + sum;
}

// dlogits = scale * (softmax - onehot(target)), 0 in rows that don't count; may be logits itself.
extern "C" __global__ void cross_entropy_gradient(const Element *logits, const int *targets, const float *largest,
                                                  const float *sums, Element *dlogits, int first, int count,
                                                  float scale) {
  const size_t from = (size_t)blockIdx.x * count;
  const int target = targets[blockIdx.x];
  const float shift = largest[blockIdx.x];
  const float factor = target == ignored ? 0.0f : scale / sums[blockIdx.x];
  for (int column = threadIdx.x; column < count; column += blockDim.x) {
    float value = target == ignored ? 0.0f : expf(toFloat(logits[from + column]) - shift) * factor;
    if (target != ignored && column == target - first) value -= scale;
    assign(dlogits[from + column], value);
  }
}

// Adds to the slots of the loss region: cross entropy and targets that count, both over tpSize, and the auxiliary loss
// of `statistics` [2, experts] (picks, then sums of probabilities) times auxiliaryShare; pooledTokens 0: none. One
// block of 1024 threads.
extern "C" __global__ void head_loss(const int *targets, const float *sums, const float *statistics,
                                     float *crossEntropy, float *counted, float *auxiliary, int rows, int experts,
                                     float tpSize, float pooledTokens, float auxiliaryShare) {
  double loss = 0, count = 0, balance = 0;
  for (int row = threadIdx.x; row < rows; row += blockDim.x)
    if (targets[row] != ignored) {
      loss += log((double)sums[row]) - sums[rows + row];
      count += 1;
    }
  if (pooledTokens > 0)
    for (int expert = threadIdx.x; expert < experts; expert += blockDim.x)
      balance += (double)(statistics[expert] / pooledTokens) * (statistics[experts + expert] / pooledTokens);
  loss = blockSum(loss);
  count = blockSum(count);
  balance = blockSum(balance);
  if (threadIdx.x != 0) return;
  *crossEntropy += (float)(loss / tpSize);
  *counted += (float)(count / tpSize);
  *auxiliary += (float)(experts * balance * auxiliaryShare);
}
