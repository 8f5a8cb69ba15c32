// Rotary position embedding in place: element i of what turns is paired with i + half, or, interleaved, 2i with 2i + 1.
#include "common.cuh"

// x: rows x heads of `stride` elements, of which the 2 * half from `offset` on turn; row r has position r mod sequence;
// cosine, sine: positions x half. direction: 1, or -1 for the backward.
extern "C" __global__ void rope(Element *x, const float *cosine, const float *sine, long long pairs, int heads,
                                int sequence, int half, int stride, int offset, int interleaved, float direction) {
  const long long pair = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (pair >= pairs) return;
  const int i = pair % half;
  const long long head = pair / half;
  const int angle = (int)(head / heads % sequence) * half + i;
  const float c = cosine[angle], s = direction * sine[angle];
  Element *at = x + head * stride + offset + (interleaved ? 2 * i : i);
  const int apart = interleaved ? 1 : half;
  const float low = toFloat(at[0]), high = toFloat(at[apart]);
  assign(at[0], low * c - high * s);
  assign(at[apart], high * c + low * s);
}
