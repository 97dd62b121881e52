/* Group normalisation of [N, pixels, C], fused with what may follow it:
 *   h = (x - mean) / sqrt(var + eps) * weight + bias;  y = resample(dropout(silu(h)))
 * x may be two parts, treated as their concatenation along channels. A block computes as many groups of a sample as make 32 bytes
 * of a pixel. It reads them several times: two passes for the statistics, then one for the result. group_norm_slices.cu is faster for
 * channels in multiples of 8.
 */
#include "norm.cuh"
#include "warp.cuh"

DEVICE float input(const normalisation &g, int sample, int pixel, int channel) {
  size_t at = (size_t)sample * (size_t)(g.h * g.w) + (size_t)pixel;
  return channel < g.part0 ? (float)g.x0[at * g.part0 + channel] : (float)g.x1[at * g.part1 + (channel - g.part0)];
}

/* ---------------------------------------------------------------- the work of a block of THREADS */

#define THREADS 256
#define MOST_GROUPS 16 /* in a block */

/* The work of the calling block: `groups` groups of a sample, from `first` on. A thread owns channel `column` of the block, every
 * columns-th one after it, and every rows-th pixel from `row` on; it has no work if row >= rows. If a block has several groups, they
 * have fewer channels than the block has threads, so that the channels of a thread belong to one group. */
struct share {
  int sample, first, groups, channel0, channels, columns, rows, column, row;
};

DEVICE share share_of(const normalisation &g, int per_block) {
  share s;
  u32 blocks = (u32)ceil_div(g.groups, per_block); /* per sample */
  s.sample = (int)(blockIdx.x / blocks), s.first = (int)(blockIdx.x % blocks) * per_block;
  s.groups = min(per_block, g.groups - s.first);
  s.channel0 = s.first * g.width, s.channels = s.groups * g.width;
  s.columns = min(s.channels, THREADS), s.rows = THREADS / s.columns;
  s.column = (int)threadIdx.x % s.columns, s.row = (int)threadIdx.x / s.columns;
  return s;
}

struct meeting {
  double values[THREADS], totals[MOST_GROUPS];
};

/* Sum of the values of all threads over the group of the calling thread, in a fixed order. All threads must call it. */
DEVICE double group_total(meeting &m, const share &s, double value) {
  int width = s.columns / s.groups, members = width * s.rows;
  __syncthreads();
  m.values[threadIdx.x] = value;
  __syncthreads();
  for (int group = (int)threadIdx.x / WARP; group < s.groups; group += THREADS / WARP) {
    double sum = 0;
    for (int i = lane_number(); i < members; i += WARP) sum += m.values[i / width * s.columns + group * width + i % width];
    sum = warp_sum(sum);
    if (lane_number() == 0) m.totals[group] = sum;
  }
  __syncthreads();
  return m.totals[s.column / width];
}

/* Sum of the values of all threads in the column of the calling thread. All threads must call it. */
DEVICE double column_total(meeting &m, const share &s, double value) {
  if (s.rows == 1) return value;
  __syncthreads();
  m.values[threadIdx.x] = value;
  __syncthreads();
  double sum = 0;
  for (int row = 0; row < s.rows; row++) sum += m.values[row * s.columns + s.column];
  return sum;
}

/* 0 for a dropped element of the sample, else the scale of kept elements */
DEVICE float mask(const normalisation &g, int sample, u32 element) {
  u32 words[4];
  philox(g.words, element / 8, (u64)sample, words);
  int bits = (int)(words[element % 8 / 2] >> 16 * (element % 2) & 0xFFFFu);
  return bits < g.threshold ? 0.0f : g.keep_scale;
}

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/* Index of a group among those of all samples. */
DEVICE size_t group_of(const normalisation &g, int sample, int channel) {
  return (size_t)sample * (size_t)g.groups + (size_t)(channel / g.width);
}

/* The coefficients of a channel in a sample. The rounding error of a sum of nearly equal numbers is large compared to their
 * deviation, so `shift` holds the correction of the mean (`rest`), computed from the differences, times rstd. */
struct affine {
  float mean, rstd, shift, weight, bias;
};

DEVICE float normalised(const normalisation &g, const affine &a, int sample, int pixel, int channel) {
  return (input(g, sample, pixel, channel) - a.mean) * a.rstd - a.shift;
}

