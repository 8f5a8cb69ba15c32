// Rows in canonical order (by expert, and within an expert by token), built on the device: no count travels to the
// host. Integer arithmetic only, so the order is exact. A pick is token * k + j. Each expert's rows begin at a multiple
// of `padding`; rows in between hold zeros.
#include "common.cuh"
#include "moves.cuh"

constexpr int threads = 256;
constexpr int rounds = 4;
// Picks that one block counts and places.
constexpr int picksPerBlock = threads * rounds;

// partial[block, expert]: how many of the block's picks chose the expert. ids below 0 are dropped picks.
extern "C" __global__ void permute_count(const int *ids, int *partial, int picks, int experts) {
  extern __shared__ int counts[];
  for (int expert = threadIdx.x; expert < experts; expert += threads) counts[expert] = 0;
  __syncthreads();
  for (int round = 0; round < rounds; round++) {
    const int pick = blockIdx.x * picksPerBlock + round * threads + threadIdx.x;
    if (pick < picks && ids[pick] >= 0) atomicAdd(&counts[ids[pick]], 1);
  }
  __syncthreads();
  for (int expert = threadIdx.x; expert < experts; expert += threads)
    partial[blockIdx.x * experts + expert] = counts[expert];
}

// One block of 1024 threads. counts[expert]; offsets[expert], the first row, and offsets[experts] the rows in all,
// padding included; starts[block, expert]: the block's first row among the expert's.
extern "C" __global__ void permute_offsets(const int *__restrict__ partial, int *__restrict__ starts,
                                           int *__restrict__ counts, int *__restrict__ offsets, int blocks, int experts,
                                           int padding) {
  __shared__ int scan[1024];
  const int expert = threadIdx.x;
  int total = 0;
  if (expert < experts) {
#pragma unroll 8
    for (int block = 0; block < blocks; block++) {
      starts[block * experts + expert] = total;
      total += partial[block * experts + expert];
    }
    counts[expert] = total;
  }
  const int padded = (total + padding - 1) / padding * padding;
  scan[expert] = padded;
  __syncthreads();
  for (int distance = 1; distance < 1024; distance *= 2) {
    const int before = expert >= distance ? scan[expert - distance] : 0;
    __syncthreads();
    scan[expert] += before;
    __syncthreads();
  }
  if (expert < experts) offsets[expert + 1] = scan[expert];
  if (expert == 0) offsets[0] = 0;
}

// rowPick[row] = pick (rows of padding keep what was there: fill with -1 before), pickRow[pick] = row, -1 where
// dropped.
extern "C" __global__ void permute_place(const int *ids, const int *starts, const int *offsets, int *rowPick,
                                         int *pickRow, int picks, int experts) {
  // Next row of each expert for this block, then counts of each warp.
  extern __shared__ int shared[];
  int *next = shared, *counted = shared + experts;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  constexpr int warps = threads / 32;
  for (int expert = threadIdx.x; expert < experts; expert += threads)
    next[expert] = offsets[expert] + starts[blockIdx.x * experts + expert];
  for (int round = 0; round < rounds; round++) {
    for (int i = threadIdx.x; i < warps * experts; i += threads) counted[i] = 0;
    __syncthreads();
    const int pick = blockIdx.x * picksPerBlock + round * threads + threadIdx.x;
    const int expert = pick < picks ? ids[pick] : -1;
    const unsigned same = __match_any_sync(allLanes, expert);
    const int before = __popc(same & ((1u << lane) - 1));
    if (expert >= 0 && before == 0) counted[warp * experts + expert] = __popc(same);
    __syncthreads();
    if (expert >= 0) {
      int row = next[expert] + before;
      for (int other = 0; other < warp; other++) row += counted[other * experts + expert];
      rowPick[row] = pick;
      pickRow[pick] = row;
    } else if (pick < picks) pickRow[pick] = -1;
    __syncthreads();
    for (int i = threadIdx.x; i < experts; i += threads)
      for (int other = 0; other < warps; other++) next[i] += counted[other * experts + i];
    __syncthreads();
  }
}

// rows[row] = source[its token] for every pick that has a row, and zeros in rows of padding. A block a token, which is
// read once and written to all its rows; then a block an expert, for the padding behind its rows.
extern "C" __global__ void pack_rows(const Element *source, const int *pickRow, const int *counts, const int *offsets,
                                     Element *rows, int tokens, int picks, int width) {
  if ((int)blockIdx.x >= tokens) {
    const int expert = blockIdx.x - tokens;
    for (size_t row = offsets[expert] + counts[expert]; row < (size_t)offsets[expert + 1]; row++)
      for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes)
        storeVector(rows + row * width + column, Vector{});
    return;
  }
  const size_t token = blockIdx.x;
  for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes) {
    const Vector value = loadVector(source + token * width + column);
#pragma unroll 4
    for (int pick = 0; pick < picks; pick++) {
      const int row = pickRow[token * picks + pick];
      if (row >= 0) storeVector(rows + (size_t)row * width + column, value);
    }
  }
}

