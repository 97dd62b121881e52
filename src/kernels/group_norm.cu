/* Group normalisation of [N, pixels, C] and what may follow it in the same pass:
 *   h = (x - mean) / sqrt(var + eps) * weight + bias;  y = resample(dropout(silu(h)))
 * x may be two parts that stand for their concatenation on channels. Statistics in two passes, in double where threads meet.
 */
#include "philox.cuh"
#include "storage.cuh"
#include "warp.cuh"

enum { RESAMPLE_UP = 1, RESAMPLE_DOWN = 2 };

struct normalisation {
  const real *x0, *x1;
  const float *weight, *bias, *mean, *rstd; /* mean, rstd [N, groups] */
  int n, h, w, part0, part1, c, groups, width, resample, silu;
  draw words;
  int threshold;
  float keep_scale;
};

/* table: N, H, W, C of both parts, groups, resample, silu */
DEVICE normalisation norm_of(const real *x0, const real *x1, const float *weight, const float *bias, const float *stats,
                    const int *t) {
  normalisation g = {x0, x1, weight, bias, stats, stats + (size_t)t[0] * (size_t)t[5], t[0], t[1], t[2], t[3], t[4], t[3] + t[4], t[5]};
  g.width = g.c / g.groups;
  g.resample = t[6];
  g.silu = t[7];
  return g;
}

DEVICE float input(const normalisation &g, int sample, int pixel, int channel) {
  size_t at = (size_t)sample * (size_t)(g.h * g.w) + (size_t)pixel;
  return channel < g.part0 ? (float)g.x0[at * g.part0 + channel] : (float)g.x1[at * g.part1 + (channel - g.part0)];
}

/* mean and rstd of a group: a warp each */
KERNEL group_norm_stats(const real *x0, const real *x1, float *stats, const int *table, float eps) {
  normalisation g = norm_of(x0, x1, 0, 0, stats, table);
  u32 which = warp_number();
  if (which >= (u32)g.n * (u32)g.groups) return;
  int sample = (int)(which / (u32)g.groups), first = (int)(which % (u32)g.groups) * g.width, pixels = g.h * g.w;
  u32 terms = (u32)pixels * (u32)g.width;
  double mean = 0;
  for (int pass = 0; pass < 2; pass++) {
    double sum = 0;
    for (u32 i = (u32)lane_number(); i < terms; i += WARP) {
      double d = (double)input(g, sample, (int)(i / (u32)g.width), first + (int)(i % (u32)g.width)) - mean;
      sum += pass ? d * d : d;
    }
    double value = warp_sum(sum) / terms;
    if (pass == 0) mean = (double)(float)value;
    else if (lane_number() == 0) {
      stats[which] = (float)mean;
      stats[(size_t)g.n * (size_t)g.groups + which] = (float)(1.0 / sqrt(value + (double)eps));
    }
  }
}

/* 0 for an element of the sample that is dropped, else the scale of those that are kept */
DEVICE float mask(const normalisation &g, int sample, u32 element) {
  u32 words[4];
  philox(g.words, element / 8, (u64)sample, words);
  int bits = (int)(words[element % 8 / 2] >> 16 * (element % 2) & 0xFFFFu);
  return bits < g.threshold ? 0.0f : g.keep_scale;
}

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/* Number of a group among all samples'. */
DEVICE size_t group_of(const normalisation &g, int sample, int channel) {
  return (size_t)sample * (size_t)g.groups + (size_t)(channel / g.width);
}

DEVICE float normalised(const normalisation &g, int sample, int pixel, int channel) {
  size_t group = group_of(g, sample, channel);
  return (input(g, sample, pixel, channel) - g.mean[group]) * g.rstd[group];
}

/* dropout(silu(h)) */
DEVICE float activated(const normalisation &g, int sample, int pixel, int channel) {
  float h = normalised(g, sample, pixel, channel) * g.weight[channel] + g.bias[channel];
  float v = g.silu ? h * sigmoid(h) : h;
  return g.threshold ? v * mask(g, sample, (u32)pixel * (u32)g.c + (u32)channel) : v;
}

/* y of `count` elements, a thread each */
KERNEL group_norm_apply(const real *x0, const real *x1, const float *weight, const float *bias, const float *stats, real *y,
                        const int *table, int count, const u32 *origin, int seed_low, int seed_high, int sample_low,
                        int sample_high, int stream, int threshold, float keep_scale) {
  u32 i = thread_number();
  if (i >= (u32)count) return;
  normalisation g = norm_of(x0, x1, weight, bias, stats, table);
  g.words = draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream);
  g.threshold = threshold, g.keep_scale = keep_scale;
  int h = g.h, w = g.w;
  if (g.resample == RESAMPLE_UP) h *= 2, w *= 2;
  if (g.resample == RESAMPLE_DOWN) h /= 2, w /= 2;
  int channel = (int)(i % (u32)g.c), column = (int)(i / (u32)g.c % (u32)w), row = (int)(i / (u32)g.c / (u32)w % (u32)h);
  int sample = (int)(i / (u32)g.c / (u32)w / (u32)h);
  if (g.resample == RESAMPLE_DOWN) {
    float sum = 0.0f;
    for (int q = 0; q < 4; q++) sum += activated(g, sample, (2 * row + q / 2) * g.w + 2 * column + q % 2, channel);
    y[i] = 0.25f * sum;
  } else {
    int shrink = g.resample == RESAMPLE_UP ? 2 : 1;
    y[i] = activated(g, sample, row / shrink * g.w + column / shrink, channel);
  }
}

