/* Elements chosen by index along one axis. x is [outer, rows, inner]; element (o, k, i) of a choice, k < count, is x[o][index][i].
 * With `each`, every element of the choice has its own index, index[o][k][i]; otherwise index[k] serves all o and i.
 * The indices have been checked. A task owns the elements that it writes, and visits k in order, so that the bits of sums and the
 * last of several writes do not depend on the tasks.
 */
#include "pool.h"

enum { CHUNK = 1 << 14, BAND = 64 };

struct choice {
  const void *x, *values;
  void *y;
  const int32_t *index, *owner;
  int32_t *owners;
  int32_t outer, rows, inner, count, each, size, bands, total, per_task;
};

/* The index of element (o, k, first). */
INLINE const int32_t *index_at(const struct choice *c, int32_t o, int32_t k, int32_t first) {
  if (!c->each) return c->index + k;
  return c->index + ((size_t)o * (size_t)c->count + (size_t)k) * (size_t)c->inner + (size_t)first;
}

/* Runs `body` on `total` rows or bands, each of `work` elements. */
static void run(pool_body body, struct choice *c, int32_t total, int32_t work) {
  c->total = total;
  c->per_task = max32(1, CHUNK / max32(1, work));
  pool_run(body, c, total / c->per_task + (total % c->per_task != 0));
}

/* Loops over the rows or bands of a task. */
#define EACH_OF_TASK(n)                                                        \
  (void)worker;                                                                \
  const struct choice *c = context;                                            \
  int32_t n = task * c->per_task, last = n + min32(c->per_task, c->total - n); \
  for (; n < last; n++)

#define BY_SIZE(loop)                   \
  if (c->size == 4) loop(uint32_t)      \
  else if (c->size == 2) loop(uint16_t) \
  else loop(uint8_t)

/* ---------------------------------------------------------------- reading */
#define COPY(type)                                                                   \
  {                                                                                  \
    const type *from = (const type *)c->x + first;                                   \
    type *to = (type *)c->y + (size_t)n * width;                                     \
    if (c->each)                                                                     \
      for (size_t i = 0; i < width; i++) to[i] = from[(size_t)index[i] * width + i]; \
    else                                                                             \
      for (size_t i = 0; i < width; i++) to[i] = from[(size_t)index[0] * width + i]; \
  }

static void take_task(void *context, int32_t task, int32_t worker) {
  EACH_OF_TASK(n) {
    int32_t o = n / c->count, k = n % c->count;
    const int32_t *index = index_at(c, o, k, 0);
    size_t width = (size_t)c->inner, first = (size_t)o * (size_t)c->rows * width;
    BY_SIZE(COPY)
  }
}

/* y[o][k][i] = x[o][index][i]; elements of `size` bytes: 1, 2 or 4 */
KERNEL void indexing_take(const void *x, const int32_t *index, void *y, int32_t outer, int32_t rows, int32_t inner, int32_t count,
                          int32_t each, int32_t size) {
  struct choice c = {.x = x, .index = index, .y = y, .outer = outer, .rows = rows, .inner = inner, .count = count, .each = each, .size = size};
  run(take_task, &c, outer * count, inner);
}

static void take_owned_task(void *context, int32_t task, int32_t worker) {
  EACH_OF_TASK(n) {
    int32_t o = n / c->count, k = n % c->count;
    const int32_t *index = index_at(c, o, k, 0);
    size_t width = (size_t)c->inner, first = (size_t)o * (size_t)c->rows * width;
    for (size_t i = 0; i < width; i++) {
      size_t at = first + (size_t)index[i] * width + i;
      ((float *)c->y)[(size_t)n * width + i] = c->owner[at] == k ? ((const float *)c->x)[at] : 0.0f;
    }
  }
}

/* The same for a choice with an index for each element, but 0 where element (o, k, i) does not own the place that it chooses. */
KERNEL void indexing_take_owned(const float *x, const int32_t *index, const int32_t *owner, float *y, int32_t outer, int32_t rows,
                                int32_t inner, int32_t count) {
  struct choice c = {.x = x, .index = index, .owner = owner, .y = y, .outer = outer, .rows = rows, .inner = inner, .count = count,
                     .each = 1};
  run(take_owned_task, &c, outer * count, inner);
}

/* ---------------------------------------------------------------- writing: a task owns bands of columns */
static void run_bands(pool_body body, struct choice *c) {
  c->bands = ceil_div(c->inner, BAND);
  int32_t elements = max32(1, c->count) > CHUNK ? CHUNK : max32(1, c->count) * min32(BAND, c->inner);
  run(body, c, c->outer * c->bands, elements);
}

