/* Layer normalisation and RMS normalisation of rows of n numbers, one warp per row:
 *   y = (x - mean) rstd weight + bias, rstd = 1 / sqrt(variance + eps); for RMS normalisation the mean is taken as 0.
 * The rounding error of a sum of nearly equal numbers is large compared to their deviation, so a second pass computes a correction of
 * the mean (`rest`) from the differences.
 */
#include "storage.cuh"
#include "warp.cuh"

/* Returns from threads beyond the last row; defines `at`, the first element of the row. */
#define ROW                          \
  u32 row = warp_number();           \
  if (row >= (u32)rows) return;      \
  size_t at = (size_t)row * (size_t)n;

/* stats [3, rows]: mean, rstd and the rest of the mean; weight and bias [n] may be 0 */
KERNEL layer_norm_forward(const real *x, const float *weight, const float *bias, real *y, float *stats, int rows, int n, int centred,
                          float eps) {
  ROW
  float mean = 0.0f, sum = 0.0f, squares = 0.0f;
  if (centred) {
    for (int i = lane_number(); i < n; i += WARP) sum += x[at + i];
    mean = (float)(warp_sum((double)sum) / n);
    sum = 0.0f;
  }
  for (int i = lane_number(); i < n; i += WARP) {
    float d = x[at + i] - mean;
    sum += d;
    squares += d * d;
  }
  double rest = centred ? warp_sum((double)sum) / n : 0, variance = warp_sum((double)squares) / n - rest * rest;
  /* If squares overflow f32, the result is NaN, not the zeros that a division by infinity would give. */
  if (!(variance < (double)infinity())) variance = (double)infinity() - (double)infinity();
  else if (variance < 0) variance = 0;
  float rstd = (float)(1.0 / sqrt(variance + (double)eps)), shift = (float)rest;
  if (lane_number() == 0) {
    stats[row] = mean;
    stats[(size_t)rows + row] = rstd;
    stats[2 * (size_t)rows + row] = shift;
  }
  for (int i = lane_number(); i < n; i += WARP) {
    float v = (x[at + i] - mean - shift) * rstd;
    if (weight) v *= weight[i];
    y[at + i] = bias ? v + bias[i] : v;
  }
}

/* ---------------------------------------------------------------- backward */

/* dx = rstd (weight dy - mean(weight dy) - x^ mean(weight dy x^)), x^ = (x - mean) rstd, without the first mean for RMS
 * normalisation */
KERNEL layer_norm_backward(const real *x, const float *weight, const float *stats, const real *dy, real *dx, int rows, int n,
                           int centred) {
  ROW
  float mean = stats[row], rstd = stats[(size_t)rows + row], rest = stats[2 * (size_t)rows + row], plain = 0.0f, weighted = 0.0f;
  for (int i = lane_number(); i < n; i += WARP) {
    float d = weight ? dy[at + i] * weight[i] : (float)dy[at + i];
    plain += d;
    weighted += d * ((x[at + i] - mean - rest) * rstd);
  }
  float level = centred ? (float)(warp_sum((double)plain) / n) : 0.0f, slope = (float)(warp_sum((double)weighted) / n);
  for (int i = lane_number(); i < n; i += WARP) {
    float d = weight ? dy[at + i] * weight[i] : (float)dy[at + i];
    dx[at + i] = (d - level - (x[at + i] - mean - rest) * rstd * slope) * rstd;
  }
}

/* sums [parts, 2, n]: sums of dy x^ and of dy over `part` rows; one thread for each column of each part */
KERNEL layer_norm_sums(const real *x, const float *stats, const real *dy, float *sums, int count, int rows, int n, int part) {
  u32 which = thread_number();
  if (which >= (u32)count) return;
  u32 column = which % (u32)n, p = which / (u32)n;
  int begin = (int)p * part, end = begin + min(part, rows - begin);
  float weighted = 0.0f, plain = 0.0f;
  for (int row = begin; row < end; row++) {
    size_t at = (size_t)row * (size_t)n + column;
    float d = dy[at];
    plain += d;
    weighted += d * ((x[at] - stats[row] - stats[2 * (size_t)rows + row]) * stats[(size_t)rows + row]);
  }
  sums[(size_t)p * 2 * (size_t)n + column] = weighted;
  sums[((size_t)p * 2 + 1) * (size_t)n + column] = plain;
}
