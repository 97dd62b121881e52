/* Elementwise functions with broadcasting: y[i] = f(a[i], b[i]), where each f is one line of the lists below.
 * A table describes the loop: rank, dims[rank], then the strides[rank] of each operand (0 along broadcast axes).
 * The last axis is the vector loop. A task is a run of rows, or a piece of the row if there is only one.
 */
#include "pool.h"

enum { CHUNK = 1 << 14, MOST_OPERANDS = 3 };

typedef void (*row_function)(const void *const *in, void *out, int32_t n, const int32_t *stride, const float *constants);

struct loop {
  const char *in[MOST_OPERANDS];
  int32_t size[MOST_OPERANDS]; /* bytes of an element */
  int32_t operands, out_size;
  char *out;
  const int32_t *table;
  row_function row;
  float constants[2];
  int32_t rows, width, rows_per_task, pieces;
};

static void loop_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct loop *l = context;
  const int32_t rank = l->table[0], *dims = l->table + 1, *strides = dims + rank;
  int32_t first = task / l->pieces * l->rows_per_task, last = min32(l->rows, first + l->rows_per_task);
  int32_t begin = l->pieces > 1 ? task % l->pieces * CHUNK : 0;
  int32_t count = l->pieces > 1 ? min32(CHUNK, l->width - begin) : l->width;
  for (int32_t r = first; r < last; r++) {
    const void *in[MOST_OPERANDS];
    int32_t inner[MOST_OPERANDS] = {0};
    for (int32_t o = 0; o < l->operands; o++) {
      const int32_t *s = strides + o * rank;
      inner[o] = s[rank - 1];
      size_t offset = (size_t)begin * (size_t)inner[o];
      for (int32_t axis = rank - 2, rest = r; axis >= 0; axis--) {
        offset += (size_t)(rest % dims[axis]) * (size_t)s[axis];
        rest /= dims[axis];
      }
      in[o] = l->in[o] + offset * (size_t)l->size[o];
    }
    l->row(in, l->out + ((size_t)r * (size_t)l->width + (size_t)begin) * (size_t)l->out_size, count, inner, l->constants);
  }
}

static void run_loop(struct loop *l) {
  int32_t rank = l->table[0];
  l->width = l->table[rank];
  l->rows = 1;
  for (int32_t axis = 0; axis < rank - 1; axis++) l->rows *= l->table[1 + axis];
  l->pieces = l->width > CHUNK ? ceil_div(l->width, CHUNK) : 1;
  l->rows_per_task = l->pieces > 1 ? 1 : max32(1, CHUNK / max32(1, l->width));
  pool_run(loop_task, l, ceil_div(l->rows, l->rows_per_task) * l->pieces);
}

INLINE vec gather(const float *p, int32_t stride, int32_t n) {
  vec v = {};
  for (int32_t i = 0; i < n; i++) v[i] = p[i * stride];
  return v;
}

/* ---------------------------------------------------------------- one operand: x, constants p and q */
#define UNARY(name, expression)                                                                                        \
  static void name##_row(const void *const *in, void *out, int32_t n, const int32_t *stride, const float *constants) { \
    (void)stride;                                                                                                      \
    const float *a = in[0];                                                                                            \
    float *y = out;                                                                                                    \
    vec p = splat(constants[0]), q = splat(constants[1]);                                                              \
    (void)p, (void)q;                                                                                                  \
    int32_t i = 0;                                                                                                     \
    for (; i + LANES <= n; i += LANES) {                                                                               \
      vec x = load(a + i);                                                                                             \
      store(y + i, expression);                                                                                        \
    }                                                                                                                  \
    if (i < n) {                                                                                                       \
      vec x = load_partial(a + i, n - i);                                                                              \
      store_partial(y + i, expression, n - i);                                                                         \
    }                                                                                                                  \
  }                                                                                                                    \
  KERNEL void elementwise_##name(const float *x, float *y, const int32_t *table, float p, float q) {                   \
    struct loop l = {{(const char *)x}, {4}, 1, 4, (char *)y, table, name##_row, {p, q}, 0, 0, 0, 0};                  \
    run_loop(&l);                                                                                                      \
  }

UNARY(neg, -x)
UNARY(abs, vec_abs(x))
UNARY(exp, vec_exp(x))
UNARY(log, vec_log(x))
UNARY(sqrt, vec_sqrt(x))
UNARY(sin, vec_sin(x))
UNARY(cos, vec_cos(x))
UNARY(tanh, vec_tanh(x))
UNARY(sigmoid, vec_sigmoid(x))
UNARY(silu, x *vec_sigmoid(x))
UNARY(relu, vec_max((vec){}, x))
UNARY(square, x *x)
UNARY(clamp, select(x < p, p, select(x > q, q, x)))

