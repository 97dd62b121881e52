/* Reductions over the middle axis of [outer, reduce, inner]: the Euclidean norm, log sum exp, and counts of true elements.
 * Sums of squares are added in double, by runs of RUN terms. The shape alone determines the runs.
 */
#include "bands.h"

enum { RUN = 1 << 13, STRETCH = 32 };

struct fold {
  const float *x, *y, *dy;
  float *out;
  double *partial;
  int32_t reduce, inner, runs;
};

/* The first element of the columns of o. */
INLINE size_t start_of(const struct fold *f, int32_t o, int32_t first) {
  return (size_t)o * (size_t)f->reduce * (size_t)f->inner + (size_t)first;
}

/* ---------------------------------------------------------------- the Euclidean norm */
INLINE double squares_of_row(const float *x, int32_t n) {
  double sums[8] = {0};
  int32_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int32_t j = 0; j < 8; j++) sums[j] += (double)x[i + j] * (double)x[i + j];
  for (; i < n; i++) sums[0] += (double)x[i] * (double)x[i];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/* partial[at] = sums of squares, where `at` counts the runs of every o. */
static void squares_band(const void *context, int32_t at, int32_t first, int32_t width) {
  const struct fold *f = context;
  int32_t begin = at % f->runs * RUN, count = min32(RUN, f->reduce - begin);
  const float *x = f->x + start_of(f, at / f->runs, first) + (size_t)begin * (size_t)f->inner;
  double sums[COLUMNS] = {0};
  if (f->inner == 1) sums[0] = squares_of_row(x, count);
  else
    for (int32_t k = 0; k < count; k++, x += f->inner)
      for (int32_t c = 0; c < width; c++) sums[c] += (double)x[c] * (double)x[c];
  double *to = f->partial + (size_t)at * (size_t)f->inner + (size_t)first;
  for (int32_t c = 0; c < width; c++) to[c] = sums[c];
}

static void root_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct fold *f = context;
  for (int32_t c = first; c < first + width; c++) {
    double sum = 0;
    for (int32_t run = 0; run < f->runs; run++)
      sum += f->partial[((size_t)o * (size_t)f->runs + (size_t)run) * (size_t)f->inner + (size_t)c];
    f->out[(size_t)o * (size_t)f->inner + (size_t)c] = (float)__builtin_sqrt(sum);
  }
}

INLINE int32_t runs_of(int32_t reduce) { return max32(1, reduce / RUN + (reduce % RUN != 0)); }

/* Doubles of scratch memory for fold_norm. */
KERNEL double fold_norm_scratch(int32_t outer, int32_t reduce, int32_t inner) { return (double)outer * runs_of(reduce) * inner; }

/* y[o][i] = sqrt(sum_k x[o][k][i]^2) */
KERNEL void fold_norm(const float *x, float *y, double *scratch, int32_t outer, int32_t reduce, int32_t inner) {
  struct fold f = {.x = x, .out = y, .partial = scratch, .reduce = reduce, .inner = inner, .runs = runs_of(reduce)};
  for_bands(squares_band, &f, outer * f.runs, min32(RUN, reduce), inner);
  for_bands(root_band, &f, outer, f.runs, inner);
}

/* ---------------------------------------------------------------- log sum exp */
INLINE vec load_some(const float *x, int32_t n) { return n == LANES ? load(x) : load_partial(x, n); }

/* The number that is subtracted from exponents: the maximum, or 0 if that is infinite. NaN is skipped. */
INLINE vec shift_of(vec most) { return select(vec_abs(most) < splat(__builtin_inff()), most, (vec){}); }

/* log sum exp of a row */
INLINE float log_sum_of_row(const float *x, int32_t n) {
  vec most = splat(-__builtin_inff());
  int32_t i = 0;
  for (; i + LANES <= n; i += LANES) most = vec_max(load(x + i), most);
  float m = reduce_max(most);
  for (; i < n; i++) m = x[i] > m ? x[i] : m;
  float shift = shift_of(splat(m))[0];
  double total = 0;
  for (i = 0; i + LANES <= n;) {
    vec sum = {};
    for (int32_t j = 0; j < STRETCH && i + LANES <= n; j++, i += LANES) sum += vec_exp(load(x + i) - shift);
    total += (double)reduce_add(sum);
  }
  for (; i < n; i++) total += (double)f32_exp(x[i] - shift);
  return shift + f32_log((float)total);
}

