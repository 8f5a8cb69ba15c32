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
    for (int i = 0; i < lanes; i++) assign(out.values[i], toFloat(value.values[i]) * inverse * toFloat(scale.values[i]));
    storeVector(y + row + column, out);
  }
}

// dx (overwritten, or added to with addDx) and partial [blocks, width], each block's share of dweight, which column_sum adds up in order.
// A block walks rowsPerBlock rows; a column belongs to one thread. Dynamic shared memory: width floats.
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
