// What all kernels share: the storage type `Element` (bf16 with -DELEMENT_BF16, else fp32), 16-byte accesses, and
// reductions in a fixed order. No CUDA headers: NVRTC finds none where only the libraries are installed. Arithmetic is
// fp32; nothing here uses atomics on floats.
#pragma once

#define NULLPTR 0
#define infinity __int_as_float(0x7f800000)

typedef decltype(sizeof(0)) size_t;

struct alignas(2) Bf16 {
  unsigned short bits;
};

#ifdef ELEMENT_BF16
typedef Bf16 Element;
#else
typedef float Element;
#endif

// Elements of one 16-byte access.
constexpr int lanes = 16 / sizeof(Element);
constexpr unsigned allLanes = 0xffffffffu;

__device__ __forceinline__ float toFloat(float value) { return value; }
__device__ __forceinline__ float toFloat(Bf16 value) { return __uint_as_float((unsigned)value.bits << 16); }

__device__ __forceinline__ void assign(float &to, float value) { to = value; }
// Rounds to nearest, ties to even.
__device__ __forceinline__ void assign(Bf16 &to, float value) {
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to.bits) : "f"(value));
}

struct alignas(16) Vector {
  Element values[lanes];
};

__device__ __forceinline__ Vector loadVector(const Element *from) { return *reinterpret_cast<const Vector *>(from); }
__device__ __forceinline__ void storeVector(Element *to, const Vector &value) {
  *reinterpret_cast<Vector *>(to) = value;
}

// Four values of one access.
template <class Value> struct alignas(4 * sizeof(Value)) Four {
  Value values[4];
};

__device__ __forceinline__ float warpSum(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(allLanes, value, offset);
  return value;
}

__device__ __forceinline__ double warpSum(double value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(allLanes, value, offset);
  return value;
}

__device__ __forceinline__ float warpMax(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value = fmaxf(value, __shfl_xor_sync(allLanes, value, offset));
  return value;
}

// The thread's place among those of the grid, and how many they are.
__device__ __forceinline__ long long gridThread() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ long long gridThreads() { return (long long)gridDim.x * blockDim.x; }

// The sum over a block's threads (a multiple of 32, at most 1024), for all of them. Two calls in a row are safe.
template <class T> __device__ __forceinline__ T blockSum(T value) {
  __shared__ T parts[32];
  value = warpSum(value);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  __syncthreads();
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  value = lane < (int)(blockDim.x / 32) ? parts[lane] : T(0);
  return warpSum(value);
}

__device__ __forceinline__ float blockMax(float value) {
  __shared__ float parts[32];
  value = warpMax(value);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  __syncthreads();
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  return warpMax(parts[lane < (int)(blockDim.x / 32) ? lane : 0]);
}
