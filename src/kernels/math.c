/* Elementwise functions of mathematics, one line each with the gradient: see elementwise.h and functions.h. */
#include "elementwise.h"
#include "functions.h"

/* ---------------------------------------------------------------- one operand */
UNARY(math_ceil, vec_ceil(x))
UNARY(math_floor, vec_floor(x))
UNARY(math_round, vec_round(x))
UNARY(math_sign, vec_sign(x))
UNARY(math_trunc, vec_trunc(x))

FUNCTION(math_acos, x, vec_acos(x), -u / vec_sqrt((1.0f - x) * (1.0f + x)))
FUNCTION(math_acosh, x, vec_acosh(x), u / (vec_sqrt(x - 1.0f) * vec_sqrt(x + 1.0f)))
FUNCTION(math_asin, x, vec_asin(x), u / vec_sqrt((1.0f - x) * (1.0f + x)))
FUNCTION(math_asinh, x, vec_asinh(x), u / root_above_one(vec_abs(x)))
FUNCTION(math_atan, x, vec_atan(x), u / (x * x + 1.0f))
FUNCTION(math_atanh, x, vec_atanh(x), u / ((1.0f - x) * (1.0f + x)))
FUNCTION(math_cosh, x, vec_cosh(x), u *vec_sinh(x))
FUNCTION(math_erf, x, vec_erf(x), u *(vec_exp(-x * x) * 1.12837917f))
FUNCTION(math_erfc, x, vec_erfc(x), u *(vec_exp(-x * x) * -1.12837917f))
FUNCTION(math_exp2, y, vec_exp2(x), u *(y * 0.693147181f))
FUNCTION(math_expm1, x, vec_expm1(x), u *vec_exp(x))
FUNCTION(math_log10, x, vec_log10(x), u / x * 0.434294482f)
FUNCTION(math_log1p, x, vec_log1p(x), u / (x + 1.0f))
FUNCTION(math_log2, x, vec_log2(x), u / x * 1.44269504f)
FUNCTION(math_reciprocal, y, 1.0f / x, -u * y * y)
FUNCTION(math_rsqrt, y, 1.0f / vec_sqrt(x), u *(y * y * y * -0.5f))
FUNCTION(math_sinh, x, vec_sinh(x), u *vec_cosh(x))
FUNCTION(math_tan, y, vec_tan(x), u *(y * y + 1.0f))

/* ---------------------------------------------------------------- two operands */
/* C's fmod, which is exact: each step subtracts a multiple of |b| times a power of 2, by a quotient below 2^28, whose product with
 * |b| has at most 52 bits. */
static float f32_fmod(float a, float b) {
  double rest = __builtin_fabs((double)a), divisor = __builtin_fabs((double)b);
  if (!(rest < __builtin_inf()) || !(divisor > 0)) return __builtin_nanf("");
  if (divisor == __builtin_inf()) return a;
  while (rest >= divisor) {
    double scaled = divisor;
    while (rest >= scaled * 268435456.0) scaled *= 268435456.0;
    rest -= scaled * (double)(int64_t)(rest / scaled);
  }
  return (float)(a < 0.0f || (a == 0.0f && 1.0f / a < 0.0f) ? -rest : rest);
}
/* The remainder with the sign of b. */
static float f32_mod(float a, float b) {
  float r = f32_fmod(a, b);
  return r != 0.0f && (r < 0.0f) != (b < 0.0f) ? r + b : r;
}
/* The quotient rounded down, from the exact remainder (c10's div_floor_floating). */
static float f32_floor_div(float a, float b) {
  if (b == 0.0f) return a / b;
  float r = f32_fmod(a, b), q = (a - r) / b;
  if (r != 0.0f && (r < 0.0f) != (b < 0.0f)) q -= 1.0f;
  return q == 0.0f ? a / b * 0.0f : vec_round(splat(q))[0];
}
INLINE vec vec_fmod(vec u, vec v) {
  for (int32_t i = 0; i < LANES; i++) u[i] = f32_fmod(u[i], v[i]);
  return u;
}
INLINE vec vec_mod(vec u, vec v) {
  for (int32_t i = 0; i < LANES; i++) u[i] = f32_mod(u[i], v[i]);
  return u;
}
INLINE vec vec_floor_div(vec u, vec v) {
  for (int32_t i = 0; i < LANES; i++) u[i] = f32_floor_div(u[i], v[i]);
  return u;
}
/* v / (u^2 + v^2), the derivative of atan2(u, v) by u, without the squares of large or small numbers. */
INLINE vec atan2_slope(vec u, vec v) {
  vec_i32 steep = vec_abs(u) > vec_abs(v);
  vec high = select(steep, u, v), ratio = select(steep, v, u) / high;
  return select(steep, ratio, splat(1.0f)) / (high * (ratio * ratio + 1.0f));
}

BINARY(math_atan2, vec_atan2(u, v))
BINARY(math_atan2_slope, atan2_slope(u, v))
BINARY(math_floor_div, vec_floor_div(u, v))
BINARY(math_fmod, vec_fmod(u, v))
BINARY(math_mod, vec_mod(u, v))