/* ---------------------------------------------------------------- two operands: u, v; `scalar` replaces one that is a number */
#define BINARY_ROW(name, type, expression)                                                                             \
  static void name##_row(const void *const *in, void *out, int32_t n, const int32_t *stride, const float *constants) { \
    (void)constants;                                                                                                   \
    const float *a = in[0], *b = in[1];                                                                                \
    type *y = out;                                                                                                     \
    int32_t i = 0;                                                                                                     \
    if (stride[0] == 1 && stride[1] == 1)                                                                              \
      for (; i + LANES <= n; i += LANES) {                                                                             \
        vec u = load(a + i), v = load(b + i);                                                                          \
        put_##type(y + i, expression, LANES);                                                                          \
      }                                                                                                                \
    else if (stride[0] == 1 && stride[1] == 0)                                                                         \
      for (vec v = splat(*b); i + LANES <= n; i += LANES) {                                                            \
        vec u = load(a + i);                                                                                           \
        put_##type(y + i, expression, LANES);                                                                          \
      }                                                                                                                \
    else if (stride[0] == 0 && stride[1] == 1)                                                                         \
      for (vec u = splat(*a); i + LANES <= n; i += LANES) {                                                            \
        vec v = load(b + i);                                                                                           \
        put_##type(y + i, expression, LANES);                                                                          \
      }                                                                                                                \
    for (; i < n; i += LANES) {                                                                                        \
      int32_t left = min32(LANES, n - i);                                                                              \
      vec u = gather(a + i * stride[0], stride[0], left), v = gather(b + i * stride[1], stride[1], left);              \
      put_##type(y + i, expression, left);                                                                             \
    }                                                                                                                  \
  }                                                                                                                    \
  KERNEL void elementwise_##name(const float *a, const float *b, type *y, const int32_t *table, float scalar,          \
                                 int32_t scalar_side) {                                                                \
    struct loop l = {{(const char *)(scalar_side == 1 ? &scalar : a), (const char *)(scalar_side == 2 ? &scalar : b)}, \
                     {4, 4}, 2, sizeof(type), (char *)y, table, name##_row, {0, 0}, 0, 0, 0, 0};                       \
    run_loop(&l);                                                                                                      \
  }

INLINE void put_float(float *y, vec r, int32_t n) {
  if (n == LANES) store(y, r);
  else store_partial(y, r, n);
}
INLINE void put_uint8_t(uint8_t *y, vec_i32 mask, int32_t n) {
  for (int32_t i = 0; i < n; i++) y[i] = (uint8_t)(mask[i] & 1);
}
#define BINARY(name, expression) BINARY_ROW(name, float, expression)
#define COMPARE(name, expression) BINARY_ROW(name, uint8_t, expression)

/* ln and exp in double for pow, because the exponent multiplies the error of the logarithm. */
INLINE double f64_log(double x) {
  union { double value; uint64_t bits; } u = {x};
  int32_t e = (int32_t)(u.bits >> 52) - 1022;
  u.bits = (u.bits & 0x000FFFFFFFFFFFFFull) | 0x3FE0000000000000ull;
  if (u.value < 0.70710678118654752) u.value *= 2, e--;
  double s = (u.value - 1) / (u.value + 1), z = s * s, sum = 0;
  for (int32_t k = 21; k >= 1; k -= 2) sum = sum * z + 1.0 / k;
  return 2 * s * sum + e * 0.69314718055994531;
}
INLINE double f64_exp(double x) {
  if (x > 700) return __builtin_inf();
  if (x < -700) return 0;
  double shifted = x * 1.4426950408889634;
  int32_t n = (int32_t)(shifted < 0 ? shifted - 0.5 : shifted + 0.5);
  double f = x - n * 0.69314718055994531, sum = 1;
  for (int32_t k = 13; k >= 1; k--) sum = 1 + sum * f / k;
  union { uint64_t bits; double value; } u = {(uint64_t)(n + 1023) << 52};
  return sum * u.value;
}
/* C's pow: pow(0, 0) = 1, and a negative base needs an integer exponent. */
static float f32_pow(float base, float exponent) {
  if (exponent == 0.0f || base == 1.0f) return 1.0f;
  if (base != base || exponent != exponent) return base + exponent;
  int32_t infinite = exponent - exponent != 0.0f;
  int32_t whole = !infinite && (__builtin_fabsf(exponent) >= 8388608.0f || (float)(int32_t)exponent == exponent);
  int32_t odd = whole && __builtin_fabsf(exponent) < 16777216.0f && ((int32_t)exponent & 1);
  float magnitude = base < 0.0f ? -base : base;
  if (base < 0.0f && !whole && !infinite && magnitude < __builtin_inff()) return __builtin_nanf("");
  float r;
  if (infinite) r = magnitude == 1.0f ? 1.0f : (magnitude > 1.0f) == (exponent > 0.0f) ? __builtin_inff() : 0.0f;
  else if (magnitude == 0.0f) r = exponent > 0.0f ? 0.0f : __builtin_inff();
  else if (magnitude == __builtin_inff()) r = exponent > 0.0f ? magnitude : 0.0f;
  else r = (float)f64_exp((double)exponent * f64_log(magnitude));
  return (base < 0.0f || (base == 0.0f && 1.0f / base < 0.0f)) && odd ? -r : r;
}
INLINE vec vec_pow(vec base, vec exponent) {
  for (int32_t i = 0; i < LANES; i++) base[i] = f32_pow(base[i], exponent[i]);
  return base;
}
INLINE vec either_nan(vec u, vec v, vec r) { return select((u != u) | (v != v), u + v, r); }

BINARY(add, u + v)
BINARY(sub, u - v)
BINARY(mul, u *v)
BINARY(div, u / v)
BINARY(pow, vec_pow(u, v))
/* For +0 and -0 the result is the first operand. */
BINARY(maximum, either_nan(u, v, vec_max(v, u)))
BINARY(minimum, either_nan(u, v, vec_min(v, u)))

COMPARE(equal, u == v)
COMPARE(not_equal, u != v)
COMPARE(less, u < v)
COMPARE(less_equal, u <= v)
COMPARE(greater, u > v)
COMPARE(greater_equal, u >= v)

/* ---------------------------------------------------------------- gradients: u = dy, v = x or y */
INLINE vec silu_slope(vec x) {
  vec s = vec_sigmoid(x);
  return s * (1.0f + x * (1.0f - s));
}
BINARY(abs_backward, u *(select(v > (vec){}, splat(1.0f), (vec){}) - select(v < (vec){}, splat(1.0f), (vec){})))
BINARY(sqrt_backward, u / (v + v))
BINARY(tanh_backward, u *(1.0f - v * v))
BINARY(sigmoid_backward, u *v *(1.0f - v))
BINARY(silu_backward, u *silu_slope(v))
BINARY(relu_backward, select(v <= (vec){}, (vec){}, u))
/* The factor of dy in the gradient of the first operand (u; v is the second): 1 if it is selected or either is NaN, 1/2 on a tie. */
BINARY(first_wins_maximum, select(u < v, (vec){}, select(u == v, splat(0.5f), splat(1.0f))))
BINARY(first_wins_minimum, select(u > v, (vec){}, select(u == v, splat(0.5f), splat(1.0f))))

/* ---------------------------------------------------------------- clamp's gradient and where: three operands */
static void where_row(const void *const *in, void *out, int32_t n, const int32_t *stride, const float *constants) {
  (void)constants;
  const uint8_t *condition = in[0];
  const float *a = in[1], *b = in[2];
  float *y = out;
  for (int32_t i = 0; i < n; i++) y[i] = condition[i * stride[0]] ? a[i * stride[1]] : b[i * stride[2]];
}

/* y = condition ? a : b; a number replaces a (side 1) or b (side 2) */
KERNEL void elementwise_where(const uint8_t *condition, const float *a, const float *b, float *y, const int32_t *table,
                              float scalar_a, float scalar_b, int32_t sides) {
  struct loop l = {{(const char *)condition, (const char *)(sides & 1 ? &scalar_a : a), (const char *)(sides & 2 ? &scalar_b : b)},
                   {1, 4, 4}, 3, 4, (char *)y, table, where_row, {0, 0}, 0, 0, 0, 0};
  run_loop(&l);
}

static void clamp_backward_row(const void *const *in, void *out, int32_t n, const int32_t *stride, const float *constants) {
  (void)stride;
  const float *dy = in[0], *x = in[1];
  float *dx = out;
  for (int32_t i = 0; i < n; i++) dx[i] = x[i] >= constants[0] && x[i] <= constants[1] ? dy[i] : 0.0f;
}

KERNEL void elementwise_clamp_backward(const float *dy, const float *x, float *dx, const int32_t *table, float low, float high) {
  struct loop l = {{(const char *)dy, (const char *)x}, {4, 4}, 2, 4, (char *)dx, table, clamp_backward_row, {low, high}, 0, 0, 0, 0};
  run_loop(&l);
}
