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

/* norm[0] = sqrt(sum partial), and norm[1] = the factor that clips it to max_norm: max_norm / (norm + 1e-6) as
 * torch.nn.utils.clip_grad_norm_ has it, at most 1. max_norm < 0: no clipping. One warp. */
KERNEL optimizer_norm(const double *partial, float *norm, int runs, double max_norm) {
  double sum = 0;
  for (int run = lane_number(); run < runs; run += WARP) sum += partial[run];
  sum = warp_sum(sum);
  if (lane_number() != 0) return;
  double root = sqrt(sum);
  norm[0] = (float)root;
  norm[1] = max_norm >= 0 && root + 1e-6 > max_norm ? (float)(max_norm / (root + 1e-6)) : 1.0f;
}

/* One step of a moment: (kept + rest) of what it was and `share` of what is new. A float alone is off by up to 6e-8 from beta, which
 * is much beside 1 - beta; two floats have it whole. */
DEVICE float moved(float moment, float sample, float kept, float rest, float share) {
  return moment * kept + (moment * rest + sample * share);
}

/* One update; none where the norm is not finite. ema may be 0, and so may copy, which gets the parameters as bf16. Every constant is
 * rounded to f32 from a double:
 * norm: see optimizer_norm; schedule: rate / (1 - beta1^step), 1 / sqrt(1 - beta2^step), 1 - decay of the average. */
KERNEL optimizer_adam(float *p, float *g, float *m, float *v, float *ema, bf16 *copy, const float *norm,
                      const float *schedule, int n, float kept1, float rest1, float share1, float kept2, float rest2,
                      float share2, float epsilon, float decay, int zero) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  if (!isfinite(norm[0])) {
    if (zero) g[i] = 0.0f;
    return;
  }
  float gradient = g[i] * norm[1] + p[i] * decay;
  float first = moved(m[i], gradient, kept1, rest1, share1);
  float second = moved(v[i], gradient * gradient, kept2, rest2, share2);
  float value = p[i] - schedule[0] * first / (sqrtf(second) * schedule[1] + epsilon);
  p[i] = value;
  if (copy) copy[i] = value;
  m[i] = first;
  v[i] = second;
  if (ema) ema[i] = ema[i] - schedule[2] * (ema[i] - value);
  if (zero) g[i] = 0.0f;
}
