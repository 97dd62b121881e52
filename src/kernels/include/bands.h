/* Divides work on the columns of [outer, length, inner], where a column is x[o][0 .. length - 1][i]: a band is up to COLUMNS
 * neighbouring columns of one o. A task is several bands if they are small. The shape alone determines tasks and bands.
 */
#ifndef RECTIFLOW_BANDS_H
#define RECTIFLOW_BANDS_H

#include "pool.h"

enum { COLUMNS = 64, ELEMENTS_PER_TASK = 1 << 13 };

/* Processes the columns first .. first + width - 1 of o. */
typedef void (*band_body)(const void *context, int32_t o, int32_t first, int32_t width);

struct bands {
  band_body body;
  const void *context;
  int32_t outer, inner, of_each, per_task;
};

static void band_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct bands *b = context;
  int32_t count = b->outer * b->of_each, begin = task * b->per_task, end = count - begin < b->per_task ? count : begin + b->per_task;
  for (int32_t band = begin; band < end; band++) {
    int32_t first = band % b->of_each * COLUMNS;
    b->body(b->context, band / b->of_each, first, min32(COLUMNS, b->inner - first));
  }
}

/* Calls body for every band. outer and inner are at least 1; length, the work for a column, may be 0. */
INLINE void for_bands(band_body body, const void *context, int32_t outer, int32_t length, int32_t inner) {
  struct bands b = {body, context, outer, inner, inner / COLUMNS + (inner % COLUMNS != 0), 1};
  b.per_task = max32(1, ELEMENTS_PER_TASK / max32(1, length * min32(inner, COLUMNS)));
  int32_t count = outer * b.of_each;
  pool_run(band_task, &b, count / b.per_task + (count % b.per_task != 0));
}

#endif
