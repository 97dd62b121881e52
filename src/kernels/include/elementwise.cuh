/* Elementwise functions with broadcasting: y[i] = f(a[i], b[i]). A thread has SOME elements, read at once where the operands do not
 * broadcast. A family is a .cu file in which each f is one line of the macros below, which take the name of the kernel and an
 * expression in f32.
 * table: rank, dims[rank] of the output, then the strides[rank] of each operand (0 along broadcast axes).
 */
#ifndef RECTIFLOW_ELEMENTWISE_CUH
#define RECTIFLOW_ELEMENTWISE_CUH

#include "several.cuh"
#include "storage.cuh"

#define SOME 4 /* elementwise_family.ts depends on it */

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

/* Stores one(k) for the SOME elements from `first` on. */
template <class To, class One> DEVICE void store_some(To *out, u32 first, One one) {
  several<To, SOME> made;
#pragma unroll
  for (int k = 0; k < SOME; k++) made.of[k] = one(k);
  at_once<SOME>(out + first) = made;
}

/* ---------------------------------------------------------------- one operand: x, constants p and q */
#define UNARY_TO(name, type, expression)                          \
  DEVICE type name##_of(float x, float p, float q) {              \
    (void)p, (void)q;                                             \
    type y;                                                       \
    y = expression;                                               \
    return y;                                                     \
  }                                                               \
  KERNEL name(const real *in, type *out, int n, float p, float q) { \
    each_of_several<SOME>(                                        \
        n, aligned<SOME>(in) && aligned<SOME>(out),               \
        [&](u32 first) {                                          \
          several<real, SOME> x = at_once<SOME>(in + first);      \
          store_some(out, first, [&](int k) { return name##_of(x.of[k], p, q); }); \
        },                                                        \
        [&](u32 i) { out[i] = name##_of(in[i], p, q); });         \
  }
#define UNARY(name, expression) UNARY_TO(name, real, expression)
#define TEST(name, expression) UNARY_TO(name, u8, expression)

/* The gradient dx from u = dy and from `saved`, which `expression` calls x or y, the operand or the result of the function. */
#define GRADIENT(name, saved, expression)                                            \
  DEVICE real name##_of(float u, float saved, float p, float q) {                    \
    (void)p, (void)q;                                                                \
    real dx;                                                                         \
    dx = expression;                                                                 \
    return dx;                                                                       \
  }                                                                                  \
  KERNEL name(const real *dy, const real *kept, real *dx, int n, float p, float q) { \
    each_of_several<SOME>(                                                           \
        n, aligned<SOME>(dy) && aligned<SOME>(kept) && aligned<SOME>(dx),            \
        [&](u32 first) {                                                             \
          several<real, SOME> u = at_once<SOME>(dy + first), v = at_once<SOME>(kept + first); \
          store_some(dx, first, [&](int k) { return name##_of(u.of[k], v.of[k], p, q); }); \
        },                                                                           \
        [&](u32 i) { dx[i] = name##_of(dy[i], kept[i], p, q); });                    \
  }

/* A function and its gradient: y = value, of x; dx = gradient, of u and what is saved, x or y. */
#define FUNCTION(name, saved, value, gradient) UNARY(name, value) GRADIENT(name##_backward, saved, gradient)

/* ---------------------------------------------------------------- two operands: u, v; `scalar` replaces a (side 1) or b (2) */

/* Whether the elements of both operands, those that are not a number, are in the order of the output. */
DEVICE bool in_order(const int *table, int scalar_side) {
  return table[0] == 1 && (scalar_side == 1 || table[2] == 1) && (scalar_side == 2 || table[3] == 1);
}

#define BINARY_TO(name, type, expression)                                                                      \
  DEVICE type name##_of(float u, float v) {                                                                    \
    type y;                                                                                                    \
    y = expression;                                                                                            \
    return y;                                                                                                  \
  }                                                                                                            \
  KERNEL name(const real *a, const real *b, type *y, const int *table, int n, float scalar, int scalar_side) { \
    const real *from_a = scalar_side == 1 ? b : a, *from_b = scalar_side == 2 ? a : b;                         \
    each_of_several<SOME>(                                                                                     \
        n, in_order(table, scalar_side) && aligned<SOME>(from_a) && aligned<SOME>(from_b) && aligned<SOME>(y), \
        [&](u32 first) {                                                                                       \
          several<real, SOME> u = at_once<SOME>(from_a + first), v = at_once<SOME>(from_b + first);            \
          store_some(y, first, [&](int k) {                                                                    \
            return name##_of(scalar_side == 1 ? scalar : (float)u.of[k], scalar_side == 2 ? scalar : (float)v.of[k]); \
          });                                                                                                  \
        },                                                                                                     \
        [&](u32 i) {                                                                                           \
          float u = scalar_side == 1 ? scalar : (float)a[offset_of(table, 0, i)];                              \
          y[i] = name##_of(u, scalar_side == 2 ? scalar : (float)b[offset_of(table, 1, i)]);                   \
        });                                                                                                    \
  }
#define BINARY(name, expression) BINARY_TO(name, real, expression)
#define COMPARE(name, expression) BINARY_TO(name, u8, expression)

#endif
