/* Reductions over the middle axis of [outer, reduce, inner]: the Euclidean norm, log sum exp, and counts of true elements.
 * `lanes` threads compute one result: a warp where the terms are neighbours, else one. Sums of squares are added in double, by
 * runs of RUN terms.
 */
#include "warp.cuh"

/* The sum of the values of the threads of one result. */
template <class T> DEVICE T sum_of(T value, int lanes) { return lanes == WARP ? warp_sum(value) : value; }

/* partial[outer][run][inner] = the sum of squares of a run; n results */
KERNEL fold_squares(const float *x, double *partial, int n, int reduce, int inner, int runs, int lanes) {
  u32 i = thread_number() / (u32)lanes;
  if (i >= (u32)n) return;
  u32 column = i % (u32)inner, run = i / (u32)inner % (u32)runs, o = i / (u32)inner / (u32)runs;
  int begin = (int)run * RUN, end = reduce - begin < RUN ? reduce : begin + RUN;
  const float *row = x + (size_t)o * (size_t)reduce * (size_t)inner + column;
  double sum = 0;
  for (int k = begin + (lanes == WARP ? lane_number() : 0); k < end; k += lanes) {
    double value = row[(size_t)k * (size_t)inner];
    sum += value * value;
  }
  sum = sum_of(sum, lanes);
  if (lanes == 1 || lane_number() == 0) partial[i] = sum;
}

/* y[o][i] = the root of the sum over the runs of partial[o][run][i] */
KERNEL fold_root(const double *partial, float *y, int n, int inner, int runs) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  const double *first = partial + (size_t)(i / (u32)inner) * (size_t)runs * (size_t)inner + i % (u32)inner;
  double sum = 0;
  for (int run = 0; run < runs; run++) sum += first[(size_t)run * (size_t)inner];
  y[i] = (float)sqrt(sum);
}

/* y[o][i] = log sum_k exp(x[o][k][i]); what is subtracted from exponents is their maximum, or 0 if that is infinite */
KERNEL fold_log_sum_exp(const float *x, float *y, int n, int reduce, int inner, int lanes) {
  u32 i = thread_number() / (u32)lanes;
  if (i >= (u32)n) return;
  const float *row = x + (size_t)(i / (u32)inner) * (size_t)reduce * (size_t)inner + i % (u32)inner;
  int first = lanes == WARP ? lane_number() : 0;
  float most = -infinity();
  for (int k = first; k < reduce; k += lanes) {
    float value = row[(size_t)k * (size_t)inner];
    most = value > most ? value : most;
  }
  if (lanes == WARP) most = warp_max(most);
  float shift = fabsf(most) < infinity() ? most : 0.0f;
  double sum = 0;
  for (int k = first; k < reduce; k += lanes) sum += expf(row[(size_t)k * (size_t)inner] - shift);
  sum = sum_of(sum, lanes);
  if (lanes == 1 || lane_number() == 0) y[i] = shift + logf((float)sum);
}

/* dx[o][k][i] = dy[o][i] exp(x[o][k][i] - y[o][i]); n elements of x */
KERNEL fold_log_sum_exp_backward(const float *x, const float *y, const float *dy, float *dx, int n, int reduce, int inner) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  size_t at = (size_t)(i / (u32)inner / (u32)reduce) * (size_t)inner + i % (u32)inner;
  dx[i] = dy[at] * expf(x[i] - y[at]);
}

enum { COUNT, ANY, ALL };

/* y[o][i] = the number of ones among x[o][k][i], each 0 or 1, as i32 (kind 0), or whether any (1) or all (2) are */
KERNEL fold_count(const u8 *x, void *y, int n, int reduce, int inner, int kind, int lanes) {
  u32 i = thread_number() / (u32)lanes;
  if (i >= (u32)n) return;
  const u8 *row = x + (size_t)(i / (u32)inner) * (size_t)reduce * (size_t)inner + i % (u32)inner;
  int count = 0;
  for (int k = lanes == WARP ? lane_number() : 0; k < reduce; k += lanes) count += row[(size_t)k * (size_t)inner];
  count = sum_of(count, lanes);
  if (lanes == WARP && lane_number() != 0) return;
  if (kind == COUNT) ((int *)y)[i] = count;
  else ((u8 *)y)[i] = kind == ANY ? count > 0 : count == reduce;
}
