/* Resampling of [N, H, W, C] by a whole factor f: nearest (each pixel f x f times) and the mean of f x f pixels.
 * The adjoint of nearest is the sum, and that of the mean is the repeated pixel divided by f^2, so both kernels take a scale.
 */
#include "pool.h"

struct resampling {
  const float *x;
  float *y;
  int32_t h, w, c, factor; /* h, w: of the smaller image */
  float scale;
};

static void repeat_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct resampling *r = context;
  int32_t f = r->factor, c = r->c;
  const float *x = r->x + (size_t)task * (size_t)r->w * (size_t)c;
  for (int32_t dy = 0; dy < f; dy++) {
    float *y = r->y + ((size_t)task * (size_t)f + (size_t)dy) * (size_t)(r->w * f) * (size_t)c;
    for (int32_t i = 0; i < r->w; i++)
      for (int32_t dx = 0; dx < f; dx++, y += c)
        for (int32_t k = 0; k < c; k++) y[k] = r->scale * x[(size_t)i * (size_t)c + (size_t)k];
  }
}

/* y [N, H f, W f, C] = scale x [N, H, W, C], every pixel f x f times; rows = N H */
KERNEL void resample_repeat(const float *x, float *y, int32_t rows, int32_t w, int32_t c, int32_t factor, float scale) {
  struct resampling r = {.x = x, .y = y, .w = w, .c = c, .factor = factor, .scale = scale};
  pool_run(repeat_task, &r, rows);
}

static void sum_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct resampling *r = context;
  int32_t f = r->factor, c = r->c;
  for (int32_t i = 0; i < r->w; i++) {
    float *y = r->y + ((size_t)task * (size_t)r->w + (size_t)i) * (size_t)c;
    for (int32_t k = 0; k < c; k++) y[k] = 0.0f;
    for (int32_t dy = 0; dy < f; dy++)
      for (int32_t dx = 0; dx < f; dx++) {
        const float *x = r->x + (((size_t)task * (size_t)f + (size_t)dy) * (size_t)(r->w * f) + (size_t)(i * f + dx)) * (size_t)c;
        for (int32_t k = 0; k < c; k++) y[k] += x[k];
      }
    for (int32_t k = 0; k < c; k++) y[k] *= r->scale;
  }
}

/* y [N, H, W, C] = scale times the sum over f x f pixels of x [N, H f, W f, C]; rows = N H */
KERNEL void resample_sum(const float *x, float *y, int32_t rows, int32_t w, int32_t c, int32_t factor, float scale) {
  struct resampling r = {.x = x, .y = y, .w = w, .c = c, .factor = factor, .scale = scale};
  pool_run(sum_task, &r, rows);
}
