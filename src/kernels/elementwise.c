/* Elementwise functions with broadcasting, one line each: see elementwise.h. */
#include "elementwise.h"

/* ---------------------------------------------------------------- one operand */
INLINE vec silu_slope(vec x) {
  vec s = vec_sigmoid(x);
  return s * (1.0f + x * (1.0f - s));
}

UNARY(elementwise_neg, -x)
FUNCTION(elementwise_abs, x, vec_abs(x), u *(select(x > (vec){}, splat(1.0f), (vec){}) - select(x < (vec){}, splat(1.0f), (vec){})))
UNARY(elementwise_exp, vec_exp(x))
UNARY(elementwise_log, vec_log(x))
FUNCTION(elementwise_sqrt, y, vec_sqrt(x), u / (y + y))
UNARY(elementwise_sin, vec_sin(x))
UNARY(elementwise_cos, vec_cos(x))
FUNCTION(elementwise_tanh, y, vec_tanh(x), u *(1.0f - y * y))
FUNCTION(elementwise_sigmoid, y, vec_sigmoid(x), u *y *(1.0f - y))
FUNCTION(elementwise_silu, x, x *vec_sigmoid(x), u *silu_slope(x))
FUNCTION(elementwise_relu, x, vec_max((vec){}, x), select(x <= (vec){}, (vec){}, u))
UNARY(elementwise_square, x *x)
FUNCTION(elementwise_clamp, x, select(x < p, p, select(x > q, q, x)), select((x >= p) & (x <= q), u, (vec){}))

/* ---------------------------------------------------------------- two operands */
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

BINARY(elementwise_add, u + v)
BINARY(elementwise_sub, u - v)
BINARY(elementwise_mul, u *v)
BINARY(elementwise_div, u / v)
BINARY(elementwise_pow, vec_pow(u, v))
/* For +0 and -0 the result is the first operand. */
BINARY(elementwise_maximum, either_nan(u, v, vec_max(v, u)))
BINARY(elementwise_minimum, either_nan(u, v, vec_min(v, u)))

COMPARE(elementwise_equal, u == v)
COMPARE(elementwise_not_equal, u != v)
COMPARE(elementwise_less, u < v)
COMPARE(elementwise_less_equal, u <= v)
COMPARE(elementwise_greater, u > v)
COMPARE(elementwise_greater_equal, u >= v)

/* The factor of dy in the gradient of the first operand (u; v is the second): 1 if it is selected or either is NaN, 1/2 on a tie. */
BINARY(elementwise_first_wins_maximum, select(u < v, (vec){}, select(u == v, splat(0.5f), splat(1.0f))))
BINARY(elementwise_first_wins_minimum, select(u > v, (vec){}, select(u == v, splat(0.5f), splat(1.0f))))

/* ---------------------------------------------------------------- where: three operands */
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
