/* Cumulative sums and products along the middle axis of [outer, length, inner], and the product of an axis. All states are double.
 * A scan walks from the first element to the last, or with `reverse` from the last to the first. Long sums are divided into runs
 * of RUN terms; the shape alone determines the runs.
 */
#include "bands.h"

enum { RUN = 1 << 12 };

struct scan {
  const float *a, *b, *y, *dy;
  float *out, *more;
  double *carry;
  int32_t length, inner, runs, reverse;
  float start;
};

/* Where a scan is at its step `step`, in elements after the first of the column. */
INLINE size_t place(const struct scan *s, int32_t step) {
  return (size_t)(s->reverse ? s->length - 1 - step : step) * (size_t)s->inner;
}
INLINE size_t start_of(const struct scan *s, int32_t o, int32_t first) {
  return (size_t)o * (size_t)s->length * (size_t)s->inner + (size_t)first;
}

/* ---------------------------------------------------------------- cumulative sums */
INLINE int32_t runs_of(int32_t length) { return max32(1, length / RUN + (length % RUN != 0)); }

/* The total of one run of every column; `at` counts the runs of every o. */
static void total_band(const void *context, int32_t at, int32_t first, int32_t width) {
  const struct scan *s = context;
  int32_t begin = at % s->runs * RUN, end = min32(RUN, s->length - begin) + begin;
  const float *x = s->a + start_of(s, at / s->runs, first);
  double sums[COLUMNS] = {0};
  for (int32_t step = begin; step < end; step++) {
    const float *row = x + place(s, step);
    for (int32_t c = 0; c < width; c++) sums[c] += (double)row[c];
  }
  for (int32_t c = 0; c < width; c++) s->carry[(size_t)at * (size_t)s->inner + (size_t)(first + c)] = sums[c];
}

/* Replaces the totals of the runs by the sums of those before them. */
static void carry_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct scan *s = context;
  for (int32_t c = first; c < first + width; c++) {
    double *carry = s->carry + (size_t)o * (size_t)s->runs * (size_t)s->inner + (size_t)c, sum = 0;
    for (int32_t run = 0; run < s->runs; run++, carry += s->inner) {
      double total = *carry;
      *carry = sum;
      sum += total;
    }
  }
}

static void sum_band(const void *context, int32_t at, int32_t first, int32_t width) {
  const struct scan *s = context;
  int32_t begin = at % s->runs * RUN, end = min32(RUN, s->length - begin) + begin;
  size_t start = start_of(s, at / s->runs, first);
  double sums[COLUMNS] = {0};
  if (s->runs > 1)
    for (int32_t c = 0; c < width; c++) sums[c] = s->carry[(size_t)at * (size_t)s->inner + (size_t)(first + c)];
  for (int32_t step = begin; step < end; step++) {
    const float *x = s->a + start + place(s, step);
    float *y = s->out + start + place(s, step);
    for (int32_t c = 0; c < width; c++) y[c] = (float)(sums[c] += (double)x[c]);
  }
}

/* Doubles of scratch memory for scan_sum. */
KERNEL double scan_sum_scratch(int32_t outer, int32_t length, int32_t inner) {
  return runs_of(length) > 1 ? (double)outer * runs_of(length) * inner : 0;
}

/* y[o][j][i] = the sum of x[o][k][i] over k <= j, or with `reverse` over k >= j */
KERNEL void scan_sum(const float *x, float *y, double *scratch, int32_t outer, int32_t length, int32_t inner, int32_t reverse) {
  struct scan s = {.a = x, .out = y, .carry = scratch, .length = length, .inner = inner, .runs = runs_of(length), .reverse = reverse};
  if (s.runs > 1) {
    for_bands(total_band, &s, outer * s.runs, RUN, inner);
    for_bands(carry_band, &s, outer, s.runs, inner);
  }
  for_bands(sum_band, &s, outer * s.runs, min32(RUN, length), inner);
}

/* ---------------------------------------------------------------- cumulative products and linear recurrences */
static void product_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct scan *s = context;
  size_t start = start_of(s, o, first);
  double state[COLUMNS];
  for (int32_t c = 0; c < width; c++) state[c] = 1;
  for (int32_t step = 0; step < s->length; step++) {
    const float *x = s->a + start + place(s, step);
    float *y = s->out + start + place(s, step);
    for (int32_t c = 0; c < width; c++) y[c] = (float)(state[c] *= (double)x[c]);
  }
}

/* y[o][j][i] = the product of x[o][k][i] over k <= j, or with `reverse` over k >= j */
KERNEL void scan_product(const float *x, float *y, int32_t outer, int32_t length, int32_t inner, int32_t reverse) {
  struct scan s = {.a = x, .out = y, .length = length, .inner = inner, .reverse = reverse};
  for_bands(product_band, &s, outer, length, inner);
}

