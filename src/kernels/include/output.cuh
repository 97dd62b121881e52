/* The matrix that a product writes: C = scale (sums + bias + add + residual), where bias, add and residual may be 0. */
#ifndef RECTIFLOW_OUTPUT_CUH
#define RECTIFLOW_OUTPUT_CUH

#include "several.cuh"
#include "storage.cuh"

/* What is added to N adjacent sums, apart from the bias. */
template <int N> struct addends {
  several<real, N> add, residual;
};

/* The address of an element of c, which is f32 if `wide`. */
DEVICE void *element_of(void *c, bool wide, size_t number) { return wide ? (void *)((float *)c + number) : (void *)((real *)c + number); }

struct output {
  void *c; /* [rows, columns], f32 if `wide` */
  int columns;
  bool wide = false;
  const float *bias = 0; /* [columns] */
  const real *add = 0;   /* [rows / area, columns] */
  int area = 1;
  const real *residual = 0; /* [rows, columns] */
  float scale = 1.0f;

  /* Whether eight columns, from a multiple of eight on, are always inside and at addresses that are multiples of 16 bytes. */
  __device__ __forceinline__ bool chunked() const { return columns % 8 == 0 && ((u64)c | (u64)bias | (u64)add | (u64)residual) % 16 == 0; }

  __device__ __forceinline__ size_t at(int row, int column) const { return (size_t)row * (size_t)columns + column; }

  template <int N> __device__ __forceinline__ void load(several<float, N> &to, int column) const {
    if (bias) to = *(const several<float, N> *)(bias + column);
  }

  template <int N> __device__ __forceinline__ void load(addends<N> &to, int row, int column) const {
    if (add) to.add = *(const several<real, N> *)(add + at(row / area, column));
    if (residual) to.residual = *(const several<real, N> *)(residual + at(row, column));
  }

  template <int N>
  __device__ __forceinline__ void store(int row, int column, several<float, N> sum, const several<float, N> &first, const addends<N> &more) const {
    several<real, N> rounded;
#pragma unroll
    for (int i = 0; i < N; i++) {
      if (bias) sum.of[i] += first.of[i];
      if (add) sum.of[i] += more.add.of[i];
      if (residual) sum.of[i] += more.residual.of[i];
      rounded.of[i] = sum.of[i] *= scale;
    }
    if (wide) *(several<float, N> *)((float *)c + at(row, column)) = sum;
    else *(several<real, N> *)((real *)c + at(row, column)) = rounded;
  }
};

#endif
