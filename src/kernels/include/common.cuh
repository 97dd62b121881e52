/* The base of every CUDA kernel. It contains device code only and includes no header of the system or of the toolkit. */
#ifndef RECTIFLOW_COMMON_CUH
#define RECTIFLOW_COMMON_CUH

#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* An argument of N words passed by value; declare it const __grid_constant__, so that it is read in place without a local copy. */
template <int N> struct words {
  u32 of[N];
};

/* The address in two words, the low word first. */
template <class T> DEVICE T *address_in(const u32 *pair) { return (T *)((u64)pair[1] << 32 | pair[0]); }

DEVICE float infinity() { return __int_as_float(0x7F800000); }

/* Index of the calling thread in a one-dimensional grid. It is unsigned, because the last block may extend beyond 2^31. */
DEVICE u32 thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }

DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }

#endif