// y[token] (+)= sum over its picks, in their order, of weight * row; dropped picks (row -1) add nothing. weights null:
// all 1. A block a token.
extern "C" __global__ void combine_rows(const Element *rows, const int *pickRow, const float *weights, Element *y,
                                        int picks, int width, int add) {
  const size_t token = blockIdx.x;
  for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes) {
    float sum[lanes] = {};
    if (add) {
      const Vector there = loadVector(y + token * width + column);
      for (int i = 0; i < lanes; i++) sum[i] = toFloat(there.values[i]);
    }
#pragma unroll 4
    for (int pick = 0; pick < picks; pick++) {
      const int row = pickRow[token * picks + pick];
      if (row < 0) continue;
      const float weight = weights == NULLPTR ? 1.0f : weights[token * picks + pick];
      const Vector value = loadVector(rows + (size_t)row * width + column);
      for (int i = 0; i < lanes; i++) sum[i] += weight * toFloat(value.values[i]);
    }
    Vector out;
    for (int i = 0; i < lanes; i++) assign(out.values[i], sum[i]);
    storeVector(y + token * width + column, out);
  }
}

// Backward of combine_rows, rows: drows[row] = weight * dy[its token], zeros in rows of padding. A block a row.
extern "C" __global__ void combine_row_gradient(const Element *dy, const int *rowPick, const float *weights,
                                                const int *total, Element *drows, int picks, int width) {
  const size_t row = blockIdx.x;
  if (row >= (size_t)*total) return;
  const int pick = rowPick[row];
  const float weight = pick < 0 ? 0.0f : weights[pick];
  const Element *from = dy + (size_t)(pick < 0 ? 0 : pick / picks) * width;
  for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes) {
    Vector out = {};
    if (pick >= 0) {
      const Vector value = loadVector(from + column);
      for (int i = 0; i < lanes; i++) assign(out.values[i], weight * toFloat(value.values[i]));
    }
    storeVector(drows + row * width + column, out);
  }
}

// Backward of combine_rows, weights: dweights[pick] = <row, dy of its token>, 0 where dropped. A warp a pick, 8 in a
// block.
extern "C" __global__ void combine_weight_gradient(const Element *rows, const int *pickRow, const Element *dy,
                                                   float *dweights, int allPicks, int picks, int width) {
  const int pick = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (pick >= allPicks) return;
  const int row = pickRow[pick];
  float dot = 0;
  if (row >= 0)
    for (int column = lane * lanes; column < width; column += 32 * lanes) {
      const Vector a = loadVector(rows + (size_t)row * width + column);
      const Vector b = loadVector(dy + (size_t)(pick / picks) * width + column);
      for (int i = 0; i < lanes; i++) dot += toFloat(a.values[i]) * toFloat(b.values[i]);
    }
  dot = warpSum(dot);
  if (lane == 0) dweights[pick] = dot;
}

// to[toRow[i]] = from[fromRow[i]] for each of the moves. A block a move.
extern "C" __global__ void move_rows(const Element *from, Element *to, const int *fromRow, const int *toRow,
                                     int width) {
  const Element *source = from + (size_t)fromRow[blockIdx.x] * width;
  Element *target = to + (size_t)toRow[blockIdx.x] * width;
  for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes)
    storeVector(target + column, loadVector(source + column));
}

// Follows moves (moves.cuh). Packs where `pack` says so: to[packed row] = weight * from[token of the canonical row],
// which is rowPick / picks, or the canonical row itself where picks is 0; weight[row] = weights[rowPick[row]], or 1
// where weights are null.
// Else to[canonical row] = from[packed row]. A block a row.
extern "C" __global__ void follow_moves(const Element *from, Element *to, const int *moves, const int *starts,
                                        int count, const int *rowPick, int picks, const float *weights,
                                        int pack, int width) {
  const MovedRow row = movedRow(moves, starts, count, blockIdx.x);
  const int canonical = row.canonical, packed = row.packed;
  const size_t here = pack ? (picks == 0 ? canonical : rowPick[canonical] / picks) : packed;
  const Element *source = from + here * width;
  Element *target = to + (size_t)(pack ? packed : canonical) * width;
  const float weight = weights == NULLPTR ? 1.0f : weights[rowPick[canonical]];
  if (width % lanes != 0) {
    for (int column = threadIdx.x; column < width; column += blockDim.x)
      assign(target[column], weight * toFloat(source[column]));
    return;
  }
  for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes) {
    Vector value = loadVector(source + column);
    if (weights != NULLPTR)
      for (int i = 0; i < lanes; i++) assign(value.values[i], weight * toFloat(value.values[i]));
    storeVector(target + column, value);
  }
}

