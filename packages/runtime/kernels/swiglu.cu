// SwiGLU of expert rows, with the combine's weights folded in: activated = weight * silu(gate) * up, so that the
// combine is a plain sum and its backward needs no saved expert output. gateUp [rows, 2 * ffn]: gate, then up. Rows
// from `*total` on (null: none) are left alone. weights, rowPick null: every weight is 1. Rows of padding (pick -1)
// become zeros.
//
// moves, starts, count (moves.cuh; null: every row lies at its own place): rows that products left in a padded buffer
// are read from their packed row there, and everything else is read from and written to the canonical row.
#include "common.cuh"
#include "moves.cuh"

__device__ __forceinline__ MovedRow placesOf(const int *moves, const int *starts, int count, int row) {
  return moves == NULLPTR ? MovedRow{row, row} : movedRow(moves, starts, count, row);
}

__device__ __forceinline__ bool isPadding(const int *rowPick, size_t row) {
  return rowPick != NULLPTR && rowPick[row] < 0;
}

__device__ __forceinline__ float rowWeight(const float *weights, const int *rowPick, size_t row) {
  return weights == NULLPTR ? 1.0f : weights[rowPick[row]];
}

// Zeros in a row, whatever lies in the row that it comes from: not even NaN there may reach a sum.
__device__ __forceinline__ void clearRow(Element *row, int width, int thread, int threads) {
  for (int column = thread * lanes; column < width; column += threads * lanes) storeVector(row + column, Vector{});
}

// kept (null: not wanted): gateUp once more, at the canonical rows. A block a row.
extern "C" __global__ void swiglu_forward(const Element *gateUp, const float *weights, const int *rowPick,
                                          const int *total, const int *moves, const int *starts, int count,
                                          Element *kept, Element *activated, int ffn) {
  if (total != NULLPTR && blockIdx.x >= (unsigned)*total) return;
  const MovedRow places = placesOf(moves, starts, count, blockIdx.x);
  const size_t row = places.canonical;
  if (isPadding(rowPick, row)) return clearRow(activated + row * ffn, ffn, threadIdx.x, blockDim.x);
  const float weight = rowWeight(weights, rowPick, row);
  const Element *gates = gateUp + (size_t)places.packed * 2 * ffn, *ups = gates + ffn;
  for (int column = threadIdx.x * lanes; column < ffn; column += blockDim.x * lanes) {
    const Vector gate = loadVector(gates + column), up = loadVector(ups + column);
    if (kept != NULLPTR) {
      storeVector(kept + row * 2 * ffn + column, gate);
      storeVector(kept + row * 2 * ffn + ffn + column, up);
    }
    Vector out;
    for (int i = 0; i < lanes; i++) {
      const float g = toFloat(gate.values[i]);
      assign(out.values[i], weight * (g / (1 + expf(-g))) * toFloat(up.values[i]));
    }
    storeVector(activated + row * ffn + column, out);
  }
}

// dactivated is the gradient of the weighted rows' output before weighting (dy times the down weights), at the packed
// rows. Writes dgateUp (may be gateUp itself), activated (may be dactivated where no row is moved) once more where
// asked (the weight gradient of `down` needs it), and dweights[pick] = <silu(gate) * up, dactivated>. A warp a row.
extern "C" __global__ void swiglu_backward(const Element *gateUp, const Element *dactivated, const float *weights,
                                           const int *rowPick, const int *total, const int *moves, const int *starts,
                                           int count, Element *dgateUp, Element *activated, float *dweights, int rows,
                                           int ffn) {
  const int place = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  // The last block may have warps to spare.
  if (place >= rows) return;
  if (total != NULLPTR && place >= *total) return;
  const MovedRow places = placesOf(moves, starts, count, place);
  const size_t row = places.canonical;
  if (isPadding(rowPick, row)) {
    clearRow(dgateUp + row * 2 * ffn, 2 * ffn, lane, 32);
    if (activated != NULLPTR) clearRow(activated + row * ffn, ffn, lane, 32);
    return;
  }
  const float weight = rowWeight(weights, rowPick, row);
  const size_t gates = row * 2 * ffn, ups = gates + ffn;
  float dot = 0;
#pragma unroll 2
  for (int column = lane * lanes; column < ffn; column += 32 * lanes) {
    const Vector gate = loadVector(gateUp + gates + column), up = loadVector(gateUp + ups + column);
    const Vector upstream = loadVector(dactivated + (size_t)places.packed * ffn + column);
    Vector dgate, dup, again;
    for (int i = 0; i < lanes; i++) {
      const float g = toFloat(gate.values[i]), u = toFloat(up.values[i]), d = toFloat(upstream.values[i]);
      const float sigmoid = 1 / (1 + expf(-g));
      const float silu = g * sigmoid;
      dot += silu * u * d;
      assign(dgate.values[i], weight * d * u * sigmoid * (1 + g * (1 - sigmoid)));
      assign(dup.values[i], weight * d * silu);
      assign(again.values[i], weight * silu * u);
    }
    storeVector(dgateUp + gates + column, dgate);
    storeVector(dgateUp + ups + column, dup);
    if (activated != NULLPTR) storeVector(activated + row * ffn + column, again);
  }
  if (dweights == NULLPTR) return;
  dot = warpSum(dot);
  if (lane == 0) dweights[rowPick[row]] = dot;
}

// gpt-oss' activation: with g = min(gate, limit) and u = up bounded to [-limit, limit], (u + 1) * g *
// sigmoid(alpha * g). A block a row.
extern "C" __global__ void swiglu_clamped_forward(const Element *gateUp, Element *activated, int ffn, float alpha,
                                                  float limit) {
  const size_t row = blockIdx.x;
  const Element *gates = gateUp + row * 2 * ffn, *ups = gates + ffn;
  for (int column = threadIdx.x; column < ffn; column += blockDim.x) {
    const float g = fminf(toFloat(gates[column]), limit);
    const float u = fmaxf(-limit, fminf(limit, toFloat(ups[column])));
    assign(activated[row * ffn + column], (u + 1) * g / (1 + expf(-alpha * g)));
  }
}

// Its gradient; dgateUp may be gateUp. Where a bound holds, none passes. A block a row.
extern "C" __global__ void swiglu_clamped_backward(const Element *gateUp, const Element *dactivated, Element *dgateUp,
                                                   int ffn, float alpha, float limit) {
  const size_t row = blockIdx.x;
  const size_t gates = row * 2 * ffn, ups = gates + ffn;
  for (int column = threadIdx.x; column < ffn; column += blockDim.x) {
    const float gate = toFloat(gateUp[gates + column]), up = toFloat(gateUp[ups + column]);
    const float g = fminf(gate, limit), u = fmaxf(-limit, fminf(limit, up));
    const float sigmoid = 1 / (1 + expf(-alpha * g)), d = toFloat(dactivated[row * ffn + column]);
    assign(dgateUp[gates + column], gate > limit ? 0.0f : d * (u + 1) * sigmoid * (1 + alpha * g * (1 - sigmoid)));
    assign(dgateUp[ups + column], fabsf(up) > limit ? 0.0f : d * g * sigmoid);
  }
}