static void linear_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct scan *s = context;
  size_t start = start_of(s, o, first);
  double state[COLUMNS];
  for (int32_t step = 0; step < s->length; step++) {
    size_t at = start + place(s, step);
    const float *a = s->a + at, *b = s->b + at;
    float *y = s->out + at;
    if (step == 0)
      for (int32_t c = 0; c < width; c++) state[c] = (double)b[c];
    else
      for (int32_t c = 0; c < width; c++) state[c] = (double)a[c] * state[c] + (double)b[c];
    for (int32_t c = 0; c < width; c++) y[c] = (float)state[c];
  }
}

/* y[o][j][i] = a[o][j][i] y[o][j - 1][i] + b[o][j][i], or with `reverse` from j + 1; the first y is b */
KERNEL void scan_linear(const float *a, const float *b, float *y, int32_t outer, int32_t length, int32_t inner, int32_t reverse) {
  struct scan s = {.a = a, .b = b, .out = y, .length = length, .inner = inner, .reverse = reverse};
  for_bands(linear_band, &s, outer, length, inner);
}

/* From the last step to the first: state = dy + a_next state. */
static void backward_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct scan *s = context;
  size_t start = start_of(s, o, first);
  double state[COLUMNS] = {0};
  for (int32_t step = s->length - 1; step >= 0; step--) {
    size_t at = start + place(s, step);
    const float *dy = s->dy + at, *before = step > 0 ? s->y + start + place(s, step - 1) : 0;
    const float *next = step + 1 < s->length ? s->a + start + place(s, step + 1) : 0;
    for (int32_t c = 0; c < width; c++) {
      state[c] = next ? (double)next[c] * state[c] + (double)dy[c] : (double)dy[c];
      s->out[at + (size_t)c] = (float)(state[c] * (double)(before ? before[c] : s->start));
      if (s->more) s->more[at + (size_t)c] = (float)state[c];
    }
  }
}

/* The gradients of scan_linear (start 0), and with y = scan_product(a), start 1 and db 0 that of scan_product. */
KERNEL void scan_backward(const float *a, const float *y, const float *dy, float *da, float *db, int32_t outer, int32_t length,
                          int32_t inner, int32_t reverse, float start) {
  struct scan s = {.a = a, .y = y, .dy = dy, .out = da, .more = db, .length = length, .inner = inner, .reverse = reverse, .start = start};
  for_bands(backward_band, &s, outer, length, inner);
}

/* ---------------------------------------------------------------- the product of an axis */
static void all_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct scan *s = context;
  const float *x = s->a + start_of(s, o, first);
  double state[COLUMNS];
  for (int32_t c = 0; c < width; c++) state[c] = 1;
  for (int32_t k = 0; k < s->length; k++, x += s->inner)
    for (int32_t c = 0; c < width; c++) state[c] *= (double)x[c];
  for (int32_t c = 0; c < width; c++) s->out[(size_t)o * (size_t)s->inner + (size_t)(first + c)] = (float)state[c];
}

/* y[o][i] = the product of x[o][k][i] over k */
KERNEL void scan_whole_product(const float *x, float *y, int32_t outer, int32_t length, int32_t inner) {
  struct scan s = {.a = x, .out = y, .length = length, .inner = inner};
  for_bands(all_band, &s, outer, length, inner);
}

/* The products before an element are stored, then multiplied by those after it. */
static void others_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct scan *s = context;
  size_t start = start_of(s, o, first);
  double state[COLUMNS];
  for (int32_t c = 0; c < width; c++) state[c] = 1;
  for (int32_t k = 0; k < s->length; k++) {
    size_t at = start + place(s, k);
    for (int32_t c = 0; c < width; c++) {
      s->out[at + (size_t)c] = (float)state[c];
      state[c] *= (double)s->a[at + (size_t)c];
    }
  }
  for (int32_t c = 0; c < width; c++) state[c] = (double)s->dy[(size_t)o * (size_t)s->inner + (size_t)(first + c)];
  for (int32_t k = s->length - 1; k >= 0; k--) {
    size_t at = start + place(s, k);
    for (int32_t c = 0; c < width; c++) {
      s->out[at + (size_t)c] = (float)(state[c] * (double)s->out[at + (size_t)c]);
      state[c] *= (double)s->a[at + (size_t)c];
    }
  }
}

/* dx[o][k][i] = dy[o][i] times the product of the x[o][j][i], j != k */
KERNEL void scan_other_products(const float *x, const float *dy, float *dx, int32_t outer, int32_t length, int32_t inner) {
  struct scan s = {.a = x, .dy = dy, .out = dx, .length = length, .inner = inner};
  for_bands(others_band, &s, outer, length, inner);
}
