/* The kernels of the autograd engine itself: target += value, and a count of NaN and infinity. */
#include "several.cuh"
#include "storage.cuh"

/* A thread has eight elements. */
KERNEL accumulate_add(real *target, const real *value, int n) {
  each_of_several<8>(
      n, aligned<8>(target) && aligned<8>(value),
      [&](u32 first) {
        several<real, 8> sum = at_once<8>(target + first), more = at_once<8>(value + first);
#pragma unroll
        for (int k = 0; k < 8; k++) sum.of[k] = sum.of[k] + more.of[k];
        at_once<8>(target + first) = sum;
      },
      [&](u32 i) { target[i] = target[i] + value[i]; });
}

/* target = value + factor * other, where the product is rounded as if it were stored as a tensor; value may be 0, or target itself */
KERNEL accumulate_scaled(real *target, const real *value, const real *other, float factor, int n) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  real product;
  product = __fmul_rn(factor, other[i]);
  if (value) target[i] = value[i] + product;
  else target[i] = product;
}

/* count[0] += the number of elements that are not finite */
KERNEL accumulate_count_nonfinite(const real *x, int *count, int n) {
  u32 i = thread_number();
  if (i < (u32)n && (__float_as_uint(x[i]) & 0x7F800000u) == 0x7F800000u) atomicAdd(count, 1);
}