static void add_task(void *context, int32_t task, int32_t worker) {
  EACH_OF_TASK(n) {
    int32_t o = n / c->bands, begin = n % c->bands * BAND, width = min32(BAND, c->inner - begin);
    float *y = (float *)c->y + (size_t)o * (size_t)c->rows * (size_t)c->inner + (size_t)begin;
    const float *v = (const float *)c->values + (size_t)o * (size_t)c->count * (size_t)c->inner + (size_t)begin;
    for (int32_t k = 0; k < c->count; k++, v += c->inner) {
      const int32_t *index = index_at(c, o, k, begin);
      if (c->each) {
        for (int32_t i = 0; i < width; i++) y[(size_t)index[i] * (size_t)c->inner + (size_t)i] += v[i];
      } else {
        float *row = y + (size_t)index[0] * (size_t)c->inner;
        for (int32_t i = 0; i < width; i++) row[i] += v[i];
      }
    }
  }
}

/* y[o][index][i] += values[o][k][i] */
KERNEL void indexing_add(const float *values, const int32_t *index, float *y, int32_t outer, int32_t rows, int32_t inner,
                         int32_t count, int32_t each) {
  struct choice c = {.values = values, .index = index, .y = y, .outer = outer, .rows = rows, .inner = inner, .count = count, .each = each};
  run_bands(add_task, &c);
}

static void owner_task(void *context, int32_t task, int32_t worker) {
  EACH_OF_TASK(n) {
    int32_t o = n / c->bands, begin = n % c->bands * BAND, width = min32(BAND, c->inner - begin);
    int32_t *owners = c->owners + (size_t)o * (size_t)c->rows * (size_t)c->inner + (size_t)begin;
    for (int32_t r = 0; r < c->rows; r++)
      for (int32_t i = 0; i < width; i++) owners[(size_t)r * (size_t)c->inner + (size_t)i] = -1;
    for (int32_t k = 0; k < c->count; k++) {
      const int32_t *index = index_at(c, o, k, begin);
      for (int32_t i = 0; i < width; i++) owners[(size_t)index[i] * (size_t)c->inner + (size_t)i] = k;
    }
  }
}

/* owners[o][r][i] = the last k of a choice with an index for each element that chooses the place, or -1 */
KERNEL void indexing_owners(const int32_t *index, int32_t *owners, int32_t outer, int32_t rows, int32_t inner, int32_t count) {
  struct choice c = {.index = index, .owners = owners, .outer = outer, .rows = rows, .inner = inner, .count = count, .each = 1};
  run_bands(owner_task, &c);
}

#define PUT(type)                                                                                         \
  for (size_t i = 0; i < width; i++) {                                                                    \
    size_t from = owner[i] < 0 ? at + i : first + (size_t)owner[i] * width + i;                           \
    ((type *)c->y)[at + i] = owner[i] < 0 ? ((const type *)c->x)[from] : ((const type *)c->values)[from]; \
  }

static void put_task(void *context, int32_t task, int32_t worker) {
  EACH_OF_TASK(n) {
    size_t width = (size_t)c->inner, at = (size_t)n * width, first = (size_t)(n / c->rows) * (size_t)c->count * width;
    const int32_t *owner = c->owner + at;
    BY_SIZE(PUT)
  }
}

static void keep_task(void *context, int32_t task, int32_t worker) {
  EACH_OF_TASK(n) {
    size_t width = (size_t)c->inner, at = (size_t)n * width;
    for (size_t i = 0; i < width; i++) ((float *)c->y)[at + i] = c->owner[at + i] < 0 ? ((const float *)c->x)[at + i] : 0.0f;
  }
}

/* y[o][r][i] = values[o][owner][i] where the place has an owner, else x[o][r][i]; elements of `size` bytes: 1, 2 or 4 */
KERNEL void indexing_put(const void *x, const void *values, const int32_t *owner, void *y, int32_t outer, int32_t rows,
                         int32_t inner, int32_t count, int32_t size) {
  struct choice c = {.x = x, .values = values, .owner = owner, .y = y, .outer = outer, .rows = rows, .inner = inner, .count = count, .size = size};
  run(put_task, &c, outer * rows, inner);
}

/* y = x where the place has no owner, else 0 */
KERNEL void indexing_keep(const float *x, const int32_t *owner, float *y, int32_t outer, int32_t rows, int32_t inner) {
  struct choice c = {.x = x, .owner = owner, .y = y, .rows = rows, .inner = inner};
  run(keep_task, &c, outer * rows, inner);
}
