/* Resampling of [N, H, W, C] by a whole factor f: nearest (each pixel f x f times) and the sum of f x f pixels, scaled.
 * One thread per output element.
 */
#include "storage.cuh"

/* y [N, H f, W f, C] = scale x [N, H, W, C], n elements; w, c: of x */
KERNEL resample_repeat(const real *x, real *y, int n, int w, int c, int factor, float scale) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  u32 f = (u32)factor, k = i % (u32)c, column = i / (u32)c % ((u32)w * f), row = i / (u32)c / ((u32)w * f);
  y[i] = scale * x[((size_t)(row / f) * (size_t)w + column / f) * (size_t)c + k];
}

/* y [N, H, W, C] = scale times the sum over f x f pixels of x [N, H f, W f, C], n elements; w, c: of y */
KERNEL resample_sum(const real *x, real *y, int n, int w, int c, int factor, float scale) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  u32 f = (u32)factor, k = i % (u32)c, column = i / (u32)c % (u32)w, row = i / (u32)c / (u32)w;
  float sum = 0.0f;
  for (u32 dy = 0; dy < f; dy++)
    for (u32 dx = 0; dx < f; dx++)
      sum += x[((size_t)(row * f + dy) * ((size_t)w * f) + column * f + dx) * (size_t)c + k];
  y[i] = scale * sum;
}
