/* Stable sorting along the middle axis of [outer, n, inner], copies by the indices it gives, binary search, and counts of whole
 * numbers. An element is sorted by one number of 64 bits: a key that orders as the value does, then its index, so that equal
 * values keep their order. NaN is greater than all numbers, and -0 equals 0.
 */
#include "bands.h"

enum { DESCENDING = 1, WHOLE = 2, SHORT_ROW = 64, DIGITS = 256 };

/* Unsigned numbers in the order of the values: f32, or i32 with WHOLE. */
INLINE uint32_t key_of(uint32_t bits, int32_t flags) {
  uint32_t key;
  if (flags & WHOLE) key = bits ^ 0x80000000u;
  else if ((bits & 0x7FFFFFFFu) > 0x7F800000u) key = 0xFFFFFFFFu;
  else if ((bits & 0x7FFFFFFFu) == 0) key = 0x80000000u;
  else key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return flags & DESCENDING ? ~key : key;
}

INLINE void sort_short(uint64_t *a, int32_t n) {
  for (int32_t i = 1; i < n; i++) {
    uint64_t value = a[i];
    int32_t j = i;
    for (; j > 0 && a[j - 1] > value; j--) a[j] = a[j - 1];
    a[j] = value;
  }
}

/* Sorts by the upper 32 bits, 8 at a time from the lowest; the rest is in order already. Returns where the result is: a or spare. */
static uint64_t *sort_long(uint64_t *a, uint64_t *spare, int32_t n) {
  for (int32_t shift = 32; shift < 64; shift += 8) {
    int32_t counts[DIGITS] = {0};
    for (int32_t i = 0; i < n; i++) counts[a[i] >> shift & (DIGITS - 1)]++;
    if (counts[a[0] >> shift & (DIGITS - 1)] == n) continue;
    for (int32_t digit = 0, before = 0; digit < DIGITS; digit++) {
      int32_t count = counts[digit];
      counts[digit] = before;
      before += count;
    }
    for (int32_t i = 0; i < n; i++) spare[counts[a[i] >> shift & (DIGITS - 1)]++] = a[i];
    uint64_t *sorted = spare;
    spare = a;
    a = sorted;
  }
  return a;
}

struct sorting {
  const uint32_t *x;
  uint32_t *values;
  int32_t *indices;
  uint64_t *scratch;
  int32_t rows, n, inner, keep, flags, rows_per_task, tasks, slots;
};

static void sort_task(void *context, int32_t task, int32_t worker) {
  const struct sorting *s = context;
  uint64_t *keys = s->scratch + (size_t)(s->tasks <= s->slots ? task : worker) * 2 * (size_t)s->n;
  int32_t begin = task * s->rows_per_task, end = s->rows - begin < s->rows_per_task ? s->rows : begin + s->rows_per_task;
  for (int32_t row = begin; row < end; row++) {
    size_t o = (size_t)(row / s->inner), i = (size_t)(row % s->inner), inner = (size_t)s->inner;
    const uint32_t *x = s->x + o * (size_t)s->n * inner + i;
    size_t to = o * (size_t)s->keep * inner + i;
    for (int32_t k = 0; k < s->n; k++) keys[k] = (uint64_t)key_of(x[(size_t)k * inner], s->flags) << 32 | (uint32_t)k;
    uint64_t *sorted = keys;
    if (s->n <= SHORT_ROW) sort_short(keys, s->n);
    else sorted = sort_long(keys, keys + s->n, s->n);
    for (int32_t k = 0; k < s->keep; k++, to += inner) {
      uint32_t index = (uint32_t)sorted[k];
      s->indices[to] = (int32_t)index;
      if (s->values) s->values[to] = x[(size_t)index * inner];
    }
  }
}

INLINE int32_t rows_per_task(int32_t n) { return max32(1, ELEMENTS_PER_TASK / n); }
INLINE int32_t tasks_of(int32_t rows, int32_t n) {
  int32_t each = rows_per_task(n);
  return rows / each + (rows % each != 0);
}

/* Numbers of 64 bits of scratch memory for sort_rows: two rows for each task that may run at once. */
KERNEL double sort_scratch(int32_t rows, int32_t n, int32_t workers) { return 2.0 * n * min32(tasks_of(rows, n), workers); }

