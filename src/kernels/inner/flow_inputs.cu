/* What a flow's network gets and is compared with, in one launch each. The results have the bits of the ops one by one, so products are
 * rounded before they are added.
 */
#include "common.cuh"

/* point = t x1 + (1 - t) x0 and direction = x1 - x0, [samples, width] in n elements; t [samples] */
KERNEL flow_inputs_path(const float *x0, const float *x1, const float *t, float *point, float *direction, int n, int width) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  float time = t[i / (u32)width], from = x0[i], to = x1[i];
  point[i] = __fadd_rn(__fmul_rn(time, to), __fmul_rn(__fsub_rn(1.0f, time), from));
  direction[i] = to - from;
}

/* y [rows, 2 half] = the sines, then the cosines of labels [rows] times frequencies [half]; n: rows times half */
KERNEL flow_inputs_sinusoids(const float *labels, const float *frequencies, float *y, int n, int half) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  u32 row = i / (u32)half, column = i % (u32)half;
  float angle = __fmul_rn(labels[row], frequencies[column]), *to = y + (size_t)row * 2 * (size_t)half + column;
  to[0] = sinf(angle);
  to[half] = cosf(angle);
}
