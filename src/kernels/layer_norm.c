/* Layer normalisation and RMS normalisation of rows of n numbers:
 *   y = (x - mean) rstd weight + bias, rstd = 1 / sqrt(variance + eps); for RMS normalisation the mean is taken as 0.
 * A row is read while it is in the cache. The rounding error of a sum of nearly equal numbers is large compared to their deviation,
 * so a second pass computes a correction of the mean (`rest`) from the differences. Sums add STRETCH terms at a time in f32, and
 * their sums in double. The shape alone determines the rows of a task.
 */
#include "pool.h"

enum { ELEMENTS_PER_TASK = 1 << 16, LEAST_ROWS = 16, MOST_ROWS = 1 << 10, STRETCH = 32 * LANES };

struct norm {
  const float *x, *weight, *bias, *dy; /* weight and bias may be 0 */
  float *y, *dx, *mean, *rstd, *rest, *sums;
  int32_t rows, n, per_task, centred;
  float eps;
};

INLINE int32_t rows_of_task(int32_t n) { return min32(MOST_ROWS, max32(LEAST_ROWS, ELEMENTS_PER_TASK / max32(1, n))); }

static struct norm norm_of(const float *stats, int32_t rows, int32_t n) {
  float *s = (float *)stats;
  return (struct norm){.mean = s, .rstd = s + rows, .rest = s + 2 * (size_t)rows, .rows = rows, .n = n, .per_task = rows_of_task(n)};
}

/* Loops over a row in stretches: `vectors` adds to the vectors s and q, and for the rest `elements` to the floats. */
#define SUMS_OF_ROW(n, vectors, elements)                                            \
  for (int32_t i = 0; i < (n);) {                                                    \
    vec s = {}, q = {};                                                              \
    float one = 0, two = 0;                                                          \
    int32_t end = min32((n), i + STRETCH);                                           \
    for (; i + LANES <= end; i += LANES) vectors;                                    \
    for (; i < end; i++) elements;                                                   \
    first += (double)reduce_add(s) + (double)one;                                    \
    second += (double)reduce_add(q) + (double)two;                                   \
  }

INLINE void add_square(vec d, vec *s, vec *q) { *s += d, *q += d * d; }

static void forward_row(const struct norm *g, int32_t row) {
  int32_t n = g->n;
  const float *x = g->x + (size_t)row * (size_t)n, *weight = g->weight, *bias = g->bias;
  float *y = g->y + (size_t)row * (size_t)n;
  double first = 0, second = 0, scale = 1.0 / n;
  float mean = 0;
  if (g->centred) {
    SUMS_OF_ROW(n, s += load(x + i), one += x[i])
    mean = (float)(first * scale);
    first = 0, second = 0;
  }
  SUMS_OF_ROW(n, add_square(load(x + i) - mean, &s, &q), (one += x[i] - mean, two += (x[i] - mean) * (x[i] - mean)))
  double rest = g->centred ? first * scale : 0, variance = second * scale - rest * rest;
  /* If squares overflow f32, the result is NaN, not the zeros that a division by infinity would give. */
  if (!(variance < __builtin_inf())) variance = __builtin_nan("");
  else if (variance < 0) variance = 0;
  float rstd = (float)(1.0 / __builtin_sqrt(variance + (double)g->eps)), shift = (float)rest;
  g->mean[row] = mean, g->rstd[row] = rstd, g->rest[row] = shift;
  int32_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    vec v = (load(x + i) - mean - shift) * rstd;
    if (weight) v *= load(weight + i);
    if (bias) v += load(bias + i);
    store(y + i, v);
  }
  for (; i < n; i++) {
    float v = (x[i] - mean - shift) * rstd;
    if (weight) v *= weight[i];
    y[i] = bias ? v + bias[i] : v;
  }
}

static void forward_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct norm *g = context;
  int32_t begin = task * g->per_task, end = begin + min32(g->per_task, g->rows - begin);
  for (int32_t row = begin; row < end; row++) forward_row(g, row);
}

INLINE int32_t tasks_of(const struct norm *g) { return g->rows / g->per_task + (g->rows % g->per_task != 0); }

/* stats [3, rows]: mean, rstd and the rest of the mean; weight and bias [n] may be 0 */
KERNEL void layer_norm_forward(const float *x, const float *weight, const float *bias, float *y, float *stats, int32_t rows, int32_t n,
                               int32_t centred, float eps) {
  struct norm g = norm_of(stats, rows, n);
  g.x = x, g.weight = weight, g.bias = bias, g.y = y, g.centred = centred, g.eps = eps;
  pool_run(forward_task, &g, tasks_of(&g));
}

/* ---------------------------------------------------------------- backward */

/* dx of a row; adds dy x^ and dy, x^ = (x - mean) rstd, to the sums of the task. */
static void backward_row(const struct norm *g, int32_t row, float *weight_sums, float *bias_sums) {
  int32_t n = g->n;
  size_t at = (size_t)row * (size_t)n;
  const float *x = g->x + at, *dy = g->dy + at, *w = g->weight;
  float *dx = g->dx + at, mean = g->mean[row], rest = g->rest[row], rstd = g->rstd[row];
  double first = 0, second = 0;
  SUMS_OF_ROW(
      n,
      {
        vec d = w ? load(dy + i) * load(w + i) : load(dy + i);
        s += d;
        q += d * ((load(x + i) - mean - rest) * rstd);
      },
      {
        float d = w ? dy[i] * w[i] : dy[i];
        one += d;
        two += d * ((x[i] - mean - rest) * rstd);
      })
  float level = g->centred ? (float)(first / n) : 0, slope = (float)(second / n);
  int32_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    vec d = load(dy + i), v = (load(x + i) - mean - rest) * rstd;
    store(bias_sums + i, load(bias_sums + i) + d);
    store(weight_sums + i, load(weight_sums + i) + d * v);
    if (w) d *= load(w + i);
    store(dx + i, (d - level - v * slope) * rstd);
  }
  for (; i < n; i++) {
    float d = dy[i], v = (x[i] - mean - rest) * rstd;
    bias_sums[i] += d;
    weight_sums[i] += d * v;
    if (w) d *= w[i];
    dx[i] = (d - level - v * slope) * rstd;
  }
}

static void backward_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct norm *g = context;
  int32_t begin = task * g->per_task, end = begin + min32(g->per_task, g->rows - begin);
  float *weight_sums = g->sums + (size_t)task * 2 * (size_t)g->n, *bias_sums = weight_sums + g->n;
  for (int32_t i = 0; i < 2 * g->n; i++) weight_sums[i] = 0;
  for (int32_t row = begin; row < end; row++) backward_row(g, row, weight_sums, bias_sums);
}

/* How many sums the backward kernel writes for each column. */
KERNEL double layer_norm_parts(int32_t rows, int32_t n) { return ceil_div(rows, rows_of_task(n)); }

/* dx = rstd (weight dy - mean(weight dy) - x^ mean(weight dy x^)), without the first mean for RMS normalisation;
 * sums [parts, 2, n]: sums of dy x^ and of dy over some rows */
KERNEL void layer_norm_backward(const float *x, const float *weight, const float *stats, const float *dy, float *dx, float *sums,
                                int32_t rows, int32_t n, int32_t centred) {
  struct norm g = norm_of(stats, rows, n);
  g.x = x, g.weight = weight, g.dy = dy, g.dx = dx, g.sums = sums, g.centred = centred;
  pool_run(backward_task, &g, tasks_of(&g));
}
