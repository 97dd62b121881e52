/* Random tensors. Samples (the first axis) are numbered through the whole run, so that what a sample draws does not depend
 * on the batch it is in. Normals: Box and Muller with our own log and sincos in separately rounded operations (this file is
 * compiled without contraction), so that every device gives the same bits; tensor/philox.ts is the same in TypeScript.
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

/* log of u in (0, 1], at least 2^-24 */
INLINE float unit_log(float u) {
  union { float value; int32_t bits; } m = {u};
  float e = (float)((m.bits >> 23) - 126);
  m.bits = (m.bits & 0x007FFFFF) | 0x3F000000;
  float f = m.value;
  if (f < 0.70710678f) {
    e = e - 1.0f;
    f = f + f;
  }
  f = f - 1.0f;
  float z = f * f, p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  float y = p * f * z;
  y = y + e * -2.12194440e-4f;
  y = y - 0.5f * z;
  return f + y + e * 0.693359375f;
}

/* Two normals of two words: radius sqrt(-2 log u), u = (a / 2^8 + 1) / 2^24; angle 2 pi (b / 2^8) / 2^24 */
INLINE void normal_pair(uint32_t a, uint32_t b, float *first, float *second) {
  float u = (float)(int32_t)((a >> 8) + 1u) * 5.9604644775390625e-8f;
  float radius = __builtin_sqrtf(-2.0f * unit_log(u));
  float turn = (float)(int32_t)(b >> 8) * 2.384185791015625e-7f; /* quarter turns, [0, 4) */
  int32_t quadrant = (int32_t)(turn + 0.5f);
  float r = turn - (float)quadrant, z = r * r;
  float s = 1.6044118e-4f, c = -2.5202e-5f;
  s = s * z - 4.6817541e-3f;
  s = s * z + 7.9692626e-2f;
  s = s * z - 6.4596409e-1f;
  s = s * z + 1.5707963f;
  s = s * r;
  c = c * z + 9.1926027e-4f;
  c = c * z - 2.0863481e-2f;
  c = c * z + 2.5366951e-1f;
  c = c * z - 1.2337005f;
  c = c * z + 1.0f;
  float sine = quadrant & 1 ? c : s, cosine = quadrant & 1 ? s : c;
  if (quadrant & 2) sine = -sine;
  if ((quadrant + 1) & 2) cosine = -cosine;
  *first = radius * cosine;
  *second = radius * sine;
}

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
  KERNEL void random_##name(float *out, int32_t samples, int32_t width, int32_t seed_low, int32_t seed_high,            \
                            int32_t sample_low, int32_t sample_high, int32_t stream) {                                  \
    struct request r = {.draw = draw_of(seed_low, seed_high, sample_low, sample_high, stream), .out = out};             \
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

/* y = x * mask, mask 0 with probability threshold / 2^16, else scale; the same for y -> dx */
KERNEL void random_dropout(const float *x, float *y, int32_t samples, int32_t width, int32_t seed_low, int32_t seed_high,
                           int32_t sample_low, int32_t sample_high, int32_t stream, int32_t threshold, float scale) {
  struct request r = {.draw = draw_of(seed_low, seed_high, sample_low, sample_high, stream), .x = x, .out = y};
  r.samples = samples;
  r.width = width;
  r.threshold = threshold;
  r.scale = scale;
  r.blocks = ceil_div(width, 16 * MASK_ELEMENTS);
  pool_run(dropout_task, &r, samples * r.blocks);
}
