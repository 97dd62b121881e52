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
  void *out;
  float scale, low, high;
  int32_t samples, width, blocks, threshold, least;
  uint32_t range;
};

/* The source of the numbers, as every kernel takes it */
#define SOURCE                                                                                                        \
  const uint32_t *origin, int32_t seed_low, int32_t seed_high, int32_t sample_low, int32_t sample_high, int32_t stream
#define DRAW draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream)

/* Tasks that write four numbers v from the four words w of each block */
#define BLOCK_TASK(name, type, statements)                                                           \
  static void name##_task(void *context, int32_t task, int32_t worker) {                             \
    (void)worker;                                                                                    \
    const struct request *r = context;                                                               \
    int64_t all = (int64_t)r->samples * r->blocks, begin = (int64_t)task * BLOCKS_PER_TASK;          \
    int64_t end = begin + BLOCKS_PER_TASK < all ? begin + BLOCKS_PER_TASK : all;                     \
    for (int64_t i = begin; i < end; i++) {                                                          \
      uint32_t w[4];                                                                                 \
      type v[4];                                                                                     \
      int64_t sample = i / r->blocks;                                                                \
      int32_t block = (int32_t)(i % r->blocks), left = r->width - 4 * block;                         \
      philox(&r->draw, (uint32_t)block, (uint64_t)sample, w);                                        \
      statements;                                                                                    \
      type *out = (type *)r->out + (size_t)sample * (size_t)r->width + (size_t)(4 * block);          \
      for (int32_t k = 0; k < 4 && k < left; k++) out[k] = v[k];                                     \
    }                                                                                                \
  }

static void run_blocks(pool_body body, struct request r, int32_t samples, int32_t width) {
  r.samples = samples;
  r.width = width;
  r.blocks = ceil_div(width, 4);
  pool_run(body, &r, (int32_t)(((int64_t)samples * r.blocks + BLOCKS_PER_TASK - 1) / BLOCKS_PER_TASK));
}

/* Standard normals [samples, width] */
BLOCK_TASK(normal, float, normal_pair(w[0], w[1], &v[0], &v[1]); normal_pair(w[2], w[3], &v[2], &v[3]))

KERNEL void random_normal(float *out, int32_t samples, int32_t width, SOURCE) {
  run_blocks(normal_task, (struct request){.draw = DRAW, .out = out}, samples, width);
}

/* [0, 1) in steps of 2^-24, [samples, width] */
BLOCK_TASK(uniform, float, for (int32_t k = 0; k < 4; k++) v[k] = (float)(int32_t)(w[k] >> 8) * 5.9604644775390625e-8f)

KERNEL void random_uniform(float *out, int32_t samples, int32_t width, SOURCE) {
  run_blocks(uniform_task, (struct request){.draw = DRAW, .out = out}, samples, width);
}

/* Exponentials of mean `scale` [samples, width] */
BLOCK_TASK(exponential, float, for (int32_t k = 0; k < 4; k++) v[k] = unit_exponential(w[k]) * r->scale)

KERNEL void random_exponential(float *out, int32_t samples, int32_t width, SOURCE, float scale) {
  run_blocks(exponential_task, (struct request){.draw = DRAW, .out = out, .scale = scale}, samples, width);
}

/* Standard normals between low and high. Values outside are replaced by those of the block's next attempts. */
INLINE void truncated_normals(const struct request *r, uint32_t block, uint64_t sample, uint32_t w[4], float v[4]) {
  normal_pair(w[0], w[1], &v[0], &v[1]);
  normal_pair(w[2], w[3], &v[2], &v[3]);
  for (uint32_t attempt = 1; attempt < ATTEMPTS; attempt++) {
    int32_t outside = 0;
    for (int32_t k = 0; k < 4; k++) outside |= v[k] < r->low || v[k] > r->high;
    if (!outside) return;
    float next[4];
    philox_again(&r->draw, attempt, block, sample, w);
    normal_pair(w[0], w[1], &next[0], &next[1]);
    normal_pair(w[2], w[3], &next[2], &next[3]);
    for (int32_t k = 0; k < 4; k++)
      if (v[k] < r->low || v[k] > r->high) v[k] = next[k];
  }
}

BLOCK_TASK(truncated, float, truncated_normals(r, (uint32_t)block, (uint64_t)sample, w, v))

KERNEL void random_truncated(float *out, int32_t samples, int32_t width, SOURCE, float low, float high) {
  run_blocks(truncated_task, (struct request){.draw = DRAW, .out = out, .low = low, .high = high}, samples, width);
}

/* Whole numbers from `least`, below least + range. Words that would make some numbers likelier are replaced by those of the
 * block's next attempts. */
INLINE void whole_numbers(const struct request *r, uint32_t block, uint64_t sample, const uint32_t w[4], int32_t v[4]) {
  for (int32_t k = 0; k < 4; k++) {
    uint32_t word = w[k], whole;
    for (uint32_t attempt = 1; !whole_below(r->range, word, &whole) && attempt < ATTEMPTS; attempt++) {
      uint32_t again[4];
      philox_again(&r->draw, attempt, block, sample, again);
      word = again[k];
    }
    v[k] = (int32_t)((uint32_t)r->least + whole);
  }
}

BLOCK_TASK(integer, int32_t, whole_numbers(r, (uint32_t)block, (uint64_t)sample, w, v))

KERNEL void random_integer(int32_t *out, int32_t samples, int32_t width, SOURCE, int32_t least, int32_t range) {
  struct request r = {.draw = DRAW, .out = out, .least = least, .range = (uint32_t)range};
  run_blocks(integer_task, r, samples, width);
}

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
    float *out = (float *)r->out + at;
    for (int32_t i = 0; i < count; i++) out[i] = r->x[at + (size_t)i] * mask[i];
  }
}

/* y = x * mask, where mask is 0 with probability threshold / 2^16, else scale; dx is computed from dy in the same way. */
KERNEL void random_dropout(const float *x, float *y, int32_t samples, int32_t width, SOURCE, int32_t threshold, float scale) {
  struct request r = {.draw = DRAW, .x = x, .out = y};
  r.samples = samples;
  r.width = width;
  r.threshold = threshold;
  r.scale = scale;
  r.blocks = ceil_div(width, 16 * MASK_ELEMENTS);
  pool_run(dropout_task, &r, samples * r.blocks);
}
