// Rows in fp8 as they travel to their experts, the same bits as the CPU's (src/moe/fp8-rows.ts): e4m3 elements, then an
// fp32 scale for every group of them. Where the CPU computes in fp64, so do these. A warp takes a group at a time.
#include "common.cuh"
#include "moves.cuh"

constexpr int scaleGroup = 128;
constexpr float largestE4m3 = 448;

__device__ __forceinline__ int groupsOf(int width) { return (width + scaleGroup - 1) / scaleGroup; }
__device__ __forceinline__ size_t fp8RowBytes(int width) { return width + 4 * (size_t)groupsOf(width); }

// Nearest, ties to even; beyond 448 it is 448, NaN stays NaN.
__device__ __forceinline__ unsigned toE4m3(double value) {
  const unsigned bits = __float_as_uint((float)value);
  const unsigned sign = bits >> 24 & 0x80, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7f;
  // Below 2^-6, the least normal one, there are multiples of 2^-9: fp32 from 2^14 to 2^15 is as far apart.
  if (magnitude < 0x3c800000) return sign | (__float_as_uint((float)__dadd_rn(fabs(value), 16384.0)) - 0x46800000);
  // Three of the 23 bits of the fraction stay; the exponent is counted from 7 instead of 127.
  const unsigned rounded = ((magnitude + 0x7ffff + (magnitude >> 20 & 1)) >> 20) - (120 << 3);
  return sign | (rounded < 0x7e ? rounded : 0x7e);
}

__device__ __forceinline__ float fromE4m3(unsigned bits) {
  const unsigned sign = (bits & 0x80) << 24, exponent = bits >> 3 & 0xf, fraction = bits & 7;
  if ((bits & 0x7f) == 0x7f) return __uint_as_float(0x7fffffff);
  if (exponent == 0) return __uint_as_float(sign | __float_as_uint(fraction * 0x1p-9f));
  return __uint_as_float(sign | (exponent + 120) << 23 | fraction << 20);
}

// Elements from `first` on that a lane takes: four, fewer at the end of a row.
__device__ __forceinline__ int taken(int width, int first) { return width - first < 4 ? width - first : 4; }

// A row times `weight`. All threads of a block, whole warps.
__device__ __forceinline__ void quantiseRow(const Element *from, float weight, unsigned char *to, int width) {
  const int lane = threadIdx.x % 32;
  // Then four elements are aligned in every row.
  const bool whole = width % 4 == 0;
  for (int group = threadIdx.x / 32; group < groupsOf(width); group += blockDim.x / 32) {
    const int first = group * scaleGroup + 4 * lane, count = taken(width, first);
    Four<Element> four = {};
    if (whole && count > 0) four = *reinterpret_cast<const Four<Element> *>(from + first);
    else for (int i = 0; i < count; i++) four.values[i] = from[first + i];
    float values[4], most = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      values[i] = weight * toFloat(four.values[i]);
      most = fmaxf(most, fabsf(values[i]));
    }
    const float scale = __fdiv_rn(warpMax(most), largestE4m3);
    // So small that its scale is 0: nothing is left of it.
    const double inverse = scale == 0 ? 0.0 : __ddiv_rn(1.0, (double)scale);
    unsigned packed = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) packed |= toE4m3(__dmul_rn((double)values[i], inverse)) << 8 * i;
    if (whole && count > 0) *reinterpret_cast<unsigned *>(to + first) = packed;
    else for (int i = 0; i < count; i++) to[first + i] = packed >> 8 * i;
    // Little-endian.
    if (lane < 4) to[width + 4 * group + lane] = __float_as_uint(scale) >> 8 * lane;
  }
}

__device__ __forceinline__ void dequantiseRow(const unsigned char *from, Element *to, int width) {
  const int lane = threadIdx.x % 32;
  const bool whole = width % 4 == 0;
  for (int group = threadIdx.x / 32; group < groupsOf(width); group += blockDim.x / 32) {
    const int first = group * scaleGroup + 4 * lane, count = taken(width, first);
    unsigned bits = 0, packed = 0;
    for (int i = 0; i < 4; i++) bits |= (unsigned)from[width + 4 * group + i] << 8 * i;
    const float scale = __uint_as_float(bits);
    if (whole && count > 0) packed = *reinterpret_cast<const unsigned *>(from + first);
    else for (int i = 0; i < count; i++) packed |= (unsigned)from[first + i] << 8 * i;
    Four<Element> four;
#pragma unroll
    for (int i = 0; i < 4; i++) assign(four.values[i], fromE4m3(packed >> 8 * i & 0xff) * scale);
    if (whole && count > 0) *reinterpret_cast<Four<Element> *>(to + first) = four;
    else for (int i = 0; i < count; i++) to[first + i] = four.values[i];
  }
}

// to[packed row] = weight * from[token of the canonical row], which is rowPick / picks; weight[row] =
// weights[rowPick[row]], or 1 where weights are null. A block a row, here and below.
extern "C" __global__ void quantise_moves(const Element *from, unsigned char *to, const int *moves, const int *starts,
                                          int count, const int *rowPick, int picks, const float *weights, int width) {
  const MovedRow row = movedRow(moves, starts, count, blockIdx.x);
  const int pick = rowPick[row.canonical];
  const float weight = weights == NULLPTR ? 1.0f : weights[pick];
  quantiseRow(from + (size_t)(pick / picks) * width, weight, to + row.packed * fp8RowBytes(width), width);
}

// to[canonical row] = from[packed row].
extern "C" __global__ void dequantise_moves(const unsigned char *from, Element *to, const int *moves,
                                            const int *starts, int count, int width) {
  const MovedRow row = movedRow(moves, starts, count, blockIdx.x);
  dequantiseRow(from + row.packed * fp8RowBytes(width), to + (size_t)row.canonical * width, width);
}

// to[toRow] = from[fromRow]; where a list of rows is null they are 0, 1, 2, ...
extern "C" __global__ void quantise_rows(const Element *from, unsigned char *to, const int *fromRow, const int *toRow,
                                         int width) {
  const size_t source = fromRow == NULLPTR ? blockIdx.x : fromRow[blockIdx.x];
  const size_t target = toRow == NULLPTR ? blockIdx.x : toRow[blockIdx.x];
  quantiseRow(from + source * width, 1.0f, to + target * fp8RowBytes(width), width);
}

extern "C" __global__ void dequantise_rows(const unsigned char *from, Element *to, const int *fromRow,
                                           const int *toRow, int width) {
  const size_t source = fromRow == NULLPTR ? blockIdx.x : fromRow[blockIdx.x];
  const size_t target = toRow == NULLPTR ? blockIdx.x : toRow[blockIdx.x];
  dequantiseRow(from + source * fp8RowBytes(width), to + target * width, width);
}

// Rows that are in fp8 already, of `bytes` with their scales.
extern "C" __global__ void move_fp8(const unsigned char *from, unsigned char *to, const int *fromRow,
                                    const int *toRow, int bytes) {
  const unsigned char *source = from + (size_t)fromRow[blockIdx.x] * bytes;
  unsigned char *target = to + (size_t)toRow[blockIdx.x] * bytes;
  if (bytes % 4 != 0) {
    for (int i = threadIdx.x; i < bytes; i += blockDim.x) target[i] = source[i];
    return;
  }
  for (int i = threadIdx.x; i < bytes / 4; i += blockDim.x)
    reinterpret_cast<unsigned *>(target)[i] = reinterpret_cast<const unsigned *>(source)[i];
}
