/* The updates of the optimisers: each is one pass over flat memory, with weight decay, clipping by the global norm and a moving
 * average of the weights.
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
 * torch.nn.utils.clip_grad_norm_. If max_norm < 0, nothing is clipped. The norm is NaN if one of the `guards` numbers of guard is not
 * finite. One block. */
KERNEL optimizer_norm(const double *partial, float *norm, int runs, double max_norm, const float *guard, int guards) {
  __shared__ double sums[WARP];
  double sum = 0;
  for (int run = (int)threadIdx.x; run < runs; run += (int)blockDim.x) sum += partial[run];
  for (int i = (int)threadIdx.x; i < guards; i += (int)blockDim.x)
    if (!isfinite(guard[i])) sum += (double)__int_as_float(0x7FFFFFFF);
  sum = warp_sum(sum);
  if (lane_number() == 0) sums[threadIdx.x / WARP] = sum;
  __syncthreads();
  if (threadIdx.x >= WARP) return;
  sum = warp_sum(lane_number() < (int)blockDim.x / WARP ? sums[lane_number()] : 0.0);
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

/* Stores the parameter and moves its average. copy, which receives the parameter as bf16, and ema may be 0. */
DEVICE void put(u32 i, float value, float *p, float *ema, bf16 *copy, float ema_share) {
  p[i] = value;
  if (copy) copy[i] = value;
  if (ema) ema[i] = ema[i] - ema_share * (ema[i] - value);
}

/* Whether element i of n has nothing to update: it does not exist, or the norm is not finite. Then its gradient is zeroed. */
DEVICE bool skipped(u32 i, int n, const float *norm, float *g, int zero) {
  if (i >= (u32)n) return true;
  if (isfinite(norm[0])) return false;
  if (zero) g[i] = 0.0f;
  return true;
}

/* Each kernel makes one update; nothing is updated if the norm is not finite. ema and copy may be 0. Every constant is rounded to f32
 * from a double. norm: see optimizer_norm. The schedule holds what changes from update to update: the rate, a number of the rule,
 * 1 - decay of the average, and the rate times the decoupled weight decay. */

/* schedule: rate / (1 - beta1^step), 1 / sqrt(1 - beta2^step); decay: the factor of an L2 penalty */
KERNEL optimizer_adam(float *p, float *g, float *m, float *v, float *ema, bf16 *copy, const float *norm,
                      const float *schedule, int n, float kept1, float rest1, float share1, float kept2, float rest2,
                      float share2, float epsilon, float decay, int zero) {
  u32 i = thread_number();
  if (skipped(i, n, norm, g, zero)) return;
  float gradient = g[i] * norm[1] + p[i] * decay;
  float first = moved(m[i], gradient, kept1, rest1, share1);
  float second = moved(v[i], gradient * gradient, kept2, rest2, share2);
  put(i, p[i] - schedule[0] * first / (sqrtf(second) * schedule[1] + epsilon), p, ema, copy, schedule[2]);
  m[i] = first;
  v[i] = second;
  if (zero) g[i] = 0.0f;
}

/* Adam with decoupled weight decay (Loshchilov, Hutter 2019). schedule: as for Adam */
KERNEL optimizer_adamw(float *p, float *g, float *m, float *v, float *ema, bf16 *copy, const float *norm,
                       const float *schedule, int n, float kept1, float rest1, float share1, float kept2, float rest2,
                       float share2, float epsilon, int zero) {
  u32 i = thread_number();
  if (skipped(i, n, norm, g, zero)) return;
  float gradient = g[i] * norm[1];
  float first = moved(m[i], gradient, kept1, rest1, share1);
  float second = moved(v[i], gradient * gradient, kept2, rest2, share2);
  float value = p[i] - p[i] * schedule[3] - schedule[0] * first / (sqrtf(second) * schedule[1] + epsilon);
  put(i, value, p, ema, copy, schedule[2]);
  m[i] = first;
  v[i] = second;
  if (zero) g[i] = 0.0f;
}

/* m may be 0, for no momentum. schedule: rate, share of the gradient in the moment; decay: the factor of an L2 penalty */
KERNEL optimizer_sgd(float *p, float *g, float *m, float *ema, bf16 *copy, const float *norm, const float *schedule,
                     int n, float kept, float rest, float decay, int nesterov, int zero) {
  u32 i = thread_number();
  if (skipped(i, n, norm, g, zero)) return;
  float step = g[i] * norm[1] + p[i] * decay;
  if (m) {
    float moment = moved(m[i], step, kept, rest, schedule[1]);
    m[i] = moment;
    step = nesterov ? step + (moment * kept + moment * rest) : moment;
  }
  put(i, p[i] - schedule[0] * step, p, ema, copy, schedule[2]);
  if (zero) g[i] = 0.0f;
}

/* Lion (Chen et al. 2023) steps by the sign of a mean of moment and gradient. schedule: rate, unused */
KERNEL optimizer_lion(float *p, float *g, float *m, float *ema, bf16 *copy, const float *norm, const float *schedule,
                      int n, float kept1, float rest1, float share1, float kept2, float rest2, float share2, int zero) {
  u32 i = thread_number();
  if (skipped(i, n, norm, g, zero)) return;
  float gradient = g[i] * norm[1];
  float between = moved(m[i], gradient, kept1, rest1, share1);
  float sign = between > 0.0f ? 1.0f : between < 0.0f ? -1.0f : 0.0f;
  m[i] = moved(m[i], gradient, kept2, rest2, share2);
  put(i, p[i] - p[i] * schedule[3] - schedule[0] * sign, p, ema, copy, schedule[2]);
  if (zero) g[i] = 0.0f;
}

/* The direction that Muon makes orthogonal: the next moment, or with Nesterov's momentum its mean with the gradient. It is 0 for an
 * update that is skipped. */
KERNEL optimizer_muon_direction(const float *g, const float *m, float *direction, const float *norm, int n, float kept,
                                float rest, float share, int nesterov) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  float gradient = g[i] * norm[1];
  float moment = moved(m[i], gradient, kept, rest, share);
  float ahead = nesterov ? moved(moment, gradient, kept, rest, share) : moment;
  direction[i] = isfinite(norm[0]) ? ahead : 0.0f;
}

/* Steps by the direction once it has been made orthogonal. schedule: rate, unused */
KERNEL optimizer_muon(float *p, float *g, float *m, const float *direction, float *ema, bf16 *copy, const float *norm,
                      const float *schedule, int n, float kept, float rest, float share, int zero) {
  u32 i = thread_number();
  if (skipped(i, n, norm, g, zero)) return;
  m[i] = moved(m[i], g[i] * norm[1], kept, rest, share);
  put(i, p[i] - p[i] * schedule[3] - schedule[0] * direction[i], p, ema, copy, schedule[2]);
  if (zero) g[i] = 0.0f;
}
