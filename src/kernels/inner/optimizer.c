/* The updates of the optimisers: each is one pass over flat memory, with weight decay, clipping by the global norm and a moving
 * average of the weights. */
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

enum rule { ADAM, ADAMW, SGD, LION, MUON };

/* Operands and constants of an update. m, v, direction and ema may be 0 if the rule does not have them. */
struct update {
  float *p, *g, *m, *v, *direction, *ema;
  int32_t n, zero, skip, nesterov;
  struct moment first, second;
  float clip, rate, inverse_root, epsilon, decay, ema_share;
  void (*chunk)(const struct update *u, int32_t task);
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

INLINE vec fetch(const float *x, int32_t left) { return left >= LANES ? load(x) : load_partial(x, left); }
INLINE void put(float *x, vec v, int32_t left) {
  if (left >= LANES) store(x, v);
  else store_partial(x, v, left);
}

INLINE vec vec_sign(vec x) { return select(x > (vec){}, splat(1.0f), select(x < (vec){}, splat(-1.0f), (vec){})); }

/* The next value of the parameters p with the gradients g, and their next moments. */
INLINE vec updated(const struct update *u, enum rule rule, vec p, vec g, vec direction, vec *m, vec *v) {
  switch (rule) {
  case ADAM:
    g = g * u->clip + p * u->decay;
    *m = moved(u->first, *m, g);
    *v = moved(u->second, *v, g * g);
    return p - u->rate * *m / (vec_sqrt(*v) * u->inverse_root + u->epsilon);
  case ADAMW:
    g = g * u->clip;
    *m = moved(u->first, *m, g);
    *v = moved(u->second, *v, g * g);
    return p - p * u->decay - u->rate * *m / (vec_sqrt(*v) * u->inverse_root + u->epsilon);
  case SGD:
    g = g * u->clip + p * u->decay;
    if (u->m) {
      *m = moved(u->first, *m, g);
      g = u->nesterov ? g + (*m * u->first.kept + *m * u->first.rest) : *m;
    }
    return p - u->rate * g;
  case LION: {
    g = g * u->clip;
    vec between = moved(u->first, *m, g);
    *m = moved(u->second, *m, g);
    return p - p * u->decay - u->rate * vec_sign(between);
  }
  default:
    *m = moved(u->first, *m, g * u->clip);
    return p - p * u->decay - u->rate * direction;
  }
}

INLINE void update_chunk(const struct update *u, int32_t task, enum rule rule) {
  const int32_t squares = rule == ADAM || rule == ADAMW;
  int32_t begin = task * CHUNK, end = min32(u->n, begin + CHUNK);
  if (u->skip) {
    for (int32_t i = begin; u->zero && i < end; i++) u->g[i] = 0;
    return;
  }
  for (int32_t i = begin; i < end; i += LANES) {
    int32_t left = end - i;
    vec p = fetch(u->p + i, left), g = fetch(u->g + i, left), m = {}, v = {}, direction = {};
    if (rule != SGD || u->m) m = fetch(u->m + i, left);
    if (squares) v = fetch(u->v + i, left);
    if (rule == MUON) direction = fetch(u->direction + i, left);
    p = updated(u, rule, p, g, direction, &m, &v);
    put(u->p + i, p, left);
    if (rule != SGD || u->m) put(u->m + i, m, left);
    if (squares) put(u->v + i, v, left);
    if (u->ema) {
      vec e = fetch(u->ema + i, left);
      put(u->ema + i, e - u->ema_share * (e - p), left);
    }
    if (u->zero) put(u->g + i, (vec){}, left);
  }
}

/* One function for each rule, which the compiler specialises. */
#define CHUNK_OF(name, rule) \
  static __attribute__((noinline)) void name(const struct update *u, int32_t task) { update_chunk(u, task, rule); }
CHUNK_OF(adam_chunk, ADAM)
CHUNK_OF(adamw_chunk, ADAMW)
CHUNK_OF(sgd_chunk, SGD)
CHUNK_OF(lion_chunk, LION)
CHUNK_OF(muon_chunk, MUON)

/* The direction that Muon makes orthogonal: the next moment, or with Nesterov's momentum its mean with the gradient. It is 0 for an
 * update that is skipped. */
static __attribute__((noinline)) void direction_chunk(const struct update *u, int32_t task) {
  int32_t begin = task * CHUNK, end = min32(u->n, begin + CHUNK);
  for (int32_t i = begin; i < end; i += LANES) {
    int32_t left = end - i;
    vec g = fetch(u->g + i, left) * u->clip;
    vec m = moved(u->first, fetch(u->m + i, left), g);
    vec direction = u->nesterov ? moved(u->first, m, g) : m;
    put(u->direction + i, u->skip ? (vec){} : direction, left);
  }
}

static void update_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct update *u = context;
  __auto_type state = flush_subnormals();
  u->chunk(u, task);
  restore_subnormals(state);
}