/* dropout(silu(h)) */
DEVICE float activated(const normalisation &g, const affine &a, int sample, int pixel, int channel) {
  float h = normalised(g, a, sample, pixel, channel) * a.weight + a.bias;
  float v = g.silu ? h * sigmoid(h) : h;
  return g.threshold ? v * mask(g, sample, (u32)pixel * (u32)g.c + (u32)channel) : v;
}

/* Computes mean, rstd and the rest of the mean of the groups, then y. */
KERNEL __launch_bounds__(THREADS) group_norm_forward(const real *x0, const real *x1, const float *weight, const float *bias, float *stats, real *y,
                        const int *table, int per_block, float eps, const u32 *origin, int seed_low, int seed_high,
                        int sample_low, int sample_high, int stream, int threshold, float keep_scale) {
  __shared__ meeting shared;
  normalisation g = norm_of(x0, x1, weight, bias, stats, table);
  g.words = draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream);
  g.threshold = threshold, g.keep_scale = keep_scale;
  share s = share_of(g, per_block);
  int pixels = g.h * g.w;
  double terms = (double)pixels * (double)g.width;
  float mean = 0.0f, rest = 0.0f, rstd = 0.0f;
  for (int pass = 0; pass < 2; pass++) {
    double total = 0, squared = 0;
    for (int c = s.column; s.row < s.rows && c < s.channels; c += s.columns) {
      float sum = 0.0f, squares = 0.0f;
      for (int pixel = s.row; pixel < pixels; pixel += s.rows) {
        float d = input(g, s.sample, pixel, s.channel0 + c) - mean;
        sum += d;
        squares += d * d;
      }
      total += (double)sum;
      squared += (double)squares;
    }
    total = group_total(shared, s, total) / terms;
    if (pass == 0) {
      mean = (float)total;
      continue;
    }
    rstd = rstd_of(group_total(shared, s, squared) / terms, total, eps);
    rest = (float)total;
  }
  size_t group = group_of(g, s.sample, s.channel0 + s.column);
  if (s.row == 0 && s.column % (s.columns / s.groups) == 0) {
    stats[group] = mean;
    stats[(size_t)g.n * (size_t)g.groups + group] = rstd;
    stats[2 * (size_t)g.n * (size_t)g.groups + group] = rest;
  }
  int h = g.h, w = g.w;
  if (g.resample == RESAMPLE_UP) h *= 2, w *= 2;
  if (g.resample == RESAMPLE_DOWN) h /= 2, w /= 2;
  if (s.row >= s.rows) return;
  for (int c = s.column; c < s.channels; c += s.columns) {
    int channel = s.channel0 + c;
    affine a = {mean, rstd, rest * rstd, weight[channel], bias[channel]};
    real *to = y + (size_t)s.sample * (size_t)(h * w) * (size_t)g.c + channel;
    for (int pixel = s.row; pixel < h * w; pixel += s.rows) {
      int row = pixel / w, column = pixel % w;
      float value;
      if (g.resample == RESAMPLE_DOWN) {
        float sum = 0.0f;
        for (int q = 0; q < 4; q++) sum += activated(g, a, s.sample, (2 * row + q / 2) * g.w + 2 * column + q % 2, channel);
        value = 0.25f * sum;
      } else {
        int shrink = g.resample == RESAMPLE_UP ? 2 : 1;
        value = activated(g, a, s.sample, row / shrink * g.w + column / shrink, channel);
      }
      to[(size_t)pixel * (size_t)g.c] = value;
    }
  }
}

/* ---------------------------------------------------------------- backward */

/* d(loss) / d(h) at a pixel: the adjoint of resampling, dropout and SiLU */
DEVICE float upstream(const normalisation &g, const affine &a, const real *dy, int sample, int pixel, int channel, float centred) {
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
  float h = centred * a.weight + a.bias, s = sigmoid(h);
  return d * (s * (1.0f + h * (1.0f - s)));
}

/* dx = rstd (weight dh - mean(weight dh) - x^ mean(weight dh x^)), x^ = (x - mean) rstd, means over the group, plus the gradients
 * that x has already received: others has OTHER words for each of two tensors of each part: address (0: none), factor, stride
 * between pixels. Sums are rounded as if each were stored as a tensor. One of the tensors may be dx itself.
 * sums [2][N, C]: sums of dh x^ and of dh over pixels; their sums over N are the gradients of weight and bias.
 * pixel_sums [N, C], and the same rounded: sums over pixels of what was written to dx; may be 0. */
