/* The storage type of activations: `real` is f32 or (with -DSTORAGE_BF16) bfloat16. It is read as a float and written from one,
 * rounded to nearest even, so that kernels compute in f32 and one source serves both.
 */
#ifndef RECTIFLOW_STORAGE_CUH
#define RECTIFLOW_STORAGE_CUH

#include "common.cuh"
#include "ptx.cuh"

/* The upper half of an f32. */
struct bf16 {
  u16 bits;
  __device__ __forceinline__ operator float() const { return __uint_as_float((u32)bits << 16); }
  __device__ __forceinline__ bf16 &operator=(float x) {
    bits = bf16_of(x);
    return *this;
  }
};

#ifdef STORAGE_BF16
typedef bf16 real;
#else
typedef float real;
#endif

#endif
