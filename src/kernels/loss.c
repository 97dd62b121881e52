/* Squared differences and their sum: STRETCH terms at a time are added in f32, and their sums in double. */
#include "pool.h"

enum { CHUNK = 1 << 13, STRETCH = 32 * LANES };

struct squares {
  const float *a, *b, *dy;
  float *out;
  double *partial;
  int32_t n, stride_dy;
  float scale;
};

static void sum_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct squares *s = context;
  int32_t i = task * CHUNK, end = min32(s->n, i + CHUNK);
  double total = 0;
  while (i < end) {
    int32_t stretch = min32(end, i + STRETCH);
    vec even = {}, odd = {};
    for (; i + 2 * LANES <= stretch; i += 2 * LANES) {
      vec d0 = load(s->a + i) - load(s->b + i), d1 = load(s->a + i + LANES) - load(s->b + i + LANES);
      even += d0 * d0;
      odd += d1 * d1;
    }
    float rest = 0;
    for (; i < stretch; i++) rest += (s->a[i] - s->b[i]) * (s->a[i] - s->b[i]);
    total += (double)reduce_add(even + odd) + (double)rest;
  }
  s->partial[task] = total;
}

/* Bytes of scratch memory for loss_squares_sum. */
KERNEL double loss_squares_scratch(int32_t n) { return 8.0 * (n / CHUNK + 1); }

/* out[0] = scale sum (a - b)^2 */
KERNEL void loss_squares_sum(const float *a, const float *b, float *out, double *partial, int32_t n, float scale) {
  struct squares s = {.a = a, .b = b, .partial = partial, .n = n};
  int32_t tasks = ceil_div(n, CHUNK);
  pool_run(sum_task, &s, tasks);
  double sum = 0;
  for (int32_t i = 0; i < tasks; i++) sum += partial[i];
  out[0] = (float)(sum * (double)scale);
}

static void each_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct squares *s = context;
  int32_t begin = task * CHUNK, end = min32(s->n, begin + CHUNK);
  for (int32_t i = begin; i < end; i++) s->out[i] = (s->a[i] - s->b[i]) * (s->a[i] - s->b[i]);
}

/* out = (a - b)^2 */
KERNEL void loss_squares(const float *a, const float *b, float *out, int32_t n) {
  struct squares s = {.a = a, .b = b, .out = out, .n = n};
  pool_run(each_task, &s, ceil_div(n, CHUNK));
}

static void backward_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct squares *s = context;
  int32_t begin = task * CHUNK, end = min32(s->n, begin + CHUNK);
  float g = 2.0f * s->scale;
  if (s->stride_dy == 0) {
    g *= s->dy[0];
    for (int32_t i = begin; i < end; i++) s->out[i] = g * (s->a[i] - s->b[i]);
  } else {
    for (int32_t i = begin; i < end; i++) s->out[i] = g * s->dy[i] * (s->a[i] - s->b[i]);
  }
}

/* da = 2 scale dy (a - b); one dy per element (stride 1) or one for all (stride 0) */
KERNEL void loss_squares_backward(const float *a, const float *b, const float *dy, float *da, int32_t n, int32_t stride,
                                  float scale) {
  struct squares s = {.a = a, .b = b, .dy = dy, .out = da, .n = n, .stride_dy = stride, .scale = scale};
  pool_run(backward_task, &s, ceil_div(n, CHUNK));
}