/* The first `keep` elements of each row [outer, :, inner] in order, and their indices in the row. `values` may be 0; n >= 1.
 * flags: 1 from the largest to the smallest, 2 x is i32. */
KERNEL void sort_rows(const void *x, void *values, int32_t *indices, void *scratch, int32_t outer, int32_t n, int32_t inner, int32_t keep,
                      int32_t flags, int32_t workers) {
  int32_t rows = outer * inner;
  struct sorting s = {x, values, indices, scratch, rows, n, inner, keep, flags, rows_per_task(n), tasks_of(rows, n), workers};
  pool_run(sort_task, &s, s.tasks);
}

/* ---------------------------------------------------------------- copies by index along the middle axis */
struct choice {
  const float *from;
  const int32_t *indices;
  float *to;
  int32_t n, keep, inner;
};

static void gather_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct choice *s = context;
  const float *x = s->from + (size_t)o * (size_t)s->n * (size_t)s->inner;
  size_t row = (size_t)o * (size_t)s->keep * (size_t)s->inner;
  for (int32_t k = 0; k < s->keep; k++, row += (size_t)s->inner)
    for (int32_t c = first; c < first + width; c++)
      s->to[row + (size_t)c] = x[(size_t)s->indices[row + (size_t)c] * (size_t)s->inner + (size_t)c];
}

/* y[o][k][i] = x[o][indices[o][k][i]][i]; x has n rows, y `keep` */
KERNEL void sort_gather(const float *x, const int32_t *indices, float *y, int32_t outer, int32_t n, int32_t inner, int32_t keep) {
  struct choice s = {x, indices, y, n, keep, inner};
  for_bands(gather_band, &s, outer, keep, inner);
}

static void scatter_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct choice *s = context;
  float *dx = s->to + (size_t)o * (size_t)s->n * (size_t)s->inner;
  size_t row = (size_t)o * (size_t)s->keep * (size_t)s->inner;
  for (int32_t k = 0; k < s->keep; k++, row += (size_t)s->inner)
    for (int32_t c = first; c < first + width; c++)
      dx[(size_t)s->indices[row + (size_t)c] * (size_t)s->inner + (size_t)c] = s->from[row + (size_t)c];
}

/* dx[o][indices[o][k][i]][i] = dy[o][k][i]; the indices of a column are distinct, and dx is 0 before */
KERNEL void sort_scatter(const float *dy, const int32_t *indices, float *dx, int32_t outer, int32_t n, int32_t inner, int32_t keep) {
  struct choice s = {dy, indices, dx, n, keep, inner};
  for_bands(scatter_band, &s, outer, keep, inner);
}

/* ---------------------------------------------------------------- binary search */
struct search {
  const uint32_t *sorted, *values;
  int32_t *out;
  int32_t n, count, shared, right, flags;
};

static void search_band(const void *context, int32_t o, int32_t first, int32_t width) {
  const struct search *s = context;
  const uint32_t *row = s->sorted + (s->shared ? 0 : (size_t)o * (size_t)s->n);
  for (int32_t c = first; c < first + width; c++) {
    size_t at = (size_t)o * (size_t)s->count + (size_t)c;
    uint32_t key = key_of(s->values[at], s->flags);
    int32_t low = 0, high = s->n;
    while (low < high) {
      int32_t middle = low + (high - low) / 2;
      uint32_t other = key_of(row[middle], s->flags);
      if (other < key || (s->right && other == key)) low = middle + 1;
      else high = middle;
    }
    s->out[at] = low;
  }
}

/* out[o][c] = the number of elements of the sorted row o that are less than values[o][c], or with `right` not greater.
 * With `shared` there is one row for all; flags as in sort_rows. */
KERNEL void sort_search(const void *sorted, const void *values, int32_t *out, int32_t rows, int32_t n, int32_t count, int32_t shared,
                        int32_t right, int32_t flags) {
  struct search s = {sorted, values, out, n, count, shared, right, flags};
  for_bands(search_band, &s, rows, 32, count);
}

/* ---------------------------------------------------------------- counts of whole numbers */

/* counts[k] = the number of elements that equal k, for k in [0, length); others are not counted. counts is 0 before. */
KERNEL void sort_count(const int32_t *x, int32_t *counts, int32_t n, int32_t length) {
  for (int32_t i = 0; i < n; i++)
    if (x[i] >= 0 && x[i] < length) counts[x[i]]++;
}