/* ---------------------------------------------------------------- backward */

/* d(loss) / d(h) at a pixel: the adjoint of resampling, dropout and SiLU */
DEVICE float upstream(const normalisation &g, const real *dy, int sample, int pixel, int channel, float centred) {
  int row = pixel / g.w, column = pixel % g.w;
  size_t c = (size_t)g.c, pixels = (size_t)(g.h * g.w);
  float d;
  if (g.resample == RESAMPLE_UP) {
    const real *corner = dy + ((size_t)sample * 4 * pixels + (size_t)(2 * row) * (size_t)(2 * g.w) + (size_t)(2 * column)) * c + channel;
    const real *below = corner + (size_t)(2 * g.w) * c;
    d = (corner[0] + corner[c]) + (below[0] + below[c]);
  } else if (g.resample == RESAMPLE_DOWN) {
    size_t small = (size_t)(g.h / 2 * (g.w / 2));
    d = 0.25f * dy[((size_t)sample * small + (size_t)(row / 2 * (g.w / 2) + column / 2)) * c + channel];
  } else {
    d = dy[((size_t)sample * pixels + (size_t)pixel) * c + channel];
  }
  if (g.threshold) d *= mask(g, sample, (u32)pixel * (u32)g.c + (u32)channel);
  if (!g.silu) return d;
  float h = centred * g.weight[channel] + g.bias[channel], s = sigmoid(h);
  return d * (s * (1.0f + h * (1.0f - s)));
}

/* sums: of dh (x - mean) rstd [N, C], then of dh [N, C]: what the gradients of weight and bias are summed from. A warp each. */
KERNEL group_norm_channel_sums(const real *x0, const real *x1, const float *weight, const float *bias, const float *stats,
                               const real *dy, float *sums, const int *table, const u32 *origin, int seed_low, int seed_high,
                               int sample_low, int sample_high, int stream, int threshold, float keep_scale) {
  normalisation g = norm_of(x0, x1, weight, bias, stats, table);
  g.words = draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream);
  g.threshold = threshold, g.keep_scale = keep_scale;
  u32 which = warp_number(), channels = (u32)g.n * (u32)g.c;
  if (which >= channels) return;
  int sample = (int)(which / (u32)g.c), channel = (int)(which % (u32)g.c), pixels = g.h * g.w;
  double weighted = 0, plain = 0;
  for (int pixel = lane_number(); pixel < pixels; pixel += WARP) {
    float centred = normalised(g, sample, pixel, channel), d = upstream(g, dy, sample, pixel, channel, centred);
    weighted += (double)(d * centred);
    plain += (double)d;
  }
  weighted = warp_sum(weighted);
  plain = warp_sum(plain);
  if (lane_number() == 0) sums[which] = (float)weighted, sums[channels + which] = (float)plain;
}

/* means [2][N, groups] of the sums, weighted, over the elements of a group; a thread each */
KERNEL group_norm_group_means(const float *weight, const float *sums, float *means, const int *table) {
  normalisation g = norm_of(0, 0, weight, 0, 0, table);
  u32 which = thread_number(), all = (u32)g.n * (u32)g.groups;
  if (which >= 2 * all) return;
  const float *of = sums + (which < all ? 0 : (size_t)g.n * (size_t)g.c);
  u32 sample = which % all / (u32)g.groups, group = which % (u32)g.groups;
  double sum = 0;
  for (int i = 0; i < g.width; i++) {
    int channel = (int)group * g.width + i;
    sum += (double)of[(size_t)sample * (size_t)g.c + (size_t)channel] * (double)weight[channel];
  }
  means[which] = (float)(sum / ((double)g.width * g.h * g.w));
}

/* dx = rstd (weight dh - mean(weight dh) - x^ mean(weight dh x^)), x^ = (x - mean) rstd; a thread each of `count` */
KERNEL group_norm_input_gradient(const real *x0, const real *x1, const float *weight, const float *bias, const float *stats,
                                 const real *dy, const float *means, real *dx0, real *dx1, const int *table, int count,
                                 const u32 *origin, int seed_low, int seed_high, int sample_low, int sample_high, int stream,
                                 int threshold, float keep_scale) {
  u32 i = thread_number();
  if (i >= (u32)count) return;
  normalisation g = norm_of(x0, x1, weight, bias, stats, table);
  g.words = draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream);
  g.threshold = threshold, g.keep_scale = keep_scale;
  u32 position = i / (u32)g.c, pixels = (u32)(g.h * g.w);
  int channel = (int)(i % (u32)g.c), sample = (int)(position / pixels), pixel = (int)(position % pixels);
  size_t group = group_of(g, sample, channel);
  float centred = normalised(g, sample, pixel, channel), d = upstream(g, dy, sample, pixel, channel, centred);
  float slope = means[group], level = means[(size_t)g.n * (size_t)g.groups + group];
  float dx = g.rstd[group] * (d * weight[channel] - level - centred * slope);
  if (channel < g.part0) dx0[(size_t)position * (size_t)g.part0 + channel] = dx;
  else dx1[(size_t)position * (size_t)g.part1 + (channel - g.part0)] = dx;
}
