/* Arithmetic, comparisons and bits of i32 tensors, one line each: see elementwise.cuh. Sums, differences and products wrap around. */
#include "elementwise.cuh"

/* u, v and the result are i32; `scalar` replaces an operand that is a number. */
#define WHOLE_TO(name, type, expression)                                                                            \
  KERNEL name(const int *a, const int *b, type *y, const int *table, int n, int scalar, int scalar_side) {          \
    u32 i = thread_number();                                                                                        \
    if (i >= (u32)n) return;                                                                                        \
    int u = scalar_side == 1 ? scalar : a[offset_of(table, 0, i)];                                                  \
    int v = scalar_side == 2 ? scalar : b[offset_of(table, 1, i)];                                                  \
    y[i] = (type)(expression);                                                                                      \
  }
#define WHOLE(name, expression) WHOLE_TO(name, int, expression)
#define COMPARE_WHOLE(name, expression) WHOLE_TO(name, u8, expression)

/* The quotient rounded down and its remainder, which has the sign of v; 0 for v = 0. The quotient of -2^31 and -1 wraps. */
DEVICE int quotient(int u, int v) {
  if (v == 0) return 0;
  if (v == -1) return (int)(0u - (u32)u);
  return u / v - (u % v != 0 && (u ^ v) < 0);
}
DEVICE int remainder_of(int u, int v) {
  if (v == 0 || v == -1) return 0;
  int r = u % v;
  return r != 0 && (r ^ v) < 0 ? r + v : r;
}

WHOLE(integer_add, (u32)u + (u32)v)
WHOLE(integer_sub, (u32)u - (u32)v)
WHOLE(integer_mul, (u32)u *(u32)v)
WHOLE(integer_floor_div, quotient(u, v))
WHOLE(integer_mod, remainder_of(u, v))
WHOLE(integer_maximum, u < v ? v : u)
WHOLE(integer_minimum, u > v ? v : u)

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
WHOLE(integer_left_shift, (u32)v > 31u ? 0u : (u32)u << v)
WHOLE(integer_right_shift, u >> ((u32)v > 31u ? 31 : v))

/* y = condition ? a : b; a number replaces a (side 1) or b (side 2) */
KERNEL integer_where(const u8 *condition, const int *a, const int *b, int *y, const int *table, int n, int scalar_a,
                     int scalar_b, int sides) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  if (condition[offset_of(table, 0, i)]) y[i] = sides & 1 ? scalar_a : a[offset_of(table, 1, i)];
  else y[i] = sides & 2 ? scalar_b : b[offset_of(table, 2, i)];
}