static void run(struct update u, const float *norm) {
  u.skip = !__builtin_isfinite(norm[0]);
  u.clip = norm[1];
  pool_run(update_task, &u, ceil_div(u.n, CHUNK));
}

/* Each kernel makes one update; nothing is updated if the norm is not finite. ema may be 0. Every constant is rounded to f32 from a
 * double. norm: see optimizer_norm. The schedule holds what changes from update to update: the rate, a number of the rule, 1 - decay
 * of the average, and the rate times the decoupled weight decay. */

/* schedule: rate / (1 - beta1^step), 1 / sqrt(1 - beta2^step); decay: the factor of an L2 penalty */
KERNEL void optimizer_adam(float *p, float *g, float *m, float *v, float *ema, const float *norm, const float *schedule,
                           int32_t n, float kept1, float rest1, float share1, float kept2, float rest2, float share2,
                           float epsilon, float decay, int32_t zero) {
  run((struct update){.p = p, .g = g, .m = m, .v = v, .ema = ema, .n = n, .zero = zero, .chunk = adam_chunk,
                      .first = {kept1, rest1, share1}, .second = {kept2, rest2, share2}, .rate = schedule[0],
                      .inverse_root = schedule[1], .ema_share = schedule[2], .epsilon = epsilon, .decay = decay},
      norm);
}

/* Adam with decoupled weight decay (Loshchilov, Hutter 2019). schedule: as for Adam */
KERNEL void optimizer_adamw(float *p, float *g, float *m, float *v, float *ema, const float *norm, const float *schedule,
                            int32_t n, float kept1, float rest1, float share1, float kept2, float rest2, float share2,
                            float epsilon, int32_t zero) {
  run((struct update){.p = p, .g = g, .m = m, .v = v, .ema = ema, .n = n, .zero = zero, .chunk = adamw_chunk,
                      .first = {kept1, rest1, share1}, .second = {kept2, rest2, share2}, .rate = schedule[0],
                      .inverse_root = schedule[1], .ema_share = schedule[2], .epsilon = epsilon, .decay = schedule[3]},
      norm);
}

/* m may be 0, for no momentum. schedule: rate, share of the gradient in the moment; decay: the factor of an L2 penalty */
KERNEL void optimizer_sgd(float *p, float *g, float *m, float *ema, const float *norm, const float *schedule, int32_t n,
                          float kept, float rest, float decay, int32_t nesterov, int32_t zero) {
  run((struct update){.p = p, .g = g, .m = m, .ema = ema, .n = n, .zero = zero, .chunk = sgd_chunk,
                      .first = {kept, rest, schedule[1]}, .rate = schedule[0], .ema_share = schedule[2], .decay = decay,
                      .nesterov = nesterov},
      norm);
}

/* Lion (Chen et al. 2023) steps by the sign of a mean of moment and gradient. schedule: rate, unused */
KERNEL void optimizer_lion(float *p, float *g, float *m, float *ema, const float *norm, const float *schedule, int32_t n,
                           float kept1, float rest1, float share1, float kept2, float rest2, float share2, int32_t zero) {
  run((struct update){.p = p, .g = g, .m = m, .ema = ema, .n = n, .zero = zero, .chunk = lion_chunk,
                      .first = {kept1, rest1, share1}, .second = {kept2, rest2, share2}, .rate = schedule[0],
                      .ema_share = schedule[2], .decay = schedule[3]},
      norm);
}

KERNEL void optimizer_muon_direction(float *g, float *m, float *direction, const float *norm, int32_t n, float kept,
                                     float rest, float share, int32_t nesterov) {
  run((struct update){.g = g, .m = m, .direction = direction, .n = n, .nesterov = nesterov, .chunk = direction_chunk,
                      .first = {kept, rest, share}},
      norm);
}

/* Steps by the direction once it has been made orthogonal. schedule: rate, unused */
KERNEL void optimizer_muon(float *p, float *g, float *m, float *direction, float *ema, const float *norm,
                           const float *schedule, int32_t n, float kept, float rest, float share, int32_t zero) {
  run((struct update){.p = p, .g = g, .m = m, .direction = direction, .ema = ema, .n = n, .zero = zero,
                      .chunk = muon_chunk, .first = {kept, rest, share}, .rate = schedule[0], .ema_share = schedule[2],
                      .decay = schedule[3]},
      norm);
}
