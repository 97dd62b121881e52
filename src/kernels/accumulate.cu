/* What the autograd engine itself needs of a device: target += value, and a count of NaN and infinity. */
#include "storage.cuh"

KERNEL accumulate_add(real *target, const real *value, int n) {
  u32 i = thread_number();
  if (i < (u32)n) target[i] = target[i] + value[i];
}

/* count[0] += the elements that are not finite */
KERNEL accumulate_count_nonfinite(const real *x, int *count, int n) {
  u32 i = thread_number();
  if (i < (u32)n && (__float_as_uint(x[i]) & 0x7F800000u) == 0x7F800000u) atomicAdd(count, 1);
}
