/* The check of indices before the kernels that use them. */
#include "common.cuh"

/* first[0] = the smallest k whose index is outside [0, limit); unchanged if there is none */
KERNEL indices_first_outside(const int *index, int *first, int count, int limit) {
  u32 k = thread_number();
  if (k < (u32)count && (index[k] < 0 || index[k] >= limit)) atomicMin(first, (int)k);
}
