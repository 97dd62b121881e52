/* Batch normalisation of rows of C channels: y = (x - mean) rstd weight + bias, with a mean and a variance for each channel.
 * Statistics are computed for parts of the rows, whose second pass reads the cache, and are then joined in double: for each part the
 * mean, and the sums of the differences from it and of their squares. The shape alone determines the parts.
 */
#include "pool.h"

enum { ELEMENTS_PER_PART = 1 << 15, LEAST_ROWS = 16, MOST_ROWS = 1 << 10, BAND = 64 };

struct norm {
  const float *x, *weight, *bias, *dy, *sums; /* weight and bias may be 0 */
  float *y, *dx, *mean, *rstd, *rest, *partial, *running_mean, *running_variance;
  int32_t rows, c, part, parts, training;
  float eps, momentum;
};

INLINE int32_t rows_of_part(int32_t c) { return min32(MOST_ROWS, max32(LEAST_ROWS, ELEMENTS_PER_PART / max32(1, c))); }
INLINE int32_t parts_of(int32_t rows, int32_t c) { return ceil_div(rows, rows_of_part(c)); }

static struct norm norm_of(const float *stats, int32_t rows, int32_t c) {
  float *s = (float *)stats;
  return (struct norm){.mean = s, .rstd = s + c, .rest = s + 2 * (size_t)c, .rows = rows, .c = c, .part = rows_of_part(c),
                       .parts = parts_of(rows, c)};
}

/* How many parts the rows have. */
KERNEL double batch_norm_parts(int32_t rows, int32_t c) { return parts_of(rows, c); }

INLINE int32_t rows_in(const struct norm *g, int32_t p) { return min32(g->part, g->rows - p * g->part); }

/* partial [parts, 3, C]: mean of the part, sums of the differences from it and of their squares */
static void statistics_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct norm *g = context;
  size_t c = (size_t)g->c;
  int32_t rows = rows_in(g, task);
  const float *x = g->x + (size_t)task * (size_t)g->part * c;
  float *mean = g->partial + (size_t)task * 3 * c, *sum = mean + c, *square = sum + c;
  for (size_t i = 0; i < 3 * c; i++) mean[i] = 0;
  for (int32_t r = 0; r < rows; r++)
    for (size_t i = 0; i < c; i++) mean[i] += x[(size_t)r * c + i];
  for (size_t i = 0; i < c; i++) mean[i] /= (float)rows;
  for (int32_t r = 0; r < rows; r++)
    for (size_t i = 0; i < c; i++) {
      float d = x[(size_t)r * c + i] - mean[i];
      sum[i] += d;
      square[i] += d * d;
    }
}

/* Joins the statistics of the parts of a channel. */
static void join_channel(const struct norm *g, int32_t i) {
  size_t c = (size_t)g->c;
  const float *at = g->partial + i;
  double total = 0, squares = 0;
  for (int32_t p = 0; p < g->parts; p++, at += 3 * c) total += (double)at[0] * rows_in(g, p) + (double)at[c];
  double mean = total / g->rows;
  at = g->partial + i;
  for (int32_t p = 0; p < g->parts; p++, at += 3 * c) {
    double n = rows_in(g, p), difference = (double)at[c] / n, apart = (double)at[0] + difference - mean;
    squares += (double)at[2 * c] - difference * (double)at[c] + n * apart * apart;
  }
  double variance = squares / g->rows;
  /* If squares overflow f32, the result is NaN, not the zeros that a division by infinity would give. */
  if (!(variance < __builtin_inf())) variance = __builtin_nan("");
  else if (variance < 0) variance = 0;
  g->mean[i] = (float)mean;
  g->rest[i] = (float)(mean - (double)g->mean[i]);
  g->rstd[i] = (float)(1.0 / __builtin_sqrt(variance + (double)g->eps));
  double share = g->momentum;
  if (g->running_mean) g->running_mean[i] = (float)((1 - share) * g->running_mean[i] + share * mean);
  if (g->running_variance)
    g->running_variance[i] = (float)((1 - share) * g->running_variance[i] + share * variance * g->rows / (g->rows - 1));
}

static void join_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct norm *g = context;
  int32_t end = min32(g->c, (task + 1) * BAND);
  for (int32_t i = task * BAND; i < end; i++) join_channel(g, i);
}

/* stats [3, C]: mean, rstd and the rest of the mean; the running mean and variance are updated if they are not 0 */
KERNEL void batch_norm_statistics(const float *x, float *partial, float *stats, float *running_mean, float *running_variance,
                                  int32_t rows, int32_t c, float eps, float momentum) {
  struct norm g = norm_of(stats, rows, c);
  g.x = x, g.partial = partial, g.running_mean = running_mean, g.running_variance = running_variance;
  g.eps = eps, g.momentum = momentum;
  pool_run(statistics_task, &g, g.parts);
  pool_run(join_task, &g, ceil_div(c, BAND));
}

