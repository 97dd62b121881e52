/* Random tensors, bit-identical to those of random.c: this file is compiled without contraction (--fmad=false), and division and
 * square root are rounded to nearest by default. A thread draws one block of the generator.
 */
#include "philox.cuh"
#include "storage.cuh"

/* The source of the numbers, as every kernel takes it */
#define SOURCE const u32 *origin, int seed_low, int seed_high, int sample_low, int sample_high, int stream

/* Four numbers v from the four words w of a block; the last arguments are parameters of the kernel */
#define GENERATE(name, type, statements, ...)                                                                          \
  KERNEL random_##name(type *out, int samples, int width, __VA_ARGS__) {                                               \
    u32 i = thread_number(), blocks = (u32)ceil_div(width, 4);                                                         \
    if (i >= (u32)samples * blocks) return;                                                                            \
    u32 sample = i / blocks, block = i % blocks, w[4];                                                                 \
    type v[4];                                                                                                         \
    draw d = draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream);                                    \
    philox(d, block, sample, w);                                                                                       \
    statements;                                                                                                        \
    type *to = out + (size_t)sample * (size_t)width + 4 * block;                                                       \
    int left = width - 4 * (int)block;                                                                                 \
    for (int k = 0; k < 4 && k < left; k++) to[k] = v[k];                                                              \
  }

DEVICE void normals(const u32 w[4], float v[4]) {
  normal_pair(w[0], w[1], &v[0], &v[1]);
  normal_pair(w[2], w[3], &v[2], &v[3]);
}

/* Standard normals [samples, width] */
GENERATE(normal, float, normals(w, v), SOURCE)

/* [0, 1) in steps of 2^-24, [samples, width] */
GENERATE(uniform, float, for (int k = 0; k < 4; k++) v[k] = (float)(int)(w[k] >> 8) * 5.9604644775390625e-8f, SOURCE)

/* Exponentials of mean `scale` [samples, width] */
GENERATE(exponential, float, for (int k = 0; k < 4; k++) v[k] = unit_exponential(w[k]) * scale, SOURCE, float scale)

/* Standard normals between low and high. Values outside are replaced by those of the block's next attempts. */
DEVICE void truncated_normals(const draw &d, u32 block, u32 sample, u32 w[4], float v[4], float low, float high) {
  normals(w, v);
  for (u32 attempt = 1; attempt < ATTEMPTS; attempt++) {
    bool outside = false;
    for (int k = 0; k < 4; k++) outside |= v[k] < low || v[k] > high;
    if (!outside) return;
    float next[4];
    philox_again(d, attempt, block, sample, w);
    normals(w, next);
    for (int k = 0; k < 4; k++)
      if (v[k] < low || v[k] > high) v[k] = next[k];
  }
}

GENERATE(truncated, float, truncated_normals(d, block, sample, w, v, low, high), SOURCE, float low, float high)

/* Whole numbers from `least`, below least + range. Words that would make some numbers likelier are replaced by those of the
 * block's next attempts. */
DEVICE void whole_numbers(const draw &d, u32 block, u32 sample, const u32 w[4], int v[4], int least, u32 range) {
  for (int k = 0; k < 4; k++) {
    u32 word = w[k], whole;
    for (u32 attempt = 1; !whole_below(range, word, &whole) && attempt < ATTEMPTS; attempt++) {
      u32 again[4];
      philox_again(d, attempt, block, sample, again);
      word = again[k];
    }
    v[k] = (int)((u32)least + whole);
  }
}

GENERATE(integer, int, whole_numbers(d, block, sample, w, v, least, (u32)range), SOURCE, int least, int range)

/* y = x * mask, where mask is 0 with probability threshold / 2^16, else scale. A block covers eight elements with 16 bits each. */
KERNEL random_dropout(const real *x, real *y, int samples, int width, SOURCE, int threshold, float scale) {
  u32 i = thread_number(), blocks = (u32)ceil_div(width, 8);
  if (i >= (u32)samples * blocks) return;
  u32 sample = i / blocks, block = i % blocks, w[4];
  philox(draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream), block, sample, w);
  size_t at = (size_t)sample * (size_t)width + 8 * block;
  int left = width - 8 * (int)block;
  for (int k = 0; k < 8 && k < left; k++) {
    int bits = (int)(w[k / 2] >> 16 * (k % 2) & 0xFFFFu);
    y[at + k] = x[at + k] * (bits < threshold ? 0.0f : scale);
  }
}