// Moves (moves.cuh) of which move m has the rows of `to` from blocks[m] to blocks[m + 1]: those that it names hold its
// rows of `from`, others zeros. A block a row of `to`.
extern "C" __global__ void pad_rows(const Element *from, Element *to, const int *moves, const int *blocks, int count,
                                    int width) {
  const int row = blockIdx.x, move = lastFrom(blocks, count, row);
  const int within = row - moves[3 * move + 1];
  const bool holds = within >= 0 && within < moves[3 * move + 2];
  const Element *source = from + (size_t)(holds ? moves[3 * move] + within : 0) * width;
  Element *target = to + (size_t)row * width;
  for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes)
    storeVector(target + column, holds ? loadVector(source + column) : Vector{});
}

// coarse[row] = the sum of its fine rows, in the order of their pairs, each times its pick's weight (weights null: 1).
// Row r has the pairs starts[r] to starts[r + 1]. A block a coarse row.
extern "C" __global__ void sum_rows(const Element *fine, Element *coarse, const int *starts, const int *fineRow,
                                    const int *pick, const float *weights, int width) {
  const int first = starts[blockIdx.x], end = starts[blockIdx.x + 1];
  for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes) {
    float sum[lanes] = {};
    for (int pair = first; pair < end; pair++) {
      const float weight = weights == NULLPTR ? 1.0f : weights[pick[pair]];
      const Vector value = loadVector(fine + (size_t)fineRow[pair] * width + column);
      for (int i = 0; i < lanes; i++) sum[i] += weight * toFloat(value.values[i]);
    }
    Vector out;
    for (int i = 0; i < lanes; i++) assign(out.values[i], sum[i]);
    storeVector(coarse + (size_t)blockIdx.x * width + column, out);
  }
}

// move_rows and sum_rows (without weights) of rows that do not begin at multiples of 16 bytes. A thread an element.
extern "C" __global__ void move_elements(const Element *from, Element *to, const int *fromRow, const int *toRow,
                                         long long count, int width) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const long long move = i / width;
  to[(size_t)toRow[move] * width + i % width] = from[(size_t)fromRow[move] * width + i % width];
}

extern "C" __global__ void sum_elements(const Element *fine, Element *coarse, const int *starts, const int *fineRow,
                                        long long count, int width) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float sum = 0;
  for (int pair = starts[i / width]; pair < starts[i / width + 1]; pair++)
    sum += toFloat(fine[(size_t)fineRow[pair] * width + i % width]);
  assign(coarse[i], sum);
}

// products[row] = <output row, gradient row> (output null: left out), then gradient row *= its pick's weight, for the
// rows of the pairs. A block a pair.
extern "C" __global__ void weigh_rows(const Element *output, Element *gradient, const int *fineRow, const int *pick,
                                      const float *weights, float *products, int width) {
  const size_t row = fineRow[blockIdx.x];
  const float weight = weights[pick[blockIdx.x]];
  float dot = 0;
  for (int column = threadIdx.x * lanes; column < width; column += blockDim.x * lanes) {
    Vector value = loadVector(gradient + row * width + column), other = {};
    if (output != NULLPTR) other = loadVector(output + row * width + column);
    for (int i = 0; i < lanes; i++) {
      const float upstream = toFloat(value.values[i]);
      dot += toFloat(other.values[i]) * upstream;
      assign(value.values[i], weight * upstream);
    }
    storeVector(gradient + row * width + column, value);
  }
  if (output == NULLPTR) return;
  dot = blockSum(dot);
  if (threadIdx.x == 0) products[row] = dot;
}

// placed[pick] = where the pick's canonical row lies, -1 where dropped, as moves say whose canonical rows ascend and
// leave none out.
extern "C" __global__ void place_picks(const int *pickRow, const int *moves, int *placed, int count, int picks) {
  const int pick = blockIdx.x * blockDim.x + threadIdx.x;
  if (pick >= picks) return;
  const int row = pickRow[pick];
  int first = 0, end = count;
  while (end - first > 1) {
    const int middle = (first + end) / 2;
    if (moves[3 * middle] <= row) first = middle;
    else end = middle;
  }
  placed[pick] = row < 0 ? row : moves[3 * first + 1] + row - moves[3 * first];
}

// gradient[pick] = returned[its row], 0 where dropped.
extern "C" __global__ void gather_picks(const float *returned, const int *pickRow, float *gradient, int picks) {
  const int pick = blockIdx.x * blockDim.x + threadIdx.x;
  if (pick >= picks) return;
  const int row = pickRow[pick];
  gradient[pick] = row < 0 ? 0.0f : returned[row];
}
