// RMSNorm: y = weight * x / sqrt(mean(x^2) + epsilon), rows of `width`.
#include "common.cuh"

// inverseRms [rows] is saved for the backward. A block a row.
extern "C" __global__ void rms_norm_forward(const Element *x, const Element *weight, Element *y, float *inverseRms,
                                            int width, float epsilon) {
  const size_t row = (size_t)blockIdx.x * width;
  float squares = 0;
  for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes) {
    const Vector value = loadVector(x + row + column);
    for (int i = 0; i < lanes; i++) squares += toFloat(value.values[i]) * toFloat(value.values[i]);
  }
  const float inverse = 1 / sqrtf(blockSum(squares) / width + epsilon);
  if (threadIdx.x == 0) inverseRms[blockIdx.x] = inverse;
  for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes) {
    const Vector value = loadVector(x + row + column), scale = loadVector(weight + column);
    Vector out;
    for (int i = 0; i < lanes; i++)
      assign(out.values[i], toFloat(value.values[i]) * inverse * toFloat(scale.values[i]));
    storeVector(y + row + column, out);
  }
}

// dx (overwritten, or added to with addDx) and partial [blocks, width], each block's share of dweight, which column_sum
// adds up in order. A block walks rowsPerBlock rows; a column belongs to one thread. Dynamic shared memory: width
// floats.
extern "C" __global__ void rms_norm_backward(const Element *x, const Element *weight, const float *inverseRms,
                                             const Element *dy, Element *dx, float *partial, int rows, int width,
                                             int rowsPerBlock, int addDx) {
  extern __shared__ float share[];
  for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes)
    for (int i = 0; i < lanes; i++) share[column + i] = 0;
  const int end = min(rows, (int)(blockIdx.x + 1) * rowsPerBlock);
  for (int index = blockIdx.x * rowsPerBlock; index < end; index++) {
    const size_t row = (size_t)index * width;
    const float inverse = inverseRms[index];
    float dot = 0;
    for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes) {
      const Vector value = loadVector(x + row + column), scale = loadVector(weight + column);
      const Vector upstream = loadVector(dy + row + column);
      for (int i = 0; i < lanes; i++)
        dot += toFloat(upstream.values[i]) * toFloat(scale.values[i]) * toFloat(value.values[i]);
    }
    const float pull = blockSum(dot) * inverse * inverse * inverse / width;
    for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes) {
      const Vector value = loadVector(x + row + column), scale = loadVector(weight + column);
      const Vector upstream = loadVector(dy + row + column);
      Vector out;
      if (addDx) out = loadVector(dx + row + column);
      for (int i = 0; i < lanes; i++) {
        const float v = toFloat(value.values[i]), u = toFloat(upstream.values[i]);
        share[column + i] += u * v * inverse;
        const float gradient = inverse * toFloat(scale.values[i]) * u - v * pull;
        assign(out.values[i], addDx ? toFloat(out.values[i]) + gradient : gradient);
      }
      storeVector(dx + row + column, out);
    }
  }
  for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes)
    for (int i = 0; i < lanes; i++) partial[(size_t)blockIdx.x * width + column + i] = share[column + i];
}

// out[column] (+)= sum over rows of partial [rows, width], top to bottom. A thread a column.
extern "C" __global__ void column_sum(const float *partial, float *out, int rows, int width, int add) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= width) return;
  float sum = add ? out[column] : 0.0f;
#pragma unroll 8
  for (int row = 0; row < rows; row++) sum += partial[(size_t)row * width + column];
  out[column] = sum;
}

// A norm over rows of which this rank holds `width` columns; what the halves leave per row is summed over the ranks
// between them. A block a row. share: 1 / columns of the whole row, or less where columns are held by several ranks
// (see transformer/split-norm.ts).

// squares[row] = sum of x^2.
extern "C" __global__ void split_norm_squares(const Element *x, float *squares, int width) {
  const size_t row = (size_t)blockIdx.x * width;
  float sum = 0;
  for (int column = threadIdx.x; column < width; column += blockDim.x) {
    const float value = toFloat(x[row + column]);
    sum += value * value;
  }
  sum = blockSum(sum);
  if (threadIdx.x == 0) squares[blockIdx.x] = sum;
}

extern "C" __global__ void split_norm_apply(const Element *x, const Element *weight, const float *squares, Element *y,
                                            int width, float share, float epsilon) {
  const size_t row = (size_t)blockIdx.x * width;
  const float inverse = 1 / sqrtf(squares[blockIdx.x] * share + epsilon);
  for (int column = threadIdx.x; column < width; column += blockDim.x)
    assign(y[row + column], toFloat(x[row + column]) * inverse * toFloat(weight[column]));
}

// dots[row] = sum of dy * weight * x.
extern "C" __global__ void split_norm_dot(const Element *x, const Element *weight, const Element *dy, float *dots,
                                          int width) {
  const size_t row = (size_t)blockIdx.x * width;
  float sum = 0;
  for (int column = threadIdx.x; column < width; column += blockDim.x)
    sum += toFloat(dy[row + column]) * toFloat(weight[column]) * toFloat(x[row + column]);
  sum = blockSum(sum);
  if (threadIdx.x == 0) dots[blockIdx.x] = sum;
}

// dx may be dy. partial [blocks, width] as in rms_norm_backward: a block walks rowsPerBlock rows, a column belongs to
// one thread.
extern "C" __global__ void split_norm_backward(const Element *x, const Element *weight, const float *squares,
                                               const float *dots, const Element *dy, Element *dx, float *partial,
                                               int rows, int width, int rowsPerBlock, float share, float epsilon) {
  const int end = min(rows, (int)(blockIdx.x + 1) * rowsPerBlock);
  for (int column = threadIdx.x; column < width; column += blockDim.x) {
    float sum = 0;
    for (int row = blockIdx.x * rowsPerBlock; row < end; row++) {
      const float inverse = 1 / sqrtf(squares[row] * share + epsilon);
      const float pull = dots[row] * share * inverse * inverse * inverse;
      const size_t at = (size_t)row * width + column;
      const float value = toFloat(x[at]), upstream = toFloat(dy[at]);
      sum += upstream * value * inverse;
      assign(dx[at], inverse * toFloat(weight[column]) * upstream - value * pull);
    }
    partial[(size_t)blockIdx.x * width + column] = sum;
  }
}
