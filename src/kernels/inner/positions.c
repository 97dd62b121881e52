/* The positions of elements that are not zero, in two passes over parts of equal length: the first counts, the second writes. An
 * element of `size` bytes (1, 2 or 4) is not zero if a bit of `mask` is set in it.
 */
#include "pool.h"

struct search {
  const void *x;
  int32_t *offsets, *positions;
  int32_t n, size, part;
  uint32_t mask;
};

INLINE int32_t is_set(const struct search *s, int32_t i) {
  uint32_t bits = s->size == 4 ? ((const uint32_t *)s->x)[i] : s->size == 2 ? ((const uint16_t *)s->x)[i] : ((const uint8_t *)s->x)[i];
  return (bits & s->mask) != 0;
}

static void count_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct search *s = context;
  int32_t begin = task * s->part, end = begin + min32(s->part, s->n - begin), count = 0;
  for (int32_t i = begin; i < end; i++) count += is_set(s, i);
  s->offsets[task] = count;
}

/* offsets[part] = how many elements before the part are not zero; returns how many there are in all */
KERNEL double positions_count(const void *x, int32_t *offsets, int32_t n, int32_t size, int32_t mask, int32_t part) {
  struct search s = {.x = x, .offsets = offsets, .n = n, .size = size, .part = part, .mask = (uint32_t)mask};
  int32_t parts = n / part + (n % part != 0), total = 0;
  pool_run(count_task, &s, parts);
  for (int32_t i = 0; i < parts; i++) {
    int32_t count = offsets[i];
    offsets[i] = total;
    total += count;
  }
  return total;
}

static void write_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct search *s = context;
  int32_t begin = task * s->part, end = begin + min32(s->part, s->n - begin), *to = s->positions + s->offsets[task];
  for (int32_t i = begin; i < end; i++)
    if (is_set(s, i)) *to++ = i;
}

KERNEL void positions_write(const void *x, const int32_t *offsets, int32_t *positions, int32_t n, int32_t size, int32_t mask,
                            int32_t part) {
  struct search s = {.x = x, .offsets = (int32_t *)offsets, .positions = positions, .n = n, .size = size, .part = part,
                     .mask = (uint32_t)mask};
  pool_run(write_task, &s, n / part + (n % part != 0));
}

/* y[k * row + axis * column] = the coordinate of positions[k] along each axis; table: rank, dims[rank] */
KERNEL void positions_coordinates(const int32_t *positions, int32_t *y, const int32_t *table, int32_t count, int32_t row,
                                  int32_t column) {
  for (int32_t k = 0; k < count; k++) {
    int32_t rest = positions[k];
    for (int32_t axis = table[0] - 1; axis >= 0; axis--) {
      y[(size_t)k * (size_t)row + (size_t)axis * (size_t)column] = rest % table[1 + axis];
      rest /= table[1 + axis];
    }
  }
}
