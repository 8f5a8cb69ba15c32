// Moves of rows between canonical and packed order: triples [canonical row, packed row, rows], of which move m begins
// with row starts[m] of all.
#pragma once

struct MovedRow {
  int canonical, packed;
};

// The last of `count` ascending starts that is not beyond `row`.
__device__ __forceinline__ int lastFrom(const int *starts, int count, int row) {
  int first = 0, end = count;
  while (end - first > 1) {
    const int middle = (first + end) / 2;
    if (starts[middle] <= row) first = middle;
    else end = middle;
  }
  return first;
}

// Both places of row `row` of all that `count` moves move.
__device__ __forceinline__ MovedRow movedRow(const int *moves, const int *starts, int count, int row) {
  const int first = lastFrom(starts, count, row);
  const int within = row - starts[first];
  return {moves[3 * first] + within, moves[3 * first + 1] + within};
}