KERNEL __launch_bounds__(THREADS) group_norm_backward(const real *x0, const real *x1, const float *weight, const float *bias, const float *stats,
                         const real *dy, float *sums, real *dx0, real *dx1, const __grid_constant__ words<16> others, float *pixel_sums0, float *pixel_sums1, real *rounded_sums0,
                         real *rounded_sums1, const int *table, int per_block, const u32 *origin, int seed_low,
                         int seed_high, int sample_low, int sample_high, int stream, int threshold, float keep_scale) {
  __shared__ meeting shared;
  normalisation g = norm_of(x0, x1, weight, bias, stats, table);
  g.words = draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream);
  g.threshold = threshold, g.keep_scale = keep_scale;
  share s = share_of(g, per_block);
  int pixels = g.h * g.w;
  bool works = s.row < s.rows;
  size_t group = group_of(g, s.sample, s.channel0 + s.column);
  float mean = g.mean[group], rstd = g.rstd[group], shift = g.rest[group] * rstd;
  double slope = 0, level = 0;
  /* Every thread runs the same number of iterations, because column_total needs all threads. */
  for (int first = 0; first < s.channels; first += s.columns) {
    int c = first + s.column, channel = s.channel0 + min(c, s.channels - 1);
    affine a = {mean, rstd, shift, weight[channel], bias[channel]};
    float weighted = 0.0f, plain = 0.0f;
    for (int pixel = s.row; works && c < s.channels && pixel < pixels; pixel += s.rows) {
      float centred = normalised(g, a, s.sample, pixel, channel);
      float d = upstream(g, a, dy, s.sample, pixel, channel, centred);
      weighted += d * centred;
      plain += d;
    }
    double all_weighted = column_total(shared, s, (double)weighted), all_plain = column_total(shared, s, (double)plain);
    if (s.row == 0 && c < s.channels) {
      size_t at = (size_t)s.sample * (size_t)g.c + (size_t)channel;
      sums[at] = (float)all_weighted;
      sums[(size_t)g.n * (size_t)g.c + at] = (float)all_plain;
      slope += all_weighted * (double)a.weight;
      level += all_plain * (double)a.weight;
    }
  }
  double terms = (double)g.width * (double)pixels;
  float mean_slope = (float)(group_total(shared, s, slope) / terms), mean_level = (float)(group_total(shared, s, level) / terms);
  for (int first = 0; first < s.channels; first += s.columns) {
    int c = first + s.column, channel = s.channel0 + min(c, s.channels - 1);
    affine a = {mean, rstd, shift, weight[channel], bias[channel]};
    bool second = channel >= g.part0;
    int part = second ? g.part1 : g.part0, place = second ? channel - g.part0 : channel;
    real *dx = second ? dx1 : dx0;
    const u32 *first_other = others.of + (second ? 2 * OTHER : 0);
    earlier one = earlier_of(first_other), two = earlier_of(first_other + OTHER);
    float total = 0.0f;
    for (int pixel = s.row; works && c < s.channels && pixel < pixels; pixel += s.rows) {
      float centred = normalised(g, a, s.sample, pixel, channel);
      float d = upstream(g, a, dy, s.sample, pixel, channel, centred);
      size_t position = (size_t)s.sample * (size_t)pixels + (size_t)pixel;
      real value, more;
      value = a.rstd * (d * a.weight - mean_level - centred * mean_slope);
      if (one.x) {
        more = __fmul_rn(one.factor, one.x[position * one.pitch + place]);
        if (two.x) {
          real last;
          last = __fmul_rn(two.factor, two.x[position * two.pitch + place]);
          more = (float)more + (float)last;
        }
        value = (float)value + (float)more;
      }
      dx[position * (size_t)part + (size_t)place] = value;
      total += value;
    }
    float *to = second ? pixel_sums1 : pixel_sums0;
    if (!to) continue; /* the same for all threads: either both sums are stored or neither is */
    float whole = (float)column_total(shared, s, (double)total);
    if (s.row != 0 || c >= s.channels) continue;
    size_t at = (size_t)s.sample * (size_t)part + (size_t)place;
    to[at] = whole;
    (second ? rounded_sums1 : rounded_sums0)[at] = whole;
  }
}
