/* The lower or upper triangle of matrices. */
#include "pool.h"

enum { CHUNK = 1 << 14 };

struct triangle {
  const void *x;
  void *y;
  int32_t count, rows, columns, offset, upper, size, rows_per_task;
};

/* One row: y[c] = x[c] for from <= c < to, else 0 */
#define KEEP_ROW(type)                                                             \
  {                                                                                \
    const type *x = (const type *)t->x + (size_t)row * (size_t)t->columns;         \
    type *y = (type *)t->y + (size_t)row * (size_t)t->columns;                     \
    for (int32_t c = 0; c < t->columns; c++) y[c] = c >= from && c < to ? x[c] : 0; \
  }

static void keep_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct triangle *t = context;
  int32_t last = min32(t->count, (task + 1) * t->rows_per_task);
  for (int32_t row = task * t->rows_per_task; row < last; row++) {
    int32_t diagonal = row % t->rows + t->offset;
    int32_t from = t->upper ? max32(0, diagonal) : 0, to = t->upper ? t->columns : min32(t->columns, diagonal + 1);
    if (t->size == 4) KEEP_ROW(uint32_t)
    else if (t->size == 2) KEEP_ROW(uint16_t)
    else KEEP_ROW(uint8_t)
  }
}

/* n elements of matrices [rows, columns]; y = x where column - row <= offset (upper: >= offset), else 0. size: 1, 2 or 4 bytes. */
KERNEL void triangle_keep(const void *x, void *y, int32_t n, int32_t rows, int32_t columns, int32_t offset, int32_t upper,
                          int32_t size) {
  struct triangle t = {x, y, n / columns, rows, columns, offset, upper, size, max32(1, CHUNK / columns)};
  pool_run(keep_task, &t, ceil_div(t.count, t.rows_per_task));
}
