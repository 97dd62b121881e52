/* Elementwise functions with broadcasting, one thread per element: y[i] = f(a[i], b[i]). A family is a .cu file in which each f is
 * one line of the macros below, which take the name of the kernel and an expression in f32.
 * table: rank, dims[rank] of the output, then the strides[rank] of each operand (0 along broadcast axes).
 */
#ifndef RECTIFLOW_ELEMENTWISE_CUH
#define RECTIFLOW_ELEMENTWISE_CUH

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
#define UNARY_TO(name, type, expression)                            \
  KERNEL name(const real *in, type *out, int n, float p, float q) { \
    u32 i = thread_number();                                        \
    if (i >= (u32)n) return;                                        \
    float x = in[i];                                                \
    out[i] = expression;                                            \
  }
#define UNARY(name, expression) UNARY_TO(name, real, expression)
#define TEST(name, expression) UNARY_TO(name, u8, expression)

/* The gradient dx from u = dy and from `saved`, which `expression` calls x or y, the operand or the result of the function. */
#define GRADIENT(name, saved, expression)                                            \
  KERNEL name(const real *dy, const real *kept, real *dx, int n, float p, float q) { \
    u32 i = thread_number();                                                         \
    if (i >= (u32)n) return;                                                         \
    float u = dy[i], saved = kept[i];                                                \
    dx[i] = expression;                                                              \
  }

/* A function and its gradient: y = value, of x; dx = gradient, of u and what is saved, x or y. */
#define FUNCTION(name, saved, value, gradient) UNARY(name, value) GRADIENT(name##_backward, saved, gradient)

/* ---------------------------------------------------------------- two operands: u, v; `scalar` replaces a (side 1) or b (2) */
#define BINARY_TO(name, type, expression)                                                                      \
  KERNEL name(const real *a, const real *b, type *y, const int *table, int n, float scalar, int scalar_side) { \
    u32 i = thread_number();                                                                                   \
    if (i >= (u32)n) return;                                                                                   \
    float u = scalar_side == 1 ? scalar : (float)a[offset_of(table, 0, i)];                                    \
    float v = scalar_side == 2 ? scalar : (float)b[offset_of(table, 1, i)];                                    \
    y[i] = expression;                                                                                         \
  }
#define BINARY(name, expression) BINARY_TO(name, real, expression)
#define COMPARE(name, expression) BINARY_TO(name, u8, expression)

#endif
