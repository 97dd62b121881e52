/* Tests of numbers, and logic on bool tensors: see elementwise.h. */
#include "elementwise.h"

TEST(logic_is_finite, vec_abs(x) < __builtin_inff())
TEST(logic_is_inf, vec_abs(x) == __builtin_inff())
TEST(logic_is_nan, x != x)

/* u and v are 0 or 1. */
#define LOGIC(name, expression)                                                                                        \
  static void name##_row(const void *const *in, void *out, int32_t n, const int32_t *stride, const float *constants) { \
    (void)constants;                                                                                                   \
    const uint8_t *a = in[0], *b = in[1];                                                                              \
    uint8_t *y = out;                                                                                                  \
    for (int32_t i = 0; i < n; i++) {                                                                                  \
      uint8_t u = a[i * stride[0]] != 0, v = b[i * stride[1]] != 0;                                                    \
      (void)v;                                                                                                         \
      y[i] = expression;                                                                                               \
    }                                                                                                                  \
  }                                                                                                                    \
  KERNEL void name(const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t *table) {                             \
    struct loop l = {{(const char *)a, (const char *)b}, {1, 1}, 2, 1, (char *)y, table, name##_row, {0, 0}, 0, 0, 0, 0}; \
    run_loop(&l);                                                                                                      \
  }

LOGIC(logic_and, u & v)
LOGIC(logic_not, !u)
LOGIC(logic_or, u | v)
LOGIC(logic_xor, u ^ v)
