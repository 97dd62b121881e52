/* Tests of numbers, and logic on bool tensors: see elementwise.cuh. */
#include "elementwise.cuh"

TEST(logic_is_finite, fabsf(x) < infinity())
TEST(logic_is_inf, fabsf(x) == infinity())
TEST(logic_is_nan, x != x)

/* u and v are 0 or 1. */
#define LOGIC(name, expression)                                                     \
  KERNEL name(const u8 *a, const u8 *b, u8 *y, const int *table, int n) {           \
    u32 i = thread_number();                                                        \
    if (i >= (u32)n) return;                                                        \
    u8 u = a[offset_of(table, 0, i)] != 0, v = b[offset_of(table, 1, i)] != 0;      \
    (void)v;                                                                        \
    y[i] = (u8)(expression);                                                        \
  }

LOGIC(logic_and, u & v)
LOGIC(logic_not, !u)
LOGIC(logic_or, u | v)
LOGIC(logic_xor, u ^ v)
