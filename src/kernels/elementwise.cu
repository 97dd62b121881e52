/* Elementwise functions with broadcasting, one line each: see elementwise.cuh. */
#include "elementwise.cuh"

/* ---------------------------------------------------------------- one operand */
DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
DEVICE float silu_slope(float x) {
  float s = sigmoid(x);
  return s * (1.0f + x * (1.0f - s));
}

UNARY(elementwise_neg, -x)
FUNCTION(elementwise_abs, x, fabsf(x), x > 0.0f ? u : x < 0.0f ? -u : u * 0.0f)
UNARY(elementwise_exp, expf(x))
UNARY(elementwise_log, logf(x))
FUNCTION(elementwise_sqrt, y, sqrtf(x), u / (y + y))
UNARY(elementwise_sin, sinf(x))
UNARY(elementwise_cos, cosf(x))
FUNCTION(elementwise_tanh, y, tanhf(x), u *(1.0f - y * y))
FUNCTION(elementwise_sigmoid, y, sigmoid(x), u *y *(1.0f - y))
FUNCTION(elementwise_silu, x, x *sigmoid(x), u *silu_slope(x))
FUNCTION(elementwise_relu, x, x < 0.0f ? 0.0f : x, x <= 0.0f ? 0.0f : u)
UNARY(elementwise_square, x *x)
FUNCTION(elementwise_clamp, x, x < p ? p : x > q ? q : x, x >= p && x <= q ? u : 0.0f)

/* ---------------------------------------------------------------- two operands */
DEVICE float either_nan(float u, float v, float r) { return u != u || v != v ? u + v : r; }

BINARY(elementwise_add, u + v)
BINARY(elementwise_sub, u - v)
BINARY(elementwise_mul, u *v)
BINARY(elementwise_div, u / v)
BINARY(elementwise_pow, powf(u, v))
/* For +0 and -0 the result is the first operand. */
BINARY(elementwise_maximum, either_nan(u, v, u < v ? v : u))
BINARY(elementwise_minimum, either_nan(u, v, u > v ? v : u))

COMPARE(elementwise_equal, u == v)
COMPARE(elementwise_not_equal, u != v)
COMPARE(elementwise_less, u < v)
COMPARE(elementwise_less_equal, u <= v)
COMPARE(elementwise_greater, u > v)
COMPARE(elementwise_greater_equal, u >= v)

/* The factor of dy in the gradient of the first operand (u; v is the second): 1 if it is selected or either is NaN, 1/2 on a tie. */
BINARY(elementwise_first_wins_maximum, u < v ? 0.0f : u == v ? 0.5f : 1.0f)
BINARY(elementwise_first_wins_minimum, u > v ? 0.0f : u == v ? 0.5f : 1.0f)

/* y = condition ? a : b; a number replaces a (side 1) or b (side 2) */
KERNEL elementwise_where(const u8 *condition, const real *a, const real *b, real *y, const int *table, int n,
                         float scalar_a, float scalar_b, int sides) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  if (condition[offset_of(table, 0, i)]) y[i] = sides & 1 ? scalar_a : (float)a[offset_of(table, 1, i)];
  else y[i] = sides & 2 ? scalar_b : (float)b[offset_of(table, 2, i)];
}
