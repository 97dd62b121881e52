/* Elementwise functions of mathematics, one line each with the gradient: see elementwise.cuh. */
#include "elementwise.cuh"

/* ---------------------------------------------------------------- one operand */
/* sqrt(1 + a^2) for a >= 0, also where a^2 is infinite */
DEVICE float root_above_one(float a) { return a > 8192.0f ? a : sqrtf(a * a + 1.0f); }

UNARY(math_ceil, ceilf(x))
UNARY(math_floor, floorf(x))
UNARY(math_round, rintf(x))
UNARY(math_sign, x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x == 0.0f ? 0.0f : x)
UNARY(math_trunc, truncf(x))

FUNCTION(math_acos, x, acosf(x), -u / sqrtf((1.0f - x) * (1.0f + x)))
FUNCTION(math_acosh, x, acoshf(x), u / (sqrtf(x - 1.0f) * sqrtf(x + 1.0f)))
FUNCTION(math_asin, x, asinf(x), u / sqrtf((1.0f - x) * (1.0f + x)))
FUNCTION(math_asinh, x, asinhf(x), u / root_above_one(fabsf(x)))
FUNCTION(math_atan, x, atanf(x), u / (x * x + 1.0f))
FUNCTION(math_atanh, x, atanhf(x), u / ((1.0f - x) * (1.0f + x)))
FUNCTION(math_cosh, x, coshf(x), u *sinhf(x))
FUNCTION(math_erf, x, erff(x), u *(expf(-x * x) * 1.12837917f))
FUNCTION(math_erfc, x, erfcf(x), u *(expf(-x * x) * -1.12837917f))
FUNCTION(math_exp2, y, exp2f(x), u *(y * 0.693147181f))
FUNCTION(math_expm1, x, expm1f(x), u *expf(x))
FUNCTION(math_log10, x, log10f(x), u / x * 0.434294482f)
FUNCTION(math_log1p, x, log1pf(x), u / (x + 1.0f))
FUNCTION(math_log2, x, log2f(x), u / x * 1.44269504f)
FUNCTION(math_reciprocal, y, 1.0f / x, -u * y * y)
FUNCTION(math_rsqrt, y, 1.0f / sqrtf(x), u *(y * y * y * -0.5f))
FUNCTION(math_sinh, x, sinhf(x), u *coshf(x))
FUNCTION(math_tan, y, tanf(x), u *(y * y + 1.0f))

/* ---------------------------------------------------------------- two operands */
/* The remainder with the sign of b. */
DEVICE float modulo(float a, float b) {
  float r = fmodf(a, b);
  return r != 0.0f && (r < 0.0f) != (b < 0.0f) ? r + b : r;
}
/* The quotient rounded down, from the exact remainder (c10's div_floor_floating). */
DEVICE float floor_div(float a, float b) {
  if (b == 0.0f) return a / b;
  float r = fmodf(a, b), q = (a - r) / b;
  if (r != 0.0f && (r < 0.0f) != (b < 0.0f)) q -= 1.0f;
  return q == 0.0f ? a / b * 0.0f : rintf(q);
}
/* v / (u^2 + v^2), the derivative of atan2(u, v) by u, without the squares of large or small numbers. */
DEVICE float atan2_slope(float u, float v) {
  bool steep = fabsf(u) > fabsf(v);
  float high = steep ? u : v, ratio = (steep ? v : u) / high;
  return (steep ? ratio : 1.0f) / (high * (ratio * ratio + 1.0f));
}

BINARY(math_atan2, atan2f(u, v))
BINARY(math_atan2_slope, atan2_slope(u, v))
BINARY(math_floor_div, floor_div(u, v))
BINARY(math_fmod, fmodf(u, v))
BINARY(math_mod, modulo(u, v))
