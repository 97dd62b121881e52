/* Random tensors, as random.c has them bit by bit: this file is compiled without contraction (--fmad=false), and division and
 * square root are rounded to nearest by default. A thread draws one block of the generator.
 */
#include "philox.cuh"

/* log of u in (0, 1], at least 2^-24 */
DEVICE float unit_log(float u) {
  int bits = __float_as_int(u);
  float e = (float)((bits >> 23) - 126);
  float f = __int_as_float((bits & 0x007FFFFF) | 0x3F000000);
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
DEVICE void normal_pair(u32 a, u32 b, float *first, float *second) {
  float u = (float)(int)((a >> 8) + 1u) * 5.9604644775390625e-8f;
  float radius = __fsqrt_rn(-2.0f * unit_log(u));
  float turn = (float)(int)(b >> 8) * 2.384185791015625e-7f; /* quarter turns, [0, 4) */
  int quadrant = (int)(turn + 0.5f);
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

#define GENERATE(name, statements)                                                                                     \
  KERNEL random_##name(float *out, int samples, int width, int seed_low, int seed_high, int sample_low, int sample_high, \
                       int stream) {                                                                                   \
    u32 i = thread_number(), blocks = (u32)ceil_div(width, 4);                                                         \
    if (i >= (u32)samples * blocks) return;                                                                            \
    u32 sample = i / blocks, block = i % blocks, w[4];                                                                 \
    float v[4];                                                                                                        \
    philox(draw_of(seed_low, seed_high, sample_low, sample_high, stream), block, sample, w);                           \
    statements;                                                                                                        \
    float *to = out + (size_t)sample * (size_t)width + 4 * block;                                                      \
    int left = width - 4 * (int)block;                                                                                 \
    for (int k = 0; k < 4 && k < left; k++) to[k] = v[k];                                                              \
  }

/* Standard normals [samples, width] */
GENERATE(normal, normal_pair(w[0], w[1], &v[0], &v[1]); normal_pair(w[2], w[3], &v[2], &v[3]))

/* [0, 1) in steps of 2^-24, [samples, width] */
GENERATE(uniform, for (int k = 0; k < 4; k++) v[k] = (float)(int)(w[k] >> 8) * 5.9604644775390625e-8f)

/* y = x * mask, mask 0 with probability threshold / 2^16, else scale; a block serves eight elements, 16 bits each */
KERNEL random_dropout(const float *x, float *y, int samples, int width, int seed_low, int seed_high, int sample_low,
                      int sample_high, int stream, int threshold, float scale) {
  u32 i = thread_number(), blocks = (u32)ceil_div(width, 8);
  if (i >= (u32)samples * blocks) return;
  u32 sample = i / blocks, block = i % blocks, w[4];
  philox(draw_of(seed_low, seed_high, sample_low, sample_high, stream), block, sample, w);
  size_t at = (size_t)sample * (size_t)width + 8 * block;
  int left = width - 8 * (int)block;
  for (int k = 0; k < 8 && k < left; k++) {
    int bits = (int)(w[k / 2] >> 16 * (k % 2) & 0xFFFFu);
    y[at + k] = x[at + k] * (bits < threshold ? 0.0f : scale);
  }
}
