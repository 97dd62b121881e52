/* GELU (Hendrycks and Gimpel 2016) by the error function or by its approximation with tanh, and GEGLU (Shazeer 2020). */
#include "elementwise.h"
#include "functions.h"

/* x Phi(x), with the distribution function of the normal distribution Phi(x) = (1 + erf(x / sqrt(2))) / 2 */
INLINE vec vec_gelu(vec x) { return 0.5f * x * (1.0f + vec_erf(x * 0.707106781f)); }
INLINE vec gelu_slope(vec x) {
  vec near = vec_max(splat(-20.0f), vec_min(splat(20.0f), x)); /* where the density is 0, x times it is 0 */
  return 0.5f * (1.0f + vec_erf(x * 0.707106781f)) + near * (vec_exp(-0.5f * near * near) * 0.398942280f);
}

/* x (1 + tanh(k)) / 2 = x sigmoid(2 k) with k = sqrt(2 / pi) (x + 0.044715 x^3) */
INLINE vec vec_gelu_tanh(vec x) { return x * vec_sigmoid(1.59576912f * (x + 0.044715f * x * x * x)); }
INLINE vec gelu_tanh_slope(vec x) {
  vec near = vec_max(splat(-10.0f), vec_min(splat(10.0f), x)), square = near * near;
  vec s = vec_sigmoid(1.59576912f * (near + 0.044715f * square * near));
  return s + near * s * (1.0f - s) * (1.59576912f * (1.0f + 0.134145f * square));
}

FUNCTION(gelu_none, x, vec_gelu(x), u *gelu_slope(x))
FUNCTION(gelu_tanh, x, vec_gelu_tanh(x), u *gelu_tanh_slope(x))

/* ---------------------------------------------------------------- GEGLU: rows [a, b] of 2 width numbers, y = a gelu(b) */
INLINE vec load_some(const float *p, int32_t n) { return n == LANES ? load(p) : load_partial(p, n); }

struct gated { const float *dy, *x; float *out; int32_t rows, width, rows_per_task; };

#define GEGLU(name, value, slope)                                                                           \
  static void name##_task(void *context, int32_t task, int32_t worker) {                                    \
    (void)worker;                                                                                           \
    const struct gated *g = context;                                                                        \
    int32_t first = task * g->rows_per_task, last = min32(g->rows, first + g->rows_per_task), n = g->width; \
    for (int32_t r = first; r < last; r++) {                                                                \
      const float *a = g->x + (size_t)r * (size_t)n * 2, *b = a + n;                                        \
      float *y = g->out + (size_t)r * (size_t)n;                                                            \
      for (int32_t i = 0; i < n; i += LANES) {                                                              \
        int32_t left = min32(LANES, n - i);                                                                 \
        vec gate = load_some(b + i, left);                                                                  \
        put_float(y + i, load_some(a + i, left) * value(gate), left);                                       \
      }                                                                                                     \
    }                                                                                                       \
  }                                                                                                         \
  static void name##_backward_task(void *context, int32_t task, int32_t worker) {                           \
    (void)worker;                                                                                           \
    const struct gated *g = context;                                                                        \
    int32_t first = task * g->rows_per_task, last = min32(g->rows, first + g->rows_per_task), n = g->width; \
    for (int32_t r = first; r < last; r++) {                                                                \
      const float *dy = g->dy + (size_t)r * (size_t)n, *a = g->x + (size_t)r * (size_t)n * 2, *b = a + n;   \
      float *da = g->out + (size_t)r * (size_t)n * 2, *db = da + n;                                         \
      for (int32_t i = 0; i < n; i += LANES) {                                                              \
        int32_t left = min32(LANES, n - i);                                                                 \
        vec u = load_some(dy + i, left), gate = load_some(b + i, left);                                     \
        put_float(da + i, u * value(gate), left);                                                           \
        put_float(db + i, u * load_some(a + i, left) * slope(gate), left);                                  \
      }                                                                                                     \
    }                                                                                                       \
  }                                                                                                         \
  KERNEL void name(const float *x, float *y, int32_t rows, int32_t width) {                                 \
    struct gated g = {0, x, y, rows, width, max32(1, CHUNK / max32(1, width))};                             \
    pool_run(name##_task, &g, ceil_div(rows, g.rows_per_task));                                             \
  }                                                                                                         \
  KERNEL void name##_backward(const float *dy, const float *x, float *dx, int32_t rows, int32_t width) {    \
    struct gated g = {dy, x, dx, rows, width, max32(1, CHUNK / max32(1, width))};                           \
    pool_run(name##_backward_task, &g, ceil_div(rows, g.rows_per_task));                                    \
  }

GEGLU(gelu_geglu_none, vec_gelu, gelu_slope)
GEGLU(gelu_geglu_tanh, vec_gelu_tanh, gelu_tanh_slope)
