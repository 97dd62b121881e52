/* Copies between strided windows: permute, slice, pad, concat and broadcast all use this loop.
 * table: rank, dims[rank], source strides[rank], target strides[rank], in elements; strides may be negative.
 */
#include "pool.h"

enum { CHUNK = 1 << 14 };

struct copy {
  const char *source;
  char *target;
  const int32_t *table;
  int32_t size, rows, width, rows_per_task;
};

INLINE void copy_row(const char *source, char *target, int32_t n, int64_t from, int64_t to, int32_t size) {
  if (size == 4 && from == 1 && to == 1) {
    const float *s = (const float *)source;
    float *t = (float *)target;
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES) store(t + i, load(s + i));
    for (; i < n; i++) t[i] = s[i];
  } else if (size == 4) {
    for (int32_t i = 0; i < n; i++) ((uint32_t *)target)[i * to] = ((const uint32_t *)source)[i * from];
  } else if (size == 2) {
    for (int32_t i = 0; i < n; i++) ((uint16_t *)target)[i * to] = ((const uint16_t *)source)[i * from];
  } else {
    for (int32_t i = 0; i < n; i++) target[i * to] = source[i * from];
  }
}

static void copy_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct copy *c = context;
  const int32_t rank = c->table[0], *dims = c->table + 1, *from = dims + rank, *to = from + rank;
  int32_t last = min32(c->rows, (task + 1) * c->rows_per_task);
  for (int32_t r = task * c->rows_per_task; r < last; r++) {
    int64_t s = 0, t = 0;
    for (int32_t axis = rank - 2, rest = r; axis >= 0; axis--) {
      int64_t index = rest % dims[axis];
      s += index * from[axis];
      t += index * to[axis];
      rest /= dims[axis];
    }
    copy_row(c->source + s * c->size, c->target + t * c->size, c->width, from[rank - 1], to[rank - 1], c->size);
  }
}

KERNEL void movement_copy(const void *source, void *target, const int32_t *table, int32_t size) {
  struct copy c = {source, target, table, size, 1, table[table[0]], 1};
  for (int32_t axis = 0; axis < table[0] - 1; axis++) c.rows *= table[1 + axis];
  c.rows_per_task = max32(1, CHUNK / max32(1, c.width));
  pool_run(copy_task, &c, ceil_div(c.rows, c.rows_per_task));
}

/* ---------------------------------------------------------------- fill, rows by index */
struct fill { float *y; float value; int32_t n; };

static void fill_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct fill *f = context;
  int32_t end = min32(f->n, (task + 1) * CHUNK);
  for (int32_t i = task * CHUNK; i < end; i++) f->y[i] = f->value;
}

KERNEL void movement_fill(float *y, float value, int32_t n) {
  struct fill f = {y, value, n};
  pool_run(fill_task, &f, n / CHUNK + (n % CHUNK != 0));
}

/* y[k] = x[index[k]], rows of `width`. Returns the first position whose index is outside [0, rows), or -1. */
KERNEL double movement_gather(const float *x, const int32_t *index, float *y, int32_t count, int32_t rows, int32_t width) {
  for (int32_t k = 0; k < count; k++)
    if (index[k] < 0 || index[k] >= rows) return k;
  for (int32_t k = 0; k < count; k++)
    copy_row((const char *)(x + (size_t)index[k] * (size_t)width), (char *)(y + (size_t)k * (size_t)width), width, 1, 1, 4);
  return -1;
}

struct scatter { const float *dy; const int32_t *index; float *dx; int32_t count, width; };

/* A task owns a band of columns and visits the rows in order, so that the order of additions is fixed. */
static void scatter_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct scatter *s = context;
  enum { BAND = 64 };
  int32_t begin = task * BAND, end = min32(s->width, begin + BAND);
  for (int32_t k = 0; k < s->count; k++) {
    const float *from = s->dy + (size_t)k * (size_t)s->width;
    float *to = s->dx + (size_t)s->index[k] * (size_t)s->width;
    for (int32_t c = begin; c < end; c++) to[c] += from[c];
  }
}

/* dx[index[k]] += dy[k]; dx must be zero before */
KERNEL void movement_scatter_add(const float *dy, const int32_t *index, float *dx, int32_t count, int32_t width) {
  struct scatter s = {dy, index, dx, count, width};
  pool_run(scatter_task, &s, ceil_div(width, 64));
}

KERNEL double movement_one_hot(const int32_t *index, float *y, int32_t count, int32_t depth) {
  for (int32_t k = 0; k < count; k++) {
    if (index[k] < 0 || index[k] >= depth) return k;
    for (int32_t c = 0; c < depth; c++) y[(size_t)k * (size_t)depth + (size_t)c] = c == index[k];
  }
  return -1;
}