/* stats [3, C] from a given mean and variance */
KERNEL void batch_norm_given(const float *mean, const float *variance, float *stats, int32_t c, float eps) {
  struct norm g = norm_of(stats, 0, c);
  for (int32_t i = 0; i < c; i++) {
    g.mean[i] = mean[i];
    g.rstd[i] = (float)(1.0 / __builtin_sqrt((double)variance[i] + (double)eps));
    g.rest[i] = 0;
  }
}

static void forward_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct norm *g = context;
  size_t c = (size_t)g->c, at = (size_t)task * (size_t)g->part * c;
  const float *mean = g->mean, *rstd = g->rstd, *rest = g->rest, *weight = g->weight, *bias = g->bias;
  for (int32_t r = rows_in(g, task); r > 0; r--, at += c) {
    const float *x = g->x + at;
    float *y = g->y + at;
    size_t i = 0;
    for (; i + LANES <= c; i += LANES) {
      vec v = (load(x + i) - load(mean + i) - load(rest + i)) * load(rstd + i);
      if (weight) v *= load(weight + i);
      if (bias) v += load(bias + i);
      store(y + i, v);
    }
    for (; i < c; i++) {
      float v = (x[i] - mean[i] - rest[i]) * rstd[i];
      if (weight) v *= weight[i];
      y[i] = bias ? v + bias[i] : v;
    }
  }
}

KERNEL void batch_norm_forward(const float *x, const float *weight, const float *bias, const float *stats, float *y, int32_t rows,
                               int32_t c) {
  struct norm g = norm_of(stats, rows, c);
  g.x = x, g.weight = weight, g.bias = bias, g.y = y;
  pool_run(forward_task, &g, g.parts);
}

/* ---------------------------------------------------------------- backward */
static void sums_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct norm *g = context;
  size_t c = (size_t)g->c, at = (size_t)task * (size_t)g->part * c;
  const float *mean = g->mean, *rstd = g->rstd, *rest = g->rest;
  float *weighted = g->partial + (size_t)task * 2 * c, *plain = weighted + c;
  for (size_t i = 0; i < 2 * c; i++) weighted[i] = 0;
  for (int32_t r = rows_in(g, task); r > 0; r--, at += c) {
    const float *x = g->x + at, *dy = g->dy + at;
    for (size_t i = 0; i < c; i++) {
      plain[i] += dy[i];
      weighted[i] += dy[i] * ((x[i] - mean[i] - rest[i]) * rstd[i]);
    }
  }
}

/* partial [parts, 2, C]: sums of dy x^ and of dy over the rows of a part, x^ = (x - mean) rstd */
KERNEL void batch_norm_sums(const float *x, const float *stats, const float *dy, float *partial, int32_t rows, int32_t c) {
  struct norm g = norm_of(stats, rows, c);
  g.x = x, g.dy = dy, g.partial = partial;
  pool_run(sums_task, &g, g.parts);
}

static void backward_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct norm *g = context;
  size_t c = (size_t)g->c, at = (size_t)task * (size_t)g->part * c;
  const float *mean = g->mean, *rstd = g->rstd, *rest = g->rest, *weight = g->weight, *weighted = g->sums, *plain = weighted + c;
  float share = 1.0f / (float)g->rows;
  int32_t training = g->training;
  for (int32_t r = rows_in(g, task); r > 0; r--, at += c) {
    const float *x = g->x + at, *dy = g->dy + at;
    float *dx = g->dx + at;
    for (size_t i = 0; i < c; i++) {
      float v = (x[i] - mean[i] - rest[i]) * rstd[i], d = dy[i];
      if (training) d -= share * (plain[i] + v * weighted[i]);
      dx[i] = weight ? d * rstd[i] * weight[i] : d * rstd[i];
    }
  }
}

/* dx = weight rstd (dy - mean(dy) - x^ mean(dy x^)), without the means where the statistics were given; sums [2, C] over all rows */
KERNEL void batch_norm_backward(const float *x, const float *weight, const float *stats, const float *sums, const float *dy, float *dx,
                                int32_t rows, int32_t c, int32_t training) {
  struct norm g = norm_of(stats, rows, c);
  g.x = x, g.weight = weight, g.sums = sums, g.dy = dy, g.dx = dx, g.training = training;
  pool_run(backward_task, &g, g.parts);
}
