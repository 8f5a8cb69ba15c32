// Numbers for measurements: uniform, from a hash of their place, so that they are the same in every run.
#include "common.cuh"

// values uniform in [-scale, scale).
extern "C" __global__ void fill_random(Element *values, long long count, float scale, int seed) {
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
    // splitmix64 (Steele, Lea and Flood, 2014).
    unsigned long long z = (unsigned long long)i + 0x9e3779b97f4a7c15ull * (unsigned)(seed + 1);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    assign(values[i], scale * ((float)(z >> 40) * 0x1p-23f - 1));
  }
}
