/* Softmax, log-softmax and cross entropy over rows of n numbers. m = max of the row, s = sum exp(x - m). */
#include "pool.h"

enum { ELEMENTS_PER_TASK = 1 << 14, STRETCH = 32 * LANES };

struct rows {
  const float *x, *y, *dy;
  float *out, *loss;
  const int32_t *labels;
  int32_t count, n, per_task, stride_dy, bad;
  float scale;
};

INLINE float row_max(const float *x, int32_t n) {
  vec best = splat(-__builtin_inff());
  int32_t i = 0;
  for (; i + LANES <= n; i += LANES) best = vec_max(load(x + i), best);
  float m = reduce_max(best);
  for (; i < n; i++) m = x[i] > m ? x[i] : m;
  return m;
}

/* The sum over a row: `vectors` gives the terms of whole vectors (i: the first element of each), `elements` those of the rest.
 * STRETCH terms at a time are added in f32 and their sums in double, because one f32 sum would round many equal terms in the same
 * direction, with an error that grows with their number. */
#define SUM_OF_ROW(n, vectors, elements)                                 \
  double total = 0;                                                      \
  int32_t i = 0;                                                         \
  while (i + LANES <= n) {                                               \
    vec sum = {};                                                        \
    for (int32_t end = min32(n, i + STRETCH); i + LANES <= end; i += LANES) vectors; \
    total += (double)reduce_add(sum);                                    \
  }                                                                      \
  float rest = 0;                                                        \
  for (; i < n; i++) rest += (elements);                                 \
  return (float)(total + (double)rest);

INLINE vec put_exp(const float *x, float *out, float m) {
  vec e = vec_exp(load(x) - m);
  store(out, e);
  return e;
}

/* out = exp(x - m); returns the sum */
INLINE float row_exp(const float *x, float *out, int32_t n, float m) {
  SUM_OF_ROW(n, sum += put_exp(x + i, out + i, m), out[i] = f32_exp(x[i] - m))
}
INLINE float row_sum_exp(const float *x, int32_t n, float m) { SUM_OF_ROW(n, sum += vec_exp(load(x + i) - m), f32_exp(x[i] - m)) }
INLINE float row_dot(const float *a, const float *b, int32_t n) { SUM_OF_ROW(n, sum += load(a + i) * load(b + i), a[i] * b[i]) }
INLINE float row_sum(const float *a, int32_t n) { SUM_OF_ROW(n, sum += load(a + i), a[i]) }

#define ROW_TASK(name)                                                                  \
  static void name##_task(void *context, int32_t task, int32_t worker) {                \
    (void)worker;                                                                       \
    const struct rows *r = context;                                                     \
    int32_t last = min32(r->count, (task + 1) * r->per_task);                           \
    for (int32_t row = task * r->per_task; row < last; row++) name##_row(r, row, (size_t)row * (size_t)r->n); \
  }                                                                                     \
  static void name##_run(struct rows *r) {                                              \
    r->per_task = max32(1, ELEMENTS_PER_TASK / max32(1, r->n));                         \
    pool_run(name##_task, r, ceil_div(r->count, r->per_task));                          \
  }

INLINE void forward_row(const struct rows *r, int32_t row, size_t at) {
  (void)row;
  float *out = r->out + at, scale = 1.0f / row_exp(r->x + at, out, r->n, row_max(r->x + at, r->n));
  for (int32_t i = 0; i < r->n; i++) out[i] *= scale;
}
ROW_TASK(forward)

/* y = softmax(x), rows of n */
KERNEL void softmax_forward(const float *x, float *y, int32_t count, int32_t n) {
  struct rows r = {.x = x, .out = y, .count = count, .n = n};
  forward_run(&r);
}

INLINE void backward_row(const struct rows *r, int32_t row, size_t at) {
  (void)row;
  float mean = row_dot(r->y + at, r->dy + at, r->n);
  for (int32_t i = 0; i < r->n; i++) r->out[at + (size_t)i] = r->scale * r->y[at + (size_t)i] * (r->dy[at + (size_t)i] - mean);
}
ROW_TASK(backward)

/* dx = scale y (dy - sum(y dy)) */
KERNEL void softmax_backward(const float *y, const float *dy, float *dx, int32_t count, int32_t n, float scale) {
  struct rows r = {.y = y, .dy = dy, .out = dx, .count = count, .n = n, .scale = scale};
  backward_run(&r);
}

INLINE void log_row(const struct rows *r, int32_t row, size_t at) {
  (void)row;
  float m = row_max(r->x + at, r->n), log_sum = f32_log(row_sum_exp(r->x + at, r->n, m));
  for (int32_t i = 0; i < r->n; i++) r->out[at + (size_t)i] = r->x[at + (size_t)i] - m - log_sum;
}
ROW_TASK(log)

/* y = log softmax(x) */
KERNEL void softmax_log_forward(const float *x, float *y, int32_t count, int32_t n) {
  struct rows r = {.x = x, .out = y, .count = count, .n = n};
  log_run(&r);
}

INLINE void log_backward_row(const struct rows *r, int32_t row, size_t at) {
  (void)row;
  float total = row_sum(r->dy + at, r->n);
  for (int32_t i = 0; i < r->n; i++) r->out[at + (size_t)i] = r->dy[at + (size_t)i] - f32_exp(r->y[at + (size_t)i]) * total;
}
ROW_TASK(log_backward)

/* dx = dy - exp(y) sum(dy) */
KERNEL void softmax_log_backward(const float *y, const float *dy, float *dx, int32_t count, int32_t n) {
  struct rows r = {.y = y, .dy = dy, .out = dx, .count = count, .n = n};
  log_backward_run(&r);
}

INLINE void entropy_row(const struct rows *r, int32_t row, size_t at) {
  const float *x = r->x + at;
  float m = row_max(x, r->n);
  r->loss[row] = f32_log(row_sum_exp(x, r->n, m)) - (x[r->labels[row]] - m);
}
ROW_TASK(entropy)

/* loss[row] = -log softmax(x)[label]; returns the row of the first label outside [0, n), or -1 */
KERNEL double softmax_cross_entropy(const float *x, const int32_t *labels, float *loss, int32_t count, int32_t n) {
  for (int32_t i = 0; i < count; i++)
    if (labels[i] < 0 || labels[i] >= n) return i;
  struct rows r = {.x = x, .labels = labels, .loss = loss, .count = count, .n = n};
  entropy_run(&r);
  return -1;
}

INLINE void entropy_backward_row(const struct rows *r, int32_t row, size_t at) {
  const float *x = r->x + at;
  float *out = r->out + at, m = row_max(x, r->n), g = r->dy[row * r->stride_dy] * r->scale;
  float scale = g / row_exp(x, out, r->n, m);
  for (int32_t i = 0; i < r->n; i++) out[i] *= scale;
  out[r->labels[row]] -= g;
}
ROW_TASK(entropy_backward)

/* dx = scale dloss (softmax(x) - onehot(label)); one dloss per row (stride 1) or one for all (stride 0) */
KERNEL void softmax_cross_entropy_backward(const float *x, const int32_t *labels, const float *dloss, float *dx, int32_t count,
                                           int32_t n, int32_t stride, float scale) {
  struct rows r = {.x = x, .labels = labels, .dy = dloss, .out = dx, .count = count, .n = n, .stride_dy = stride, .scale = scale};
  entropy_backward_run(&r);
}
