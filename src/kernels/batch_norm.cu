/* Batch normalisation of rows of C channels: y = (x - mean) rstd weight + bias, with a mean and a variance for each channel.
 * Statistics are computed for parts of the rows, and are then joined in double: for each part the mean, and the sums of the
 * differences from it and of their squares.
 */
#include "storage.cuh"
#include "warp.cuh"

DEVICE int rows_of(int p, int part, int rows) { return min(part, rows - p * part); }

/* partial [parts, 3, C]: mean of the part, sums of the differences from it and of their squares; one thread per channel of a part */
KERNEL batch_norm_partial(const real *x, float *partial, int count, int rows, int c, int part) {
  u32 which = thread_number();
  if (which >= (u32)count) return;
  int channel = (int)(which % (u32)c), p = (int)(which / (u32)c), n = rows_of(p, part, rows);
  const real *first = x + (size_t)p * (size_t)part * (size_t)c + (size_t)channel;
  float mean = 0.0f, sum = 0.0f, square = 0.0f;
  for (int r = 0; r < n; r++) mean += first[(size_t)r * (size_t)c];
  mean /= (float)n;
  for (int r = 0; r < n; r++) {
    float d = first[(size_t)r * (size_t)c] - mean;
    sum += d;
    square += d * d;
  }
  float *to = partial + (size_t)p * 3 * (size_t)c + channel;
  to[0] = mean;
  to[c] = sum;
  to[2 * (size_t)c] = square;
}

/* stats [3, C]: mean, rstd and the rest of the mean; the running mean and variance are updated if they are not 0; one warp per
 * channel */
KERNEL batch_norm_join(const float *partial, float *stats, float *running_mean, float *running_variance, int rows, int c, int part,
                       int parts, float eps, float momentum) {
  u32 channel = warp_number();
  if (channel >= (u32)c) return;
  size_t step = 3 * (size_t)c;
  const float *first = partial + channel;
  double total = 0, squares = 0;
  for (int p = lane_number(); p < parts; p += WARP) {
    const float *at = first + (size_t)p * step;
    total += (double)at[0] * rows_of(p, part, rows) + (double)at[c];
  }
  double mean = warp_sum(total) / rows;
  for (int p = lane_number(); p < parts; p += WARP) {
    const float *at = first + (size_t)p * step;
    double n = rows_of(p, part, rows), difference = (double)at[c] / n, apart = (double)at[0] + difference - mean;
    squares += (double)at[2 * (size_t)c] - difference * (double)at[c] + n * apart * apart;
  }
  double variance = warp_sum(squares) / rows;
  /* If squares overflow f32, the result is NaN, not the zeros that a division by infinity would give. */
  if (!(variance < (double)infinity())) variance = (double)infinity() - (double)infinity();
  else if (variance < 0) variance = 0;
  if (lane_number() != 0) return;
  float rounded = (float)mean;
  stats[channel] = rounded;
  stats[(size_t)c + channel] = (float)(1.0 / sqrt(variance + (double)eps));
  stats[2 * (size_t)c + channel] = (float)(mean - (double)rounded);
  double share = momentum;
  if (running_mean) running_mean[channel] = (float)((1 - share) * running_mean[channel] + share * mean);
  if (running_variance)
    running_variance[channel] = (float)((1 - share) * running_variance[channel] + share * variance * rows / (rows - 1));
}

/* stats [3, C] from a given mean and variance */
KERNEL batch_norm_given(const float *mean, const float *variance, float *stats, int c, float eps) {
  u32 i = thread_number();
  if (i >= (u32)c) return;
  stats[i] = mean[i];
  stats[(size_t)c + i] = (float)(1.0 / sqrt((double)variance[i] + (double)eps));
  stats[2 * (size_t)c + i] = 0.0f;
}

/* x^ = (x - mean) rstd */
DEVICE float normalised(const real *x, const float *stats, u32 at, u32 channel, int c) {
  return (x[at] - stats[channel] - stats[2 * (size_t)c + channel]) * stats[(size_t)c + channel];
}

KERNEL batch_norm_forward(const real *x, const float *weight, const float *bias, const float *stats, real *y, int n, int c) {
  u32 at = thread_number();
  if (at >= (u32)n) return;
  u32 channel = at % (u32)c;
  float v = normalised(x, stats, at, channel, c);
  if (weight) v *= weight[channel];
  y[at] = bias ? v + bias[channel] : v;
}

/* ---------------------------------------------------------------- backward */

/* partial [parts, 2, C]: sums of dy x^ and of dy over the rows of a part; one thread per channel of a part */
KERNEL batch_norm_sums(const real *x, const float *stats, const real *dy, float *partial, int count, int rows, int c, int part) {
  u32 which = thread_number();
  if (which >= (u32)count) return;
  u32 channel = which % (u32)c, p = which / (u32)c;
  float weighted = 0.0f, plain = 0.0f;
  u32 at = p * (u32)part * (u32)c + channel;
  for (int r = rows_of((int)p, part, rows); r > 0; r--, at += (u32)c) {
    float d = dy[at];
    plain += d;
    weighted += d * normalised(x, stats, at, channel, c);
  }
  partial[(size_t)p * 2 * (size_t)c + channel] = weighted;
  partial[((size_t)p * 2 + 1) * (size_t)c + channel] = plain;
}

/* dx = weight rstd (dy - mean(dy) - x^ mean(dy x^)), without the means where the statistics were given; sums [2, C] over all rows */
KERNEL batch_norm_backward(const real *x, const float *weight, const float *stats, const float *sums, const real *dy, real *dx, int n,
                           int rows, int c, int training) {
  u32 at = thread_number();
  if (at >= (u32)n) return;
  u32 channel = at % (u32)c;
  float d = dy[at];
  if (training) d -= (sums[(size_t)c + channel] + normalised(x, stats, at, channel, c) * sums[channel]) / (float)rows;
  d *= stats[(size_t)c + channel];
  dx[at] = weight ? d * weight[channel] : d;
}
