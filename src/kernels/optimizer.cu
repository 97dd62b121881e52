/* Adam with weight decay, clipping of the global norm and the moving average of the weights, in one pass over flat memory.
 * The norm: runs of at most RUN squares in f32, then the runs' sums in double.
 */
#include "storage.cuh"
#include "warp.cuh"

/* partial[run] = sum of x^2 over a run, a warp each */
KERNEL optimizer_norm_runs(const float *x, double *partial, int n, int runs) {
  u32 run = warp_number();
  if (run >= (u32)runs) return;
  int begin = (int)run * RUN, end = n - begin < RUN ? n : begin + RUN;
  float sum = 0.0f;
  for (int i = begin + lane_number(); i < end; i += WARP) sum += x[i] * x[i];
  double total = warp_sum((double)sum);
  if (lane_number() == 0) partial[run] = total;
}

/* norm[0] = sqrt(sum partial); one warp */
KERNEL optimizer_norm(const double *partial, float *norm, int runs) {
  double sum = 0;
  for (int run = lane_number(); run < runs; run += WARP) sum += partial[run];
  sum = warp_sum(sum);
  if (lane_number() == 0) norm[0] = (float)sqrt(sum);
}

/* One update; none where the norm is not finite. ema may be 0, and so may copy, which gets the parameters as bf16. max_norm < 0: no clipping.
 * schedule: rate, 1 - beta1^step, 1 - beta2^step, decay of the average. */
KERNEL optimizer_adam(float *p, float *g, float *m, float *v, float *ema, bf16 *copy, const float *norm,
                      const float *schedule, int n, float beta1, float beta2, float epsilon, float decay, float max_norm, int zero) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  if (!isfinite(norm[0])) {
    if (zero) g[i] = 0.0f;
    return;
  }
  /* torch.nn.utils.clip_grad_norm_: factor max / (norm + 1e-6), at most 1 */
  float clip = max_norm >= 0.0f && norm[0] + 1e-6f > max_norm ? max_norm / (norm[0] + 1e-6f) : 1.0f;
  float step_size = schedule[0] / schedule[1], inverse_root = 1.0f / sqrtf(schedule[2]);
  float gradient = g[i] * clip + p[i] * decay;
  float first = m[i] * beta1 + gradient * (1.0f - beta1);
  float second = v[i] * beta2 + gradient * gradient * (1.0f - beta2);
  float value = p[i] - step_size * first / (sqrtf(second) * inverse_root + epsilon);
  p[i] = value;
  if (copy) copy[i] = value;
  m[i] = first;
  v[i] = second;
  if (ema) ema[i] = ema[i] - (1.0f - schedule[3]) * (ema[i] - value);
  if (zero) g[i] = 0.0f;
}
