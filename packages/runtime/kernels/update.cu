// AdamW with fp32 master weights and moments, and the norm of gradients, in fp64.
#include "common.cuh"

template <class Gradient>
__device__ __forceinline__ void adamW(float *master, const Gradient *gradient, float *first, float *second,
                                      Element *parameter, const float *gradientScale, long long count, float stepSize,
                                      float beta1, float beta2, float correction, float epsilon, float keep) {
  const float scale = gradientScale == NULLPTR ? 1.0f : *gradientScale;
  // A factor that is not finite says that the gradients are not: nothing moves.
  if (!(fabsf(scale) < infinity)) return;
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
    const float g = toFloat(gradient[i]) * scale;
    const float m = first[i] * beta1 + g * (1 - beta1);
    const float v = second[i] * beta2 + g * g * (1 - beta2);
    first[i] = m;
    second[i] = v;
    const float value = master[i] * keep - stepSize * m / (sqrtf(v) / correction + epsilon);
    master[i] = value;
    if (parameter != NULLPTR) assign(parameter[i], value);
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
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
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
