/* Random tensors, bit-identical to those of random.c: this file is compiled without contraction (--fmad=false), and division and
 * square root are rounded to nearest by default. A thread draws one block of the generator.
 */
#include "philox.cuh"
#include "storage.cuh"

#define GENERATE(name, statements)                                                                                     \
  KERNEL random_##name(float *out, int samples, int width, const u32 *origin, int seed_low, int seed_high,             \
                       int sample_low, int sample_high, int stream) {                                                  \
    u32 i = thread_number(), blocks = (u32)ceil_div(width, 4);                                                         \
    if (i >= (u32)samples * blocks) return;                                                                            \
    u32 sample = i / blocks, block = i % blocks, w[4];                                                                 \
    float v[4];                                                                                                        \
    philox(draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream), block, sample, w);                   \
    statements;                                                                                                        \
    float *to = out + (size_t)sample * (size_t)width + 4 * block;                                                      \
    int left = width - 4 * (int)block;                                                                                 \
    for (int k = 0; k < 4 && k < left; k++) to[k] = v[k];                                                              \
  }

/* Standard normals [samples, width] */
GENERATE(normal, normal_pair(w[0], w[1], &v[0], &v[1]); normal_pair(w[2], w[3], &v[2], &v[3]))

/* [0, 1) in steps of 2^-24, [samples, width] */
GENERATE(uniform, for (int k = 0; k < 4; k++) v[k] = (float)(int)(w[k] >> 8) * 5.9604644775390625e-8f)

/* y = x * mask, where mask is 0 with probability threshold / 2^16, else scale. A block covers eight elements with 16 bits each. */
KERNEL random_dropout(const real *x, real *y, int samples, int width, const u32 *origin, int seed_low, int seed_high,
                      int sample_low, int sample_high, int stream, int threshold, float scale) {
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
