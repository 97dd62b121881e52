/* The operations of a Runge-Kutta solver on its state: linear combinations of stages, and the norm of the error estimate. */
#include "warp.cuh"

/* out = x + sum c_j k_j; x may be 0 (none), and out may be x; unused k are 0 and come last */
KERNEL ode_combine(float *out, const float *x, int n, const float *k0, const float *k1, const float *k2, const float *k3,
                   const float *k4, const float *k5, const float *k6, float c0, float c1, float c2, float c3, float c4,
                   float c5, float c6) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  const float *k[7] = {k0, k1, k2, k3, k4, k5, k6};
  const float c[7] = {c0, c1, c2, c3, c4, c5, c6};
  float sum = 0.0f; /* adds the stages first, so that x is rounded once */
#pragma unroll
  for (int j = 0; j < 7; j++)
    if (k[j]) sum += c[j] * k[j][i];
  out[i] = x ? x[i] + sum : sum;
}

/* partial[run] = sum over a run of (e / (absolute + relative max(|a|, |b|)))^2; one warp per run */
KERNEL ode_error_runs(const float *e, const float *a, const float *b, double *partial, int n, int runs, float absolute,
                      float relative) {
  u32 run = warp_number();
  if (run >= (u32)runs) return;
  int begin = (int)run * RUN, end = n - begin < RUN ? n : begin + RUN;
  double sum = 0;
  for (int i = begin + lane_number(); i < end; i += WARP) {
    float largest = fmaxf(fabsf(a[i]), fabsf(b[i]));
    double ratio = (double)e[i] / ((double)absolute + (double)relative * (double)largest);
    sum += ratio * ratio;
  }
  sum = warp_sum(sum);
  if (lane_number() == 0) partial[run] = sum;
}

/* norm[0] = sqrt(sum partial / n); one warp */
KERNEL ode_error_norm(const double *partial, double *norm, int n, int runs) {
  double sum = 0;
  for (int run = lane_number(); run < runs; run += WARP) sum += partial[run];
  sum = warp_sum(sum);
  if (lane_number() == 0) norm[0] = sqrt(sum / n);
}
