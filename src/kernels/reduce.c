/* Reductions over the middle axis of [outer, reduce, inner]: sum, max, min, argmax, argmin.
 * Sums add runs of at most RUN terms and then the sums of runs, so that the error grows with the number of runs. Within a run of
 * rows, STRETCH rows at a time are summed first, to keep the rounding error of large sums small. The shape alone determines tasks
 * and runs.
 */
#include "pool.h"

enum { RUN = 1 << 10, STRETCH = 8, COLUMNS = 256 };

struct reduction {
  const float *x;
  float *y, *partial;
  int32_t *index;
  int32_t outer, reduce, inner, runs, bands;
  float scale;
};

INLINE float sum_row(const float *x, int32_t n) {
  vec a = {}, b = {}, c = {}, d = {};
  int32_t i = 0;
  for (; i + 4 * LANES <= n; i += 4 * LANES) {
    a += load(x + i);
    b += load(x + i + LANES);
    c += load(x + i + 2 * LANES);
    d += load(x + i + 3 * LANES);
  }
  for (; i + LANES <= n; i += LANES) a += load(x + i);
  if (i < n) b += load_partial(x + i, n - i);
  return reduce_add((a + b) + (c + d));
}

/* inner == 1: a task sums one run of one row into partial[row][run]. */
static void sum_run_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct reduction *r = context;
  int32_t row = task / r->runs, begin = task % r->runs * RUN;
  r->partial[task] = sum_row(r->x + (size_t)row * (size_t)r->reduce + (size_t)begin, min32(RUN, r->reduce - begin));
}

/* Sums STRETCH rows of LANES columns pairwise; rows are `step` floats apart. */
INLINE vec sum_2(const float *x, size_t step) { return load(x) + load(x + step); }
INLINE vec sum_4(const float *x, size_t step) { return sum_2(x, step) + sum_2(x + 2 * step, step); }
INLINE vec sum_stretch(const float *x, size_t step) { return sum_4(x, step) + sum_4(x + 4 * step, step); }

/* inner > 1: a task sums one run of rows over a band of columns into partial[outer][run][inner], or into y if it is the only run. */
static void sum_band_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct reduction *r = context;
  int32_t band = task % r->bands, run = task / r->bands % r->runs, o = task / r->bands / r->runs;
  int32_t begin = band * COLUMNS, width = min32(COLUMNS, r->inner - begin);
  int32_t first = run * RUN, last = min32(r->reduce, first + RUN);
  float *y = (r->runs == 1 ? r->y : r->partial) + ((size_t)o * (size_t)r->runs + (size_t)run) * (size_t)r->inner + (size_t)begin;
  for (int32_t c = 0; c < width; c++) y[c] = 0.0f;
  size_t step = (size_t)r->inner;
  const float *x = r->x + ((size_t)o * (size_t)r->reduce + (size_t)first) * step + (size_t)begin;
  int32_t k = first;
  for (; k + STRETCH <= last; k += STRETCH, x += STRETCH * step) {
    int32_t c = 0;
    for (; c + LANES <= width; c += LANES) store(y + c, load(y + c) + sum_stretch(x + c, step));
    for (; c < width; c++) {
      float sum = 0.0f;
      for (int32_t i = 0; i < STRETCH; i++) sum += x[(size_t)i * step + (size_t)c];
      y[c] += sum;
    }
  }
  for (; k < last; k++, x += step) {
    int32_t c = 0;
    for (; c + LANES <= width; c += LANES) store(y + c, load(y + c) + load(x + c));
    for (; c < width; c++) y[c] += x[c];
  }
  if (r->runs == 1)
    for (int32_t c = 0; c < width; c++) y[c] *= r->scale;
}

INLINE int32_t runs_of(int32_t reduce) { return max32(1, ceil_div(reduce, RUN)); }
/* Whether there is a single run, whose sums are the result. */
INLINE int32_t one_run(int32_t reduce, int32_t inner) { return inner > 1 && runs_of(reduce) == 1; }

/* Floats of scratch memory for reduce_sum. */
KERNEL double reduce_sum_scratch(int32_t outer, int32_t reduce, int32_t inner) {
  return one_run(reduce, inner) ? 0 : (double)outer * runs_of(reduce) * inner;
}

/* y[o][i] = scale * sum_k x[o][k][i] */
KERNEL void reduce_sum(const float *x, float *y, float *scratch, int32_t outer, int32_t reduce, int32_t inner, float scale) {
  struct reduction r = {x, y, scratch, 0, outer, reduce, inner, runs_of(reduce), ceil_div(inner, COLUMNS), scale};
  if (inner == 1) pool_run(sum_run_task, &r, outer * r.runs);
  else pool_run(sum_band_task, &r, outer * r.runs * r.bands);
  if (one_run(reduce, inner)) return;
  for (int32_t o = 0; o < outer; o++)
    for (int32_t i = 0; i < inner; i++) {
      double sum = 0;
      for (int32_t run = 0; run < r.runs; run++)
        sum += scratch[((size_t)o * (size_t)r.runs + (size_t)run) * (size_t)inner + (size_t)i];
      y[(size_t)o * (size_t)inner + (size_t)i] = (float)(sum * scale);
    }
}

/* The extreme of a row and its first index; a NaN counts as the extreme. `beats` compares two numbers. */
#define EXTREME(name, beats)                                                                                          \
  static void name##_task(void *context, int32_t task, int32_t worker) {                                              \
    (void)worker;                                                                                                     \
    const struct reduction *r = context;                                                                              \
    for (int32_t i = 0; i < r->inner; i++) {                                                                          \
      const float *x = r->x + (size_t)task * (size_t)r->reduce * (size_t)r->inner + (size_t)i;                        \
      float best = x[0];                                                                                              \
      int32_t place = 0;                                                                                              \
      for (int32_t k = 1; k < r->reduce; k++) {                                                                       \
        float value = x[(size_t)k * (size_t)r->inner];                                                                \
        if (value beats best || (value != value && best == best)) best = value, place = k;                            \
      }                                                                                                               \
      size_t at = (size_t)task * (size_t)r->inner + (size_t)i;                                                        \
      if (r->y) r->y[at] = best;                                                                                      \
      if (r->index) r->index[at] = place;                                                                             \
    }                                                                                                                 \
  }                                                                                                                   \
  KERNEL void reduce_##name##imum(const float *x, float *y, int32_t outer, int32_t reduce, int32_t inner) {           \
    struct reduction r = {x, y, 0, 0, outer, reduce, inner, 0, 0, 1};                                                 \
    pool_run(name##_task, &r, outer);                                                                                 \
  }                                                                                                                   \
  KERNEL void reduce_arg##name(const float *x, int32_t *index, int32_t outer, int32_t reduce, int32_t inner) {        \
    struct reduction r = {x, 0, 0, index, outer, reduce, inner, 0, 0, 1};                                             \
    pool_run(name##_task, &r, outer);                                                                                 \
  }

EXTREME(max, >)
EXTREME(min, <)