/* The same of n <= LANES neighbouring columns. */
INLINE vec log_sum_of_columns(const float *x, int32_t n, int32_t reduce, size_t step) {
  vec most = splat(-__builtin_inff());
  for (int32_t k = 0; k < reduce; k++) most = vec_max(load_some(x + (size_t)k * step, n), most);
  vec shift = shift_of(most), totals;
  double sums[LANES] = {0};
  for (int32_t k = 0; k < reduce;) {
    vec sum = {};
    for (int32_t end = min32(reduce - k, STRETCH) + k; k < end; k++) sum += vec_exp(load_some(x + (size_t)k * step, n) - shift);
    for (int32_t c = 0; c < LANES; c++) sums[c] += (double)sum[c];
  }
  for (int32_t c = 0; c < LANES; c++) totals[c] = (float)sums[c];
  return shift + vec_log(totals);
}

static void log_sum_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct fold *f = context;
  const float *x = f->x + start_of(f, o, first);
  float *y = f->out + (size_t)o * (size_t)f->inner + (size_t)first;
  if (f->inner == 1) y[0] = log_sum_of_row(x, f->reduce);
  else
    for (int32_t c = 0; c < width; c += LANES) {
      int32_t n = min32(LANES, width - c);
      store_partial(y + c, log_sum_of_columns(x + c, n, f->reduce, (size_t)f->inner), n);
    }
}

/* y[o][i] = log sum_k exp(x[o][k][i]) */
KERNEL void fold_log_sum_exp(const float *x, float *y, int32_t outer, int32_t reduce, int32_t inner) {
  struct fold f = {.x = x, .out = y, .reduce = reduce, .inner = inner};
  for_bands(log_sum_band, &f, outer, reduce, inner);
}

static void log_sum_backward_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct fold *f = context;
  const float *x = f->x + start_of(f, o, first), *y = f->y + (size_t)o * (size_t)f->inner + (size_t)first;
  const float *dy = f->dy + (size_t)o * (size_t)f->inner + (size_t)first;
  float *dx = f->out + start_of(f, o, first);
  if (f->inner == 1)
    for (int32_t k = 0; k < f->reduce; k += LANES) {
      int32_t n = min32(LANES, f->reduce - k);
      store_partial(dx + k, dy[0] * vec_exp(load_some(x + k, n) - y[0]), n);
    }
  else
    for (int32_t k = 0; k < f->reduce; k++, x += f->inner, dx += f->inner)
      for (int32_t c = 0; c < width; c += LANES) {
        int32_t n = min32(LANES, width - c);
        store_partial(dx + c, load_some(dy + c, n) * vec_exp(load_some(x + c, n) - load_some(y + c, n)), n);
      }
}

/* dx[o][k][i] = dy[o][i] exp(x[o][k][i] - y[o][i]) */
KERNEL void fold_log_sum_exp_backward(const float *x, const float *y, const float *dy, float *dx, int32_t outer, int32_t reduce,
                                      int32_t inner) {
  struct fold f = {.x = x, .y = y, .dy = dy, .out = dx, .reduce = reduce, .inner = inner};
  for_bands(log_sum_backward_band, &f, outer, reduce, inner);
}

/* ---------------------------------------------------------------- counts of true elements */
enum { COUNT, ANY, ALL };

struct counting {
  const uint8_t *x;
  void *y;
  int32_t reduce, inner, kind;
};

static void count_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct counting *f = context;
  const uint8_t *x = f->x + (size_t)o * (size_t)f->reduce * (size_t)f->inner + (size_t)first;
  int32_t counts[COLUMNS] = {0};
  for (int32_t k = 0; k < f->reduce; k++, x += f->inner)
    for (int32_t c = 0; c < width; c++) counts[c] += x[c];
  size_t at = (size_t)o * (size_t)f->inner + (size_t)first;
  for (int32_t c = 0; c < width; c++) {
    if (f->kind == COUNT) ((int32_t *)f->y)[at + (size_t)c] = counts[c];
    else ((uint8_t *)f->y)[at + (size_t)c] = f->kind == ANY ? counts[c] > 0 : counts[c] == f->reduce;
  }
}

/* y[o][i] = the number of ones among x[o][k][i], each 0 or 1, as i32 (kind 0), or whether any (1) or all (2) are */
KERNEL void fold_count(const uint8_t *x, void *y, int32_t outer, int32_t reduce, int32_t inner, int32_t kind) {
  struct counting f = {x, y, reduce, inner, kind};
  for_bands(count_band, &f, outer, reduce, inner);
}
