/* Squared differences and their sum: runs of at most RUN terms in f32, then the runs' sums in double. */
#include "warp.cuh"

/* partial[run] = sum of (a - b)^2 over a run; one warp per run */
KERNEL loss_squares_runs(const float *a, const float *b, double *partial, int n, int runs) {
  u32 run = warp_number();
  if (run >= (u32)runs) return;
  int begin = (int)run * RUN, end = n - begin < RUN ? n : begin + RUN;
  float sum = 0.0f;
  for (int i = begin + lane_number(); i < end; i += WARP) sum += (a[i] - b[i]) * (a[i] - b[i]);
  double total = warp_sum((double)sum);
  if (lane_number() == 0) partial[run] = total;
}

/* out[0] = scale sum partial; one warp */
KERNEL loss_squares_sum(const double *partial, float *out, int runs, float scale) {
  double sum = 0;
  for (int run = lane_number(); run < runs; run += WARP) sum += partial[run];
  sum = warp_sum(sum);
  if (lane_number() == 0) out[0] = (float)(sum * scale);
}

/* out = (a - b)^2 */
KERNEL loss_squares(const float *a, const float *b, float *out, int n) {
  u32 i = thread_number();
  if (i < (u32)n) out[i] = (a[i] - b[i]) * (a[i] - b[i]);
}

/* da = 2 scale dy (a - b); one dy per element (stride 1) or one for all (stride 0) */
KERNEL loss_squares_backward(const float *a, const float *b, const float *dy, float *da, int n, int stride, float scale) {
  u32 i = thread_number();
  if (i < (u32)n) da[i] = 2.0f * scale * dy[(size_t)i * (size_t)stride] * (a[i] - b[i]);
}
