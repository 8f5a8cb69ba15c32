// Rotary position embedding, rotate-half: element i of a head is paired with i + headDim / 2. In place.
#include "common.cuh"

// x: rows x heads x headDim; row r has position r mod sequence; cosine, sine: positions x headDim / 2. direction: 1, or
// -1 for the backward.
extern "C" __global__ void rope(Element *x, const float *cosine, const float *sine, long long pairs, int heads,
                                int sequence, int headDim, float direction) {
  const long long pair = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (pair >= pairs) return;
  const int half = headDim / 2;
  const int i = pair % half;
  const long long head = pair / half;
  const int angle = (int)(head / heads % sequence) * half + i;
  const float c = cosine[angle], s = direction * sine[angle];
  Element *at = x + head * headDim + i;
  const float low = toFloat(at[0]), high = toFloat(at[half]);
  assign(at[0], low * c - high * s);
  assign(at[half], high * c + low * s);
}
