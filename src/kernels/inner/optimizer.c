/* Adam with weight decay, clipping by the global norm and a moving average of the weights, in one pass over flat memory. */
#include "pool.h"

enum { CHUNK = 1 << 14, STRETCH = 32 * LANES };

struct squares { const float *x; double *partial; int32_t n; };

static void square_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct squares *s = context;
  int32_t i = task * CHUNK, end = min32(s->n, i + CHUNK);
  double total = 0;
  while (i < end) { /* adds stretches in f32, and their sums in double */
    int32_t stretch = min32(end, i + STRETCH);
    vec even = {}, odd = {};
    for (; i + 2 * LANES <= stretch; i += 2 * LANES) {
      vec a = load(s->x + i), b = load(s->x + i + LANES);
      even += a * a;
      odd += b * b;
    }
    float rest = 0;
    for (; i < stretch; i++) rest += s->x[i] * s->x[i];
    total += (double)reduce_add(even + odd) + (double)rest;
  }
  s->partial[task] = total;
}

/* Bytes of scratch memory for optimizer_norm. */
KERNEL double optimizer_norm_scratch(int32_t n) { return 8.0 * (n / CHUNK + 1); }

/* norm[0] = sqrt(sum x^2), and norm[1] = the factor that clips it to max_norm: max_norm / (norm + 1e-6), at most 1, as in
 * torch.nn.utils.clip_grad_norm_. If max_norm < 0, nothing is clipped. */
KERNEL void optimizer_norm(const float *x, float *norm, double *partial, int32_t n, double max_norm) {
  struct squares s = {x, partial, n};
  int32_t tasks = ceil_div(n, CHUNK);
  pool_run(square_task, &s, tasks);
  double sum = 0;
  for (int32_t i = 0; i < tasks; i++) sum += partial[i];
  double root = __builtin_sqrt(sum);
  norm[0] = (float)root;
  norm[1] = max_norm >= 0 && root + 1e-6 > max_norm ? (float)(max_norm / (root + 1e-6)) : 1.0f;
}

/* One step of a moment: (kept + rest) * moment + share * new value. A single float differs from beta by up to 6e-8, which is large
 * compared to 1 - beta; the sum of two floats represents it exactly. */
struct moment { float kept, rest, share; };

INLINE vec moved(struct moment k, vec moment, vec sample) { return moment * k.kept + (moment * k.rest + sample * k.share); }

struct adam {
  float *p, *g, *m, *v, *ema;
  int32_t n, zero, skip;
  struct moment first, second;
  float clip, step_size, inverse_root, epsilon, decay, ema_share;
};

/* Subnormal numbers are up to a hundred times slower on some processors, and squared gradients become subnormal if an output starts
 * near zero. Therefore they are flushed to 0 during an update. The work between setting and restoring the flag is a function of its
 * own, so that the compiler does not move it out. */
#if defined(__SSE2__)
INLINE uint32_t flush_subnormals(void) {
  uint32_t state = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(state | 0x8040);
  return state;
}
INLINE void restore_subnormals(uint32_t state) { __builtin_ia32_ldmxcsr(state); }
#elif defined(__aarch64__)
INLINE uint64_t flush_subnormals(void) {
  uint64_t state;
  __asm__ volatile("mrs %0, fpcr" : "=r"(state));
  __asm__ volatile("msr fpcr, %0" ::"r"(state | (uint64_t)1 << 24));
  return state;
}
INLINE void restore_subnormals(uint64_t state) { __asm__ volatile("msr fpcr, %0" ::"r"(state)); }
#else
INLINE uint32_t flush_subnormals(void) { return 0; }
INLINE void restore_subnormals(uint32_t state) { (void)state; }
#endif

static __attribute__((noinline)) void update_chunk(const struct adam *a, int32_t task) {
  int32_t begin = task * CHUNK, end = min32(a->n, begin + CHUNK);
  if (a->skip) {
    for (int32_t i = begin; a->zero && i < end; i++) a->g[i] = 0;
    return;
  }
  for (int32_t i = begin; i < end; i += LANES) {
    int32_t left = end - i;
    vec p = left >= LANES ? load(a->p + i) : load_partial(a->p + i, left);
    vec g = left >= LANES ? load(a->g + i) : load_partial(a->g + i, left);
    vec m = left >= LANES ? load(a->m + i) : load_partial(a->m + i, left);
    vec v = left >= LANES ? load(a->v + i) : load_partial(a->v + i, left);
    g = g * a->clip + p * a->decay;
    m = moved(a->first, m, g);
    v = moved(a->second, v, g * g);
    p = p - a->step_size * m / (vec_sqrt(v) * a->inverse_root + a->epsilon);
    vec e = {};
    if (a->ema) {
      e = left >= LANES ? load(a->ema + i) : load_partial(a->ema + i, left);
      e = e - a->ema_share * (e - p);
    }
    if (left >= LANES) {
      store(a->p + i, p), store(a->m + i, m), store(a->v + i, v);
      if (a->ema) store(a->ema + i, e);
      if (a->zero) store(a->g + i, (vec){});
    } else {
      store_partial(a->p + i, p, left), store_partial(a->m + i, m, left), store_partial(a->v + i, v, left);
      if (a->ema) store_partial(a->ema + i, e, left);
      if (a->zero) store_partial(a->g + i, (vec){}, left);
    }
  }
}

static void adam_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  __auto_type state = flush_subnormals();
  update_chunk(context, task);
  restore_subnormals(state);
}

/* One update; nothing is updated if the norm is not finite. ema may be 0. Every constant is rounded to f32 from a double:
 * norm: see optimizer_norm; schedule: rate / (1 - beta1^step), 1 / sqrt(1 - beta2^step), 1 - decay of the average. */
KERNEL void optimizer_adam(float *p, float *g, float *m, float *v, float *ema, const float *norm, const float *schedule,
                           int32_t n, float kept1, float rest1, float share1, float kept2, float rest2, float share2,
                           float epsilon, float decay, int32_t zero) {
  struct adam a = {.p = p, .g = g, .m = m, .v = v, .ema = ema, .n = n, .zero = zero, .epsilon = epsilon, .decay = decay};
  a.skip = !__builtin_isfinite(norm[0]);
  a.clip = norm[1];
  a.first = (struct moment){kept1, rest1, share1};
  a.second = (struct moment){kept2, rest2, share2};
  a.step_size = schedule[0];
  a.inverse_root = schedule[1];
  a.ema_share = schedule[2];
  pool_run(adam_task, &a, ceil_div(n, CHUNK));
}
