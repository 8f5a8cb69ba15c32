// Pairs of fine and coarse rows, listed on the card from the picks of a group's tokens: see rows/row-moves.ts of the
// host. Integers only. Blocks of tokens are of one source and one range of experts: the tokens of the source's chunk
// that have a pick in the range, in order.
#include "common.cuh"

constexpr int threads = 1024;

// The first of a token's picks in [start, end), or -1.
__device__ __forceinline__ int pickIn(const int *ids, int picks, int start, int end) {
  for (int pick = 0; pick < picks; pick++)
    if (ids[pick] >= start && ids[pick] < end) return pick;
  return -1;
}

__device__ __forceinline__ int warpPrefix(int sum) {
  for (int distance = 1; distance < 32; distance *= 2) {
    const int other = __shfl_up_sync(allLanes, sum, distance);
    if (threadIdx.x % 32 >= distance) sum += other;
  }
  return sum;
}

// The sum of `value` over the threads before this one, and over all. sums: 32 integers that all threads share.
__device__ __forceinline__ int sumBefore(int value, int *sums, int &all) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int sum = warpPrefix(value);
  __syncthreads();
  if (lane == 31) sums[warp] = sum;
  __syncthreads();
  if (warp == 0) sums[lane] = warpPrefix(sums[lane]);
  __syncthreads();
  all = sums[31];
  return (warp == 0 ? 0 : sums[warp - 1]) + sum - value;
}

// places[block, token]: which of the block's rows is the token's, or -1. blocks: four integers each, the first pick of
// the source's chunk, its tokens, and the range of experts. A block of threads each; `room` tokens at most.
extern "C" __global__ void place_tokens(const int *ids, const int *blocks, int *places, int picks, int room) {
  __shared__ int sums[32];
  const int *of = blocks + 4 * blockIdx.x;
  int base = 0, all;
  for (int first = 0; first < of[1]; first += threads) {
    const int token = first + threadIdx.x;
    const bool holds = token < of[1] && pickIn(ids + of[0] + token * picks, picks, of[2], of[3]) >= 0;
    const int row = base + sumBefore(holds, sums, all);
    if (token < of[1]) places[(size_t)blockIdx.x * room + token] = holds ? row : -1;
    base += all;
  }
}

// fine, coarse, pick[pair] of all pairs. blocks: eight integers each, four as above, then the first fine row, the first
// coarse row, the block's places (-1: rows are alike), and the pairs before. pick: among all of the group's where the
// block is of one expert, else -1. A block of threads each.
extern "C" __global__ void list_pairs(const int *ids, const int *blocks, const int *places, int *fine, int *coarse,
                                      int *pick, int picks, int room) {
  __shared__ int sums[32];
  const int *of = blocks + 8 * blockIdx.x;
  const bool single = of[3] == of[2] + 1;
  int base = 0, all;
  for (int first = 0; first < of[1]; first += threads) {
    const int token = first + threadIdx.x;
    const int own = token < of[1] ? pickIn(ids + of[0] + token * picks, picks, of[2], of[3]) : -1;
    const int row = base + sumBefore(own >= 0, sums, all);
    if (own >= 0) {
      fine[of[7] + row] = of[4] + row;
      coarse[of[7] + row] = of[5] + (of[6] < 0 ? row : places[(size_t)of[6] * room + token]);
      pick[of[7] + row] = single ? of[0] + token * picks + own : -1;
    }
    base += all;
  }
}

// counts[row]: pairs of the coarse row.
extern "C" __global__ void count_pairs(const int *coarse, int *counts, int count) {
  const int pair = blockIdx.x * blockDim.x + threadIdx.x;
  if (pair < count) atomicAdd(&counts[coarse[pair]], 1);
}

// starts[row]: pairs of the rows before; starts[rows]: of all. Clears counts. One block of threads.
extern "C" __global__ void start_pairs(int *counts, int *starts, int rows) {
  __shared__ int sums[32];
  int base = 0, all;
  for (int first = 0; first < rows; first += threads) {
    const int row = first + threadIdx.x;
    const int before = base + sumBefore(row < rows ? counts[row] : 0, sums, all);
    if (row < rows) {
      starts[row] = before;
      counts[row] = 0;
    }
    base += all;
  }
  if (threadIdx.x == 0) starts[rows] = base;
}

// The pairs of every coarse row, in any order: sort_pairs puts them right.
extern "C" __global__ void gather_pairs(const int *coarse, const int *starts, int *counts, int *order, int count) {
  const int pair = blockIdx.x * blockDim.x + threadIdx.x;
  if (pair < count) order[starts[coarse[pair]] + atomicAdd(&counts[coarse[pair]], 1)] = pair;
}

// fineRow, sortedPick: of the pairs by coarse row, and of a row's in their order. A thread a coarse row, which has few.
extern "C" __global__ void sort_pairs(const int *starts, int *order, const int *fine, const int *pick, int *fineRow,
                                      int *sortedPick, int rows) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  for (int place = starts[row]; place < starts[row + 1]; place++) {
    const int pair = order[place];
    int to = place;
    for (; to > starts[row] && order[to - 1] > pair; to--) order[to] = order[to - 1];
    order[to] = pair;
  }
  for (int place = starts[row]; place < starts[row + 1]; place++) {
    fineRow[place] = fine[order[place]];
    sortedPick[place] = pick[order[place]];
  }
}
