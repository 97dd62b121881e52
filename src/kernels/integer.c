/* Arithmetic, comparisons and bits of i32 tensors, one line each: see elementwise.h. Sums, differences and products wrap around. */
#include "elementwise.h"

/* u, v and the result are i32; `scalar` replaces an operand that is a number. */
#define WHOLE_TO(name, type, expression)                                                                               \
  static void name##_row(const void *const *in, void *out, int32_t n, const int32_t *stride, const float *constants) { \
    (void)constants;                                                                                                   \
    const int32_t *a = in[0], *b = in[1];                                                                              \
    type *y = out;                                                                                                     \
    for (int32_t i = 0; i < n; i++) {                                                                                  \
      int32_t u = a[i * stride[0]], v = b[i * stride[1]];                                                              \
      y[i] = (type)(expression);                                                                                       \
    }                                                                                                                  \
  }                                                                                                                    \
  KERNEL void name(const int32_t *a, const int32_t *b, type *y, const int32_t *table, int32_t scalar,                  \
                   int32_t scalar_side) {                                                                              \
    struct loop l = {{(const char *)(scalar_side == 1 ? &scalar : a), (const char *)(scalar_side == 2 ? &scalar : b)}, \
                     {4, 4}, 2, sizeof(type), (char *)y, table, name##_row, {0, 0}, 0, 0, 0, 0};                       \
    run_loop(&l);                                                                                                      \
  }
#define WHOLE(name, expression) WHOLE_TO(name, int32_t, expression)
#define COMPARE_WHOLE(name, expression) WHOLE_TO(name, uint8_t, expression)

INLINE uint32_t bits(int32_t x) { return (uint32_t)x; }
/* The quotient rounded down and its remainder, which has the sign of v; 0 for v = 0. The quotient of -2^31 and -1 wraps. */
INLINE int32_t quotient(int32_t u, int32_t v) {
  if (v == 0) return 0;
  if (v == -1) return (int32_t)(0u - bits(u));
  return u / v - (u % v != 0 && (u ^ v) < 0);
}
INLINE int32_t remainder_of(int32_t u, int32_t v) {
  if (v == 0 || v == -1) return 0;
  int32_t r = u % v;
  return r != 0 && (r ^ v) < 0 ? r + v : r;
}

WHOLE(integer_add, bits(u) + bits(v))
WHOLE(integer_sub, bits(u) - bits(v))
WHOLE(integer_mul, bits(u) *bits(v))
WHOLE(integer_floor_div, quotient(u, v))
WHOLE(integer_mod, remainder_of(u, v))
WHOLE(integer_maximum, max32(u, v))
WHOLE(integer_minimum, min32(u, v))

COMPARE_WHOLE(integer_equal, u == v)
COMPARE_WHOLE(integer_not_equal, u != v)
COMPARE_WHOLE(integer_less, u < v)
COMPARE_WHOLE(integer_less_equal, u <= v)
COMPARE_WHOLE(integer_greater, u > v)
COMPARE_WHOLE(integer_greater_equal, u >= v)

WHOLE(integer_and, u & v)
WHOLE(integer_or, u | v)
WHOLE(integer_xor, u ^ v)
/* Shifts by less than 0 or more than 31 bits move all bits out. */
WHOLE(integer_left_shift, bits(v) > 31u ? 0u : bits(u) << v)
WHOLE(integer_right_shift, u >> (bits(v) > 31u ? 31 : v))

static void where_row(const void *const *in, void *out, int32_t n, const int32_t *stride, const float *constants) {
  (void)constants;
  const uint8_t *condition = in[0];
  const int32_t *a = in[1], *b = in[2];
  int32_t *y = out;
  for (int32_t i = 0; i < n; i++) y[i] = condition[i * stride[0]] ? a[i * stride[1]] : b[i * stride[2]];
}

/* y = condition ? a : b; a number replaces a (side 1) or b (side 2) */
KERNEL void integer_where(const uint8_t *condition, const int32_t *a, const int32_t *b, int32_t *y, const int32_t *table,
                          int32_t scalar_a, int32_t scalar_b, int32_t sides) {
  struct loop l = {{(const char *)condition, (const char *)(sides & 1 ? &scalar_a : a), (const char *)(sides & 2 ? &scalar_b : b)},
                   {1, 4, 4}, 3, 4, (char *)y, table, where_row, {0, 0}, 0, 0, 0, 0};
  run_loop(&l);
}
