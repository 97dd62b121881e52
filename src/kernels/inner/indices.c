/* The check of indices before the kernels that use them. */
#include "pool.h"

/* The smallest k whose index is outside [0, limit), or -1. */
KERNEL double indices_first_outside(const int32_t *index, int32_t count, int32_t limit) {
  for (int32_t k = 0; k < count; k++)
    if (index[k] < 0 || index[k] >= limit) return k;
  return -1;
}
