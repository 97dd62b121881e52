/* Resampling of [N, H, W, C] by a whole factor f: nearest (each pixel f x f times) and the sum of f x f pixels, scaled.
 * A thread has N neighbouring channels of a pixel of the smaller image: one, or eight if they are aligned.
 */
#include "several.cuh"
#include "storage.cuh"

/* A thread's place: its first channel, and the offsets of its pixel in the smaller image and of the first of f x f in the larger. */
struct place {
  size_t small, large, line; /* line: the elements of a line of the larger image */
};

template <int N> DEVICE place place_of(u32 i, int w, int c, int factor) {
  u32 each = (u32)c / N, k = i % each * N, pixel = i / each, row = pixel / (u32)w, column = pixel % (u32)w;
  size_t line = (size_t)w * (size_t)factor * (size_t)c;
  return {(size_t)pixel * (size_t)c + k, (size_t)row * (size_t)factor * line + (size_t)column * (size_t)factor * (size_t)c + k, line};
}

template <int N> DEVICE void repeat(const real *x, real *y, int n, int w, int c, int factor, float scale) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  place p = place_of<N>(i, w, c, factor);
  several<real, N> v = at_once<N>(x + p.small);
#pragma unroll
  for (int k = 0; k < N; k++) v.of[k] = scale * v.of[k];
#pragma unroll 1
  for (int dy = 0; dy < factor; dy++)
#pragma unroll 1
    for (int dx = 0; dx < factor; dx++) at_once<N>(y + p.large + (size_t)dy * p.line + (size_t)dx * (size_t)c) = v;
}

template <int N> DEVICE void sum(const real *x, real *y, int n, int w, int c, int factor, float scale) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  place p = place_of<N>(i, w, c, factor);
  float sums[N] = {};
#pragma unroll 1
  for (int dy = 0; dy < factor; dy++)
#pragma unroll 2
    for (int dx = 0; dx < factor; dx++) {
      several<real, N> v = at_once<N>(x + p.large + (size_t)dy * p.line + (size_t)dx * (size_t)c);
#pragma unroll
      for (int k = 0; k < N; k++) sums[k] += v.of[k];
    }
  several<real, N> v;
#pragma unroll
  for (int k = 0; k < N; k++) v.of[k] = scale * sums[k];
  at_once<N>(y + p.small) = v;
}

/* y [N, H f, W f, C] = scale x [N, H, W, C], and y [N, H, W, C] = scale times the sum over f x f pixels of x [N, H f, W f, C]; n threads;
 * w: of the smaller image; c: channels, a multiple of eight for _eights */
#define RESAMPLE(name, N, kernel) \
  KERNEL name(const real *x, real *y, int n, int w, int c, int factor, float scale) { kernel<N>(x, y, n, w, c, factor, scale); }

RESAMPLE(resample_repeat, 1, repeat)
RESAMPLE(resample_repeat_eights, 8, repeat)
RESAMPLE(resample_sum, 1, sum)
RESAMPLE(resample_sum_eights, 8, sum)
