/* Adam with weight decay, clipping by the global norm and a moving average of the weights, in one pass over flat memory.
 * The norm adds runs of at most RUN squares in f32, then the sums of runs in double.
 */
#include "storage.cuh"
#include "warp.cuh"

/* partial[run] = sum of x^2 over a run; one warp per run */
KERNEL optimizer_norm_runs(const float *x, double *partial, int n, int runs) {
  u32 run = warp_number();
  if (run >= (u32)runs) return;
  int begin = (int)run * RUN, end = n - begin < RUN ? n : begin + RUN;
  float sum = 0.0f;
  for (int i = begin + lane_number(); i < end; i += WARP) sum += x[i] * x[i];
  double total = warp_sum((double)sum);
  if (lane_number() == 0) partial[run] = total;
}

/* norm[0] = sqrt(sum partial), and norm[1] = the factor that clips it to max_norm: max_norm / (norm + 1e-6), at most 1, as in
 * torch.nn.utils.clip_grad_norm_. If max_norm < 0, nothing is clipped. One warp. */
KERNEL optimizer_norm(const double *partial, float *norm, int runs, double max_norm) {
  double sum = 0;
  for (int run = lane_number(); run < runs; run += WARP) sum += partial[run];
  sum = warp_sum(sum);
  if (lane_number() != 0) return;
  double root = sqrt(sum);
  norm[0] = (float)root;
  norm[1] = max_norm >= 0 && root + 1e-6 > max_norm ? (float)(max_norm / (root + 1e-6)) : 1.0f;
}

/* One step of a moment: (kept + rest) * moment + share * new value. A single float differs from beta by up to 6e-8, which is large
 * compared to 1 - beta; the sum of two floats represents it exactly. */
DEVICE float moved(float moment, float sample, float kept, float rest, float share) {
  return moment * kept + (moment * rest + sample * share);
}

/* One update; nothing is updated if the norm is not finite. ema may be 0, and so may copy, which receives the parameters as bf16.
 * Every constant is rounded to f32 from a double:
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
