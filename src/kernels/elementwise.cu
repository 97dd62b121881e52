/* Elementwise functions with broadcasting: y[i] = f(a[i], b[i]), with one thread per element.
 * table: rank, dims[rank] of the output, then the strides[rank] of each operand (0 along broadcast axes).
 */
#include "storage.cuh"

/* The offset, in elements, at which output element i reads operand `which`. */
DEVICE size_t offset_of(const int *table, int which, u32 i) {
  int rank = table[0];
  const int *dims = table + 1, *strides = dims + rank * (1 + which);
  size_t offset = 0;
  for (int axis = rank - 1; axis >= 0; axis--) {
    offset += (size_t)(i % (u32)dims[axis]) * (size_t)strides[axis];
    i /= (u32)dims[axis];
  }
  return offset;
}

/* ---------------------------------------------------------------- one operand: x, constants p and q */
#define UNARY(name, expression)                                                             \
  KERNEL elementwise_##name(const real *in, real *out, int n, float p, float q) {         \
    u32 i = thread_number();                                                                \
    if (i >= (u32)n) return;                                                                \
    float x = in[i];                                                                        \
    out[i] = expression;                                                                    \
  }

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

UNARY(neg, -x)
UNARY(abs, fabsf(x))
UNARY(exp, expf(x))
UNARY(log, logf(x))
UNARY(sqrt, sqrtf(x))
UNARY(sin, sinf(x))
UNARY(cos, cosf(x))
UNARY(tanh, tanhf(x))
UNARY(sigmoid, sigmoid(x))
UNARY(silu, x *sigmoid(x))
UNARY(relu, x < 0.0f ? 0.0f : x)
UNARY(square, x *x)
UNARY(clamp, x < p ? p : x > q ? q : x)

/* ---------------------------------------------------------------- two operands: u, v; `scalar` replaces a (side 1) or b (2) */
#define BINARY_TO(name, type, expression)                                                                      \
  KERNEL elementwise_##name(const real *a, const real *b, type *y, const int *table, int n, float scalar,    \
                            int scalar_side) {                                                                 \
    u32 i = thread_number();                                                                                   \
    if (i >= (u32)n) return;                                                                                   \
    float u = scalar_side == 1 ? scalar : (float)a[offset_of(table, 0, i)];                                           \
    float v = scalar_side == 2 ? scalar : (float)b[offset_of(table, 1, i)];                                           \
    y[i] = expression;                                                                                         \
  }
#define BINARY(name, expression) BINARY_TO(name, real, expression)
#define COMPARE(name, expression) BINARY_TO(name, u8, expression)

DEVICE float either_nan(float u, float v, float r) { return u != u || v != v ? u + v : r; }

BINARY(add, u + v)
BINARY(sub, u - v)
BINARY(mul, u *v)
BINARY(div, u / v)
BINARY(pow, powf(u, v))
/* For +0 and -0 the result is the first operand. */
BINARY(maximum, either_nan(u, v, u < v ? v : u))
BINARY(minimum, either_nan(u, v, u > v ? v : u))

COMPARE(equal, u == v)
COMPARE(not_equal, u != v)
COMPARE(less, u < v)
COMPARE(less_equal, u <= v)
COMPARE(greater, u > v)
COMPARE(greater_equal, u >= v)

/* ---------------------------------------------------------------- gradients: u = dy, v = x or y */
DEVICE float silu_slope(float x) {
  float s = sigmoid(x);
  return s * (1.0f + x * (1.0f - s));
}
BINARY(abs_backward, v > 0.0f ? u : v < 0.0f ? -u : u * 0.0f)
BINARY(sqrt_backward, u / (v + v))
BINARY(tanh_backward, u *(1.0f - v * v))
BINARY(sigmoid_backward, u *v *(1.0f - v))
BINARY(silu_backward, u *silu_slope(v))
BINARY(relu_backward, v <= 0.0f ? 0.0f : u)
/* The factor of dy in the gradient of the first operand (u; v is the second): 1 if it is selected or either is NaN, 1/2 on a tie. */
BINARY(first_wins_maximum, u < v ? 0.0f : u == v ? 0.5f : 1.0f)
BINARY(first_wins_minimum, u > v ? 0.0f : u == v ? 0.5f : 1.0f)

KERNEL elementwise_clamp_backward(const real *dy, const real *x, real *dx, int n, float low, float high) {
  u32 i = thread_number();
  if (i < (u32)n) dx[i] = x[i] >= low && x[i] <= high ? (float)dy[i] : 0.0f;
}

/* y = condition ? a : b; a number replaces a (side 1) or b (side 2) */
KERNEL elementwise_where(const u8 *condition, const real *a, const real *b, real *y, const int *table, int n,
                         float scalar_a, float scalar_b, int sides) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  if (condition[offset_of(table, 0, i)]) y[i] = sides & 1 ? scalar_a : (float)a[offset_of(table, 1, i)];
  else y[i] = sides & 2 ? scalar_b : (float)b[offset_of(table, 2, i)];
}
