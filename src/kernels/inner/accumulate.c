/* The kernels of the autograd engine itself: target += value, and a count of NaN and infinity. */
#include "pool.h"

enum { CHUNK = 1 << 15 };

struct sum { float *target; const float *value; int32_t n; };

static void add_chunk(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct sum *s = context;
  int32_t begin = task * CHUNK, end = min32(s->n, begin + CHUNK), i = begin;
  for (; i + LANES <= end; i += LANES) store(s->target + i, load(s->target + i) + load(s->value + i));
  for (; i < end; i++) s->target[i] += s->value[i];
}

/* target[i] += value[i] */
KERNEL void accumulate_add(float *target, const float *value, int32_t n) {
  struct sum s = {target, value, n};
  pool_run(add_chunk, &s, n / CHUNK + (n % CHUNK != 0));
}

KERNEL double accumulate_count_nonfinite(const float *x, int32_t n) {
  int32_t count = 0;
  for (int32_t i = 0; i < n; i++) {
    union { float value; uint32_t bits; } u = {x[i]};
    count += (u.bits & 0x7F800000u) == 0x7F800000u;
  }
  return count;
}
