// Biases, factors of rows, and sums over rows of matrices [rows, width]; sums run in a fixed order.
#include "common.cuh"

template <class Value>
__device__ __forceinline__ void addBias(Value *y, const Element *bias, long long count, int width) {
  for (long long i = gridThread(); i < count; i += gridThreads())
    assign(y[i], toFloat(y[i]) + toFloat(bias[i % width]));
}

// y[row] += bias.
extern "C" __global__ void add_bias(Element *y, const Element *bias, long long count, int width) {
  addBias(y, bias, count, width);
}

// The same for rows in fp32.
extern "C" __global__ void add_bias_wide(float *y, const Element *bias, long long count, int width) {
  addBias(y, bias, count, width);
}

// y[row] *= factors[row].
extern "C" __global__ void scale_rows(Element *y, const float *factors, long long count, int width) {
  for (long long i = gridThread(); i < count; i += gridThreads())
    assign(y[i], toFloat(y[i]) * factors[i / width]);
}

// y[row] += factors[row] * x.
extern "C" __global__ void add_outer(Element *y, const float *factors, const Element *x, long long count, int width) {
  for (long long i = gridThread(); i < count; i += gridThreads())
    assign(y[i], toFloat(y[i]) + factors[i / width] * toFloat(x[i % width]));
}

// partial [blocks, width]: each block's share of the sum of factors[row] * x[row] (factors null: all 1), which
// column_sum adds up. A column belongs to one thread.
extern "C" __global__ void column_partial(const Element *x, const float *factors, float *partial, int rows, int width,
                                          int rowsPerBlock) {
  const int end = min(rows, (int)(blockIdx.x + 1) * rowsPerBlock);
  for (int column = threadIdx.x; column < width; column += blockDim.x) {
    float sum = 0;
    for (int row = blockIdx.x * rowsPerBlock; row < end; row++)
      sum += (factors == NULLPTR ? 1.0f : factors[row]) * toFloat(x[(size_t)row * width + column]);
    partial[(size_t)blockIdx.x * width + column] = sum;
  }
}

// scale[row] = sigmoid(x[row] . weight). A block a row.
extern "C" __global__ void token_gate(const Element *x, const Element *weight, float *scale, int width) {
  const size_t row = (size_t)blockIdx.x * width;
  float sum = 0;
  for (int column = threadIdx.x; column < width; column += blockDim.x)
    sum += toFloat(x[row + column]) * toFloat(weight[column]);
  sum = blockSum(sum);
  if (threadIdx.x == 0) scale[blockIdx.x] = 1 / (1 + expf(-sum));
}

// dsum[row] = (a[row] . b[row]) * s * (1 - s): the gradient of the gate's product. A block a row.
extern "C" __global__ void token_gate_gradient(const Element *a, const Element *b, const float *scale, float *dsum,
                                               int width) {
  const size_t row = (size_t)blockIdx.x * width;
  float sum = 0;
  for (int column = threadIdx.x; column < width; column += blockDim.x)
    sum += toFloat(a[row + column]) * toFloat(b[row + column]);
  sum = blockSum(sum);
  const float s = scale[blockIdx.x];
  if (threadIdx.x == 0) dsum[blockIdx.x] = sum * s * (1 - s);
}

// to[row, i] = the sum over heads of from[row, head, first + i], heads of `stride` elements.
extern "C" __global__ void sum_heads(const Element *from, Element *to, long long count, int heads, int stride,
                                     int first, int width) {
  const long long i = gridThread();
  if (i >= count) return;
  const Element *at = from + i / width * heads * stride + first + i % width;
  float sum = 0;
  for (int head = 0; head < heads; head++) sum += toFloat(at[(size_t)head * stride]);
  assign(to[i], sum);
}

// x limited to [-limit, limit], in place.
extern "C" __global__ void clamp_values(Element *x, long long count, float limit) {
  for (long long i = gridThread(); i < count; i += gridThreads())
    assign(x[i], fmaxf(-limit, fminf(limit, toFloat(x[i]))));
}

// gradient = 0 where values lie beyond the limit; at it, too, where `inclusive` says so.
extern "C" __global__ void mask_clamped(Element *gradient, const Element *values, long long count, float limit,
                                        int inclusive) {
  for (long long i = gridThread(); i < count; i += gridThreads()) {
    const float size = fabsf(toFloat(values[i]));
    if (size > limit || (inclusive && size == limit)) assign(gradient[i], 0.0f);
  }
}
