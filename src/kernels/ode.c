/* The operations of a Runge-Kutta solver on its state: linear combinations of stages, and the norm of the error estimate. */
#include "pool.h"

enum { CHUNK = 1 << 14, STAGES = 7 };

struct combination {
  float *out;
  const float *x, *k[STAGES];
  float c[STAGES];
  int32_t n, stages;
};

static void combine_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct combination *s = context;
  int32_t end = min32(s->n, (task + 1) * CHUNK);
  for (int32_t i = task * CHUNK; i < end; i++) {
    float sum = 0.0f; /* adds the stages first, so that x is rounded once */
    for (int32_t j = 0; j < s->stages; j++) sum += s->c[j] * s->k[j][i];
    s->out[i] = s->x ? s->x[i] + sum : sum;
  }
}

/* out = x + sum c_j k_j; x may be 0 (none), and out may be x; unused k are 0 and come last. */
KERNEL void ode_combine(float *out, const float *x, int32_t n, const float *k0, const float *k1, const float *k2,
                        const float *k3, const float *k4, const float *k5, const float *k6, float c0, float c1, float c2,
                        float c3, float c4, float c5, float c6) {
  struct combination s = {out, x, {k0, k1, k2, k3, k4, k5, k6}, {c0, c1, c2, c3, c4, c5, c6}, n, 0};
  while (s.stages < STAGES && s.k[s.stages]) s.stages++;
  pool_run(combine_task, &s, ceil_div(n, CHUNK));
}

struct error { const float *e, *a, *b; double *partial; int32_t n; float absolute, relative; };

static void error_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct error *s = context;
  int32_t end = min32(s->n, (task + 1) * CHUNK);
  double sum = 0;
  for (int32_t i = task * CHUNK; i < end; i++) {
    float a = s->a[i] < 0 ? -s->a[i] : s->a[i], b = s->b[i] < 0 ? -s->b[i] : s->b[i];
    double ratio = (double)s->e[i] / ((double)s->absolute + (double)s->relative * (double)(a > b ? a : b));
    sum += ratio * ratio;
  }
  s->partial[task] = sum;
}

/* Bytes of scratch memory for ode_error_norm. */
KERNEL double ode_error_scratch(int32_t n) { return 8.0 * (n / CHUNK + 1); }

/* sqrt(mean((e / (absolute + relative max(|a|, |b|)))^2)) */
KERNEL double ode_error_norm(const float *e, const float *a, const float *b, double *partial, int32_t n, float absolute,
                             float relative) {
  struct error s = {e, a, b, partial, n, absolute, relative};
  int32_t tasks = ceil_div(n, CHUNK);
  pool_run(error_task, &s, tasks);
  double sum = 0;
  for (int32_t i = 0; i < tasks; i++) sum += partial[i];
  return __builtin_sqrt(sum / n);
}
