/* Random tensors. Samples (the first axis) are numbered through the whole run, so that the numbers of a sample do not depend on
 * its batch. Normals are computed by the Box-Muller transform, with our own log and sincos. Each operation is rounded separately
 * (this file is compiled without contraction), so that every device gives the same bits; tensor/philox.ts does it in TypeScript.
 */
#include "philox.h"
#include "pool.h"

enum { BLOCKS_PER_TASK = 1 << 12, MASK_ELEMENTS = 256 };

struct request {
  struct draw draw;
  const float *x;
  float *out, scale;
  int32_t samples, width, blocks, threshold;
};

#define BLOCK_TASK(name, statements)                                                                 \
  static void name##_task(void *context, int32_t task, int32_t worker) {                             \
    (void)worker;                                                                                    \
    const struct request *r = context;                                                               \
    int64_t all = (int64_t)r->samples * r->blocks, begin = (int64_t)task * BLOCKS_PER_TASK;          \
    int64_t end = begin + BLOCKS_PER_TASK < all ? begin + BLOCKS_PER_TASK : all;                     \
    for (int64_t i = begin; i < end; i++) {                                                          \
      uint32_t w[4];                                                                                 \
      float v[4];                                                                                    \
      int64_t sample = i / r->blocks;                                                                \
      int32_t block = (int32_t)(i % r->blocks), left = r->width - 4 * block;                         \
      philox(&r->draw, (uint32_t)block, (uint64_t)sample, w);                                        \
      statements;                                                                                    \
      float *out = r->out + (size_t)sample * (size_t)r->width + (size_t)(4 * block);                 \
      for (int32_t k = 0; k < 4 && k < left; k++) out[k] = v[k];                                     \
    }                                                                                                \
  }                                                                                                  \
  KERNEL void random_##name(float *out, int32_t samples, int32_t width, const uint32_t *origin, int32_t seed_low,    \
                            int32_t seed_high, int32_t sample_low, int32_t sample_high, int32_t stream) {            \
    struct request r = {.draw = draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream), .out = out};  \
    r.samples = samples;                                                                             \
    r.width = width;                                                                                 \
    r.blocks = ceil_div(width, 4);                                                                   \
    pool_run(name##_task, &r, (int32_t)(((int64_t)samples * r.blocks + BLOCKS_PER_TASK - 1) / BLOCKS_PER_TASK));        \
  }

/* Standard normals [samples, width] */
BLOCK_TASK(normal, normal_pair(w[0], w[1], &v[0], &v[1]); normal_pair(w[2], w[3], &v[2], &v[3]))

/* [0, 1) in steps of 2^-24, [samples, width] */
BLOCK_TASK(uniform, for (int32_t k = 0; k < 4; k++) v[k] = (float)(int32_t)(w[k] >> 8) * 5.9604644775390625e-8f)

static void dropout_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct request *r = context;
  int32_t sample = task / r->blocks, part = task % r->blocks;
  int32_t begin = part * 16 * MASK_ELEMENTS, end = min32(r->width, begin + 16 * MASK_ELEMENTS);
  float mask[MASK_ELEMENTS];
  for (int32_t first = begin; first < end; first += MASK_ELEMENTS) {
    int32_t count = min32(MASK_ELEMENTS, end - first);
    size_t at = (size_t)sample * (size_t)r->width + (size_t)first;
    dropout_mask(&r->draw, (uint64_t)sample, first, count, r->threshold, r->scale, mask);
    for (int32_t i = 0; i < count; i++) r->out[at + (size_t)i] = r->x[at + (size_t)i] * mask[i];
  }
}

/* y = x * mask, where mask is 0 with probability threshold / 2^16, else scale; dx is computed from dy in the same way. */
KERNEL void random_dropout(const float *x, float *y, int32_t samples, int32_t width, const uint32_t *origin, int32_t seed_low,
                           int32_t seed_high, int32_t sample_low, int32_t sample_high, int32_t stream, int32_t threshold,
                           float scale) {
  struct request r = {.draw = draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream), .x = x, .out = y};
  r.samples = samples;
  r.width = width;
  r.threshold = threshold;
  r.scale = scale;
  r.blocks = ceil_div(width, 16 * MASK_ELEMENTS);
  pool_run(dropout_task, &r, samples * r.blocks);
}
