/* Kernels over elements whose threads have several neighbouring ones, read and written at once. */
#ifndef RECTIFLOW_SEVERAL_CUH
#define RECTIFLOW_SEVERAL_CUH

#include "common.cuh"

/* N elements that a thread moves with one instruction, or two where they have 32 bytes. */
template <class T, int N> struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) several {
  T of[N];
};

/* Whether N elements may be read at once, from a place that is a multiple of N elements away. */
template <int N, class T> DEVICE bool aligned(const T *p) { return (u64)p % alignof(several<T, N>) == 0; }

template <int N, class T> DEVICE const several<T, N> &at_once(const T *p) { return *(const several<T, N> *)p; }
template <int N, class T> DEVICE several<T, N> &at_once(T *p) { return *(several<T, N> *)p; }

/* The N elements of the calling thread, of n: all(first) if they exist and all operands are aligned, else one(i) for each. */
template <int N, class All, class One> DEVICE void each_of_several(int n, bool aligned, All all, One one) {
  u32 first = N * thread_number(), end = min(first + N, (u32)n);
  if (aligned && first + N <= (u32)n) all(first);
  else
#pragma unroll 1
    for (u32 i = first; i < end; i++) one(i);
}

#endif
