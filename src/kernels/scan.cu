/* Cumulative sums and products along the middle axis of [outer, length, inner], and the product of an axis. All states are double.
 * A scan walks from the first element to the last, or with `reverse` from the last to the first. Sums are divided into runs of RUN
 * terms, with `lanes` threads for each: a warp where the terms are neighbours, else one. Products and recurrences have a thread for
 * each column.
 */
#include "warp.cuh"

struct column {
  size_t first, step;
  int length, reverse;
  /* Element number `step` of the walk. */
  __device__ __forceinline__ size_t at(int number) const {
    return first + (size_t)(reverse ? length - 1 - number : number) * step;
  }
};

/* Column i of all outer * inner. */
DEVICE column column_of(u32 i, int length, int inner, int reverse) {
  return {(size_t)(i / (u32)inner) * (size_t)length * (size_t)inner + i % (u32)inner, (size_t)inner, length, reverse};
}

/* ---------------------------------------------------------------- cumulative sums */

/* Part i of all outer * runs * inner: a run of a column. */
struct part {
  column of;
  int begin, end;
};
DEVICE part part_of(u32 i, int length, int inner, int runs, int reverse) {
  u32 run = i / (u32)inner % (u32)runs, o = i / (u32)inner / (u32)runs;
  int begin = (int)run * RUN;
  return {column_of(o * (u32)inner + i % (u32)inner, length, inner, reverse), begin, length - begin < RUN ? length : begin + RUN};
}

/* carry[outer][run][inner] = the total of a run; n runs */
KERNEL scan_totals(const float *x, double *carry, int n, int length, int inner, int runs, int reverse, int lanes) {
  u32 i = thread_number() / (u32)lanes;
  if (i >= (u32)n) return;
  part p = part_of(i, length, inner, runs, reverse);
  double sum = 0;
  for (int step = p.begin + (lanes == WARP ? lane_number() : 0); step < p.end; step += lanes) sum += x[p.of.at(step)];
  if (lanes == WARP) sum = warp_sum(sum);
  if (lanes == 1 || lane_number() == 0) carry[i] = sum;
}

/* Replaces the totals of the runs by the sums of those before them; n columns */
KERNEL scan_carries(double *carry, int n, int inner, int runs) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  double *first = carry + (size_t)(i / (u32)inner) * (size_t)runs * (size_t)inner + i % (u32)inner, sum = 0;
  for (int run = 0; run < runs; run++) {
    double total = first[(size_t)run * (size_t)inner];
    first[(size_t)run * (size_t)inner] = sum;
    sum += total;
  }
}

/* Sum over the lanes up to the calling one. All lanes must call it. */
DEVICE double sum_up_to_lane(double value) {
  for (int distance = 1; distance < WARP; distance *= 2) {
    double other = __shfl_up_sync(ALL_LANES, value, distance);
    if (lane_number() >= distance) value += other;
  }
  return value;
}

/* y[o][j][i] = the sum of x[o][k][i] over k <= j, or with `reverse` over k >= j; carry is 0 if there is one run */
KERNEL scan_sum(const float *x, const double *carry, float *y, int n, int length, int inner, int runs, int reverse, int lanes) {
  u32 i = thread_number() / (u32)lanes;
  if (i >= (u32)n) return;
  part p = part_of(i, length, inner, runs, reverse);
  double sum = carry ? carry[i] : 0.0;
  if (lanes == 1) {
    for (int step = p.begin; step < p.end; step++) {
      sum += x[p.of.at(step)];
      y[p.of.at(step)] = (float)sum;
    }
    return;
  }
  for (int base = p.begin; base < p.end; base += WARP) {
    int step = base + lane_number();
    double upto = sum + sum_up_to_lane(step < p.end ? (double)x[p.of.at(step)] : 0.0);
    if (step < p.end) y[p.of.at(step)] = (float)upto;
    sum = __shfl_sync(ALL_LANES, upto, WARP - 1);
  }
}

/* ---------------------------------------------------------------- cumulative products and linear recurrences; n columns */

/* y[o][j][i] = the product of x[o][k][i] over k <= j, or with `reverse` over k >= j */
KERNEL scan_product(const float *x, float *y, int n, int length, int inner, int reverse) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  column c = column_of(i, length, inner, reverse);
  double state = 1;
  for (int step = 0; step < length; step++) {
    state *= x[c.at(step)];
    y[c.at(step)] = (float)state;
  }
}

/* y[o][j][i] = a[o][j][i] y[o][j - 1][i] + b[o][j][i], or with `reverse` from j + 1; the first y is b */
KERNEL scan_linear(const float *a, const float *b, float *y, int n, int length, int inner, int reverse) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  column c = column_of(i, length, inner, reverse);
  double state = 0;
  for (int step = 0; step < length; step++) {
    size_t at = c.at(step);
    state = step == 0 ? (double)b[at] : (double)a[at] * state + (double)b[at];
    y[at] = (float)state;
  }
}

/* The gradients of scan_linear (start 0), and with y = scan_product(a), start 1 and db 0 that of scan_product. */
KERNEL scan_backward(const float *a, const float *y, const float *dy, float *da, float *db, int n, int length, int inner, int reverse,
                     float start) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  column c = column_of(i, length, inner, reverse);
  double state = 0;
  for (int step = length - 1; step >= 0; step--) {
    size_t at = c.at(step);
    state = step + 1 < length ? (double)a[c.at(step + 1)] * state + (double)dy[at] : (double)dy[at];
    da[at] = (float)(state * (double)(step > 0 ? y[c.at(step - 1)] : start));
    if (db) db[at] = (float)state;
  }
}

/* ---------------------------------------------------------------- the product of an axis */

/* y[o][i] = the product of x[o][k][i] over k */
KERNEL scan_whole_product(const float *x, float *y, int n, int length, int inner, int lanes) {
  u32 i = thread_number() / (u32)lanes;
  if (i >= (u32)n) return;
  column c = column_of(i, length, inner, 0);
  double state = 1;
  for (int k = lanes == WARP ? lane_number() : 0; k < length; k += lanes) state *= x[c.at(k)];
  if (lanes == WARP)
    for (int distance = WARP / 2; distance > 0; distance /= 2) state *= __shfl_xor_sync(ALL_LANES, state, distance);
  if (lanes == 1 || lane_number() == 0) y[i] = (float)state;
}

/* dx[o][k][i] = dy[o][i] times the product of the x[o][j][i], j != k; n columns */
KERNEL scan_other_products(const float *x, const float *dy, float *dx, int n, int length, int inner) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  column c = column_of(i, length, inner, 0);
  double state = 1;
  for (int k = 0; k < length; k++) {
    dx[c.at(k)] = (float)state;
    state *= x[c.at(k)];
  }
  state = dy[i];
  for (int k = length - 1; k >= 0; k--) {
    dx[c.at(k)] = (float)(state * (double)dx[c.at(k)]);
    state *= x[c.at(k)];
  }
}
