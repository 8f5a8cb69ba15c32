// AdamW with fp32 master weights and moments, and the norm of gradients, in fp64.
#include "common.cuh"

struct AdamW {
  float scale, stepSize, beta1, beta2, correction, epsilon, keep;
};

__device__ __forceinline__ void step(const AdamW &by, float gradient, float &master, float &first, float &second) {
  const float g = gradient * by.scale;
  first = first * by.beta1 + g * (1 - by.beta1);
  second = second * by.beta2 + g * g * (1 - by.beta2);
  master = master * by.keep - by.stepSize * first / (sqrtf(second) / by.correction + by.epsilon);
}

template <class Value> __device__ __forceinline__ bool wholeFours(const Value *at) {
  return (size_t)at % sizeof(Four<Value>) == 0;
}

template <class Gradient>
__device__ __forceinline__ void adamW(float *master, const Gradient *gradient, float *first, float *second,
                                      Element *parameter, const float *gradientScale, long long count, float stepSize,
                                      float beta1, float beta2, float correction, float epsilon, float keep) {
  const float scale = gradientScale == NULLPTR ? 1.0f : *gradientScale;
  // A factor that is not finite says that the gradients are not: nothing moves.
  if (!(fabsf(scale) < infinity)) return;
  const AdamW by = {scale, stepSize, beta1, beta2, correction, epsilon, keep};
  const long long threads = gridThreads(), thread = gridThread();
  const bool aligned = wholeFours(master) && wholeFours(gradient) && wholeFours(first) && wholeFours(second) &&
                       (parameter == NULLPTR || wholeFours(parameter));
  const long long fours = aligned ? count / 4 : 0;
  for (long long i = thread; i < fours; i += threads) {
    const Four<Gradient> g = reinterpret_cast<const Four<Gradient> *>(gradient)[i];
    Four<float> w = reinterpret_cast<Four<float> *>(master)[i];
    Four<float> m = reinterpret_cast<Four<float> *>(first)[i], v = reinterpret_cast<Four<float> *>(second)[i];
    Four<Element> rounded;
#pragma unroll
    for (int k = 0; k < 4; k++) {
      step(by, toFloat(g.values[k]), w.values[k], m.values[k], v.values[k]);
      assign(rounded.values[k], w.values[k]);
    }
    reinterpret_cast<Four<float> *>(master)[i] = w;
    reinterpret_cast<Four<float> *>(first)[i] = m;
    reinterpret_cast<Four<float> *>(second)[i] = v;
    if (parameter != NULLPTR) reinterpret_cast<Four<Element> *>(parameter)[i] = rounded;
  }
  for (long long i = 4 * fours + thread; i < count; i += threads) {
    step(by, toFloat(gradient[i]), master[i], first[i], second[i]);
    if (parameter != NULLPTR) assign(parameter[i], master[i]);
  }
}

// stepSize = learningRate / (1 - beta1^step), correction = sqrt(1 - beta2^step), keep = 1 - learningRate * weightDecay.
// parameter: the copy in the compute type, or null. gradientScale: the clipping factor in device memory, or null.
extern "C" __global__ void adam_w(float *master, const Element *gradient, float *first, float *second,
                                  Element *parameter, const float *gradientScale, long long count, float stepSize,
                                  float beta1, float beta2, float correction, float epsilon, float keep) {
  adamW(master, gradient, first, second, parameter, gradientScale, count, stepSize, beta1, beta2, correction, epsilon,
        keep);
}

// The same with gradients accumulated in fp32.
extern "C" __global__ void adam_w_wide(float *master, const float *gradient, float *first, float *second,
                                       Element *parameter, const float *gradientScale, long long count, float stepSize,
                                       float beta1, float beta2, float correction, float epsilon, float keep) {
  adamW(master, gradient, first, second, parameter, gradientScale, count, stepSize, beta1, beta2, correction, epsilon,
        keep);
}

// partial[block]: sum of squares of the block's share. The grid decides the order, so keep it fixed.
extern "C" __global__ void sum_of_squares(const Element *values, double *partial, long long count) {
  double sum = 0;
  const long long threads = gridThreads(), thread = gridThread();
  const long long fours = wholeFours(values) ? count / 4 : 0;
  for (long long i = thread; i < fours; i += threads) {
    const Four<Element> four = reinterpret_cast<const Four<Element> *>(values)[i];
#pragma unroll
    for (int k = 0; k < 4; k++) {
      const double value = toFloat(four.values[k]);
      sum += value * value;
    }
  }
  for (long long i = 4 * fours + thread; i < count; i += threads) {
    const double value = toFloat(values[i]);
    sum += value * value;
  }
  sum = blockSum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block: *out (+)= the sum of partial.
extern "C" __global__ void sum_partials(const double *partial, double *out, int count, int add) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += partial[i];
  sum = blockSum(sum);
  if (threadIdx.x == 0) *out = (add ? *out : 0.0) + sum;
}

// *factor = min(1, maxNorm / (sqrt(*squares) + 1e-6)), NaN where the norm is not finite (PyTorch's clip_grad_norm_).
// One thread.
extern "C" __global__ void clipping_factor(const double *squares, float *factor, double maxNorm) {
  const double norm = sqrt(*squares);
  *factor = norm < infinity ? (float)fmin(1.0, maxNorm / (norm + 1e-6)) : __int_as_float(0x7fffffff);
}

// *out (+)= *sum * share, from fp64 to fp32. One thread.
extern "C" __global__ void store_share(const double *sum, float *out, float share, int add) {
  *out = (add ? *out : 0.0f) + (float)(*sum * share);
}

// clipping_factor of a square that is kept in fp32.
extern "C" __global__ void clipping_factor_narrow(const float *squares, float *factor, double maxNorm) {
  const double norm = sqrt((double)*squares);
  *factor = norm < infinity ? (float)fmin(1.0, maxNorm / (norm + 1e-6)) : __int_as_float(0x7fffffff);
}

// The bias of an expert, by which it is chosen, goes up by `rate` where it had fewer picks than the mean, and down
// where it had more; all stay where the squares of the gradients are not finite. One block of one layer's experts.
extern "C" __global__ void balance_bias(float *bias, const float *picks, const float *squares, int experts,
                                        double rate) {
  if (!(*squares < infinity)) return;
  double all = 0;
  for (int expert = threadIdx.x; expert < experts; expert += blockDim.x) all += picks[expert];
  all = blockSum(all);
  for (int expert = threadIdx.x; expert < experts; expert += blockDim.x) {
    // Against the mean in whole numbers, so that equal loads are equal.
    const double missing = all - (double)picks[expert] * experts;
    const double sign = missing > 0 ? 1.0 : missing < 0 ? -1.0 : 0.0;
    bias[expert] = (float)(bias[expert] + rate * sign);
  }
}

// to = from, rounded.
extern "C" __global__ void narrow(const float *from, Element *to, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) assign(to[i], from[i]);
}

// to += from.
extern "C" __global__ void add_into(const Element *from, Element *to, long long count) {
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride)
    assign(to[i], toFloat(to[i]) + toFloat(from[i]));
}
