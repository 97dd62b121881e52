/* Sums and maxima over the 32 lanes of a warp, in a fixed order; every lane gets the result. All lanes must call them. */
#ifndef RECTIFLOW_WARP_CUH
#define RECTIFLOW_WARP_CUH

#include "common.cuh"

#define WARP 32
#define ALL_LANES 0xFFFFFFFFu

DEVICE int lane_number() { return threadIdx.x % WARP; }
/* Index of the calling warp in a one-dimensional grid. */
DEVICE u32 warp_number() { return thread_number() / WARP; }

template <class T> DEVICE T warp_sum(T value) {
  for (int distance = WARP / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
  return value;
}

DEVICE float warp_max(float value) {
  for (int distance = WARP / 2; distance > 0; distance /= 2) {
    float other = __shfl_xor_sync(ALL_LANES, value, distance);
    value = other > value ? other : value;
  }
  return value;
}

#endif
