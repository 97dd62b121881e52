/* The machine's ceilings, measured: fused multiply-adds with everything in registers, and a copy from and to memory. */
#include "../src/kernels/include/pool.h"

enum { CHAINS = 24, COPY_CHUNK = 1 << 18 };

struct fma { float *sink; int32_t iterations; };

static void fma_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct fma *f = context;
  vec sum[CHAINS], factor = splat(0.999999f), term = splat(1e-6f);
  for (int32_t i = 0; i < CHAINS; i++) sum[i] = splat((float)i);
  for (int32_t n = 0; n < f->iterations; n++) {
#pragma GCC unroll 24
    for (int32_t i = 0; i < CHAINS; i++) sum[i] = sum[i] * factor + term;
  }
  vec total = {};
  for (int32_t i = 0; i < CHAINS; i++) total += sum[i];
  f->sink[task] = reduce_add(total);
}

/* Returns floating-point operations done: tasks x iterations x chains x lanes x 2. */
KERNEL double peak_fma(float *sink, int32_t tasks, int32_t iterations) {
  struct fma f = {sink, iterations};
  pool_run(fma_task, &f, tasks);
  return 2.0 * tasks * iterations * CHAINS * LANES;
}

struct copy { float *to; const float *from; int32_t n; };

static void copy_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct copy *c = context;
  int32_t begin = task * COPY_CHUNK, end = min32(c->n, begin + COPY_CHUNK);
  for (int32_t i = begin; i + LANES <= end; i += LANES) store(c->to + i, load(c->from + i));
}

KERNEL void peak_copy(float *to, const float *from, int32_t n) {
  struct copy c = {to, from, n};
  pool_run(copy_task, &c, ceil_div(n, COPY_CHUNK));
}
