/* The loops of elementwise kernels: y[i] = f(a[i], b[i]) with broadcasting. A family is a .c file in which each f is one line of
 * the macros below, which take the name of the kernel and an expression on vectors.
 *
 * A table describes the loop: rank, dims[rank], then the strides[rank] of each operand (0 along broadcast axes).
 * The last axis is the vector loop. A task is a run of rows, or a piece of the row if there is only one.
 */
#ifndef RECTIFLOW_ELEMENTWISE_H
#define RECTIFLOW_ELEMENTWISE_H

#include "pool.h"

enum { CHUNK = 1 << 14, MOST_OPERANDS = 3 };

typedef void (*row_function)(const void *const *in, void *out, int32_t n, const int32_t *stride, const float *constants);

struct loop {
  const char *in[MOST_OPERANDS];
  int32_t size[MOST_OPERANDS]; /* bytes of an element */
  int32_t operands, out_size;
  char *out;
  const int32_t *table;
  row_function row;
  float constants[2];
  int32_t rows, width, rows_per_task, pieces;
};

static void loop_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct loop *l = context;
  const int32_t rank = l->table[0], *dims = l->table + 1, *strides = dims + rank;
  int32_t first = task / l->pieces * l->rows_per_task, last = min32(l->rows, first + l->rows_per_task);
  int32_t begin = l->pieces > 1 ? task % l->pieces * CHUNK : 0;
  int32_t count = l->pieces > 1 ? min32(CHUNK, l->width - begin) : l->width;
  for (int32_t r = first; r < last; r++) {
    const void *in[MOST_OPERANDS];
    int32_t inner[MOST_OPERANDS] = {0};
    for (int32_t o = 0; o < l->operands; o++) {
      const int32_t *s = strides + o * rank;
      inner[o] = s[rank - 1];
      size_t offset = (size_t)begin * (size_t)inner[o];
      for (int32_t axis = rank - 2, rest = r; axis >= 0; axis--) {
        offset += (size_t)(rest % dims[axis]) * (size_t)s[axis];
        rest /= dims[axis];
      }
      in[o] = l->in[o] + offset * (size_t)l->size[o];
    }
    l->row(in, l->out + ((size_t)r * (size_t)l->width + (size_t)begin) * (size_t)l->out_size, count, inner, l->constants);
  }
}

static void run_loop(struct loop *l) {
  int32_t rank = l->table[0];
  l->width = l->table[rank];
  l->rows = 1;
  for (int32_t axis = 0; axis < rank - 1; axis++) l->rows *= l->table[1 + axis];
  l->pieces = l->width > CHUNK ? ceil_div(l->width, CHUNK) : 1;
  l->rows_per_task = l->pieces > 1 ? 1 : max32(1, CHUNK / max32(1, l->width));
  pool_run(loop_task, l, ceil_div(l->rows, l->rows_per_task) * l->pieces);
}

INLINE vec gather(const float *p, int32_t stride, int32_t n) {
  vec v = {};
  for (int32_t i = 0; i < n; i++) v[i] = p[i * stride];
  return v;
}
INLINE void put_float(float *y, vec r, int32_t n) {
  if (n == LANES) store(y, r);
  else store_partial(y, r, n);
}
INLINE void put_uint8_t(uint8_t *y, vec_i32 mask, int32_t n) {
  for (int32_t i = 0; i < n; i++) y[i] = (uint8_t)(mask[i] & 1);
}

/* ---------------------------------------------------------------- one operand: x, constants p and q */
#define UNARY_TO(name, type, expression)                                                                               \
  static void name##_row(const void *const *in, void *out, int32_t n, const int32_t *stride, const float *constants) { \
    (void)stride;                                                                                                      \
    const float *a = in[0];                                                                                            \
    type *y = out;                                                                                                     \
    vec p = splat(constants[0]), q = splat(constants[1]);                                                              \
    (void)p, (void)q;                                                                                                  \
    int32_t i = 0;                                                                                                     \
    for (; i + LANES <= n; i += LANES) {                                                                               \
      vec x = load(a + i);                                                                                             \
      put_##type(y + i, expression, LANES);                                                                            \
    }                                                                                                                  \
    if (i < n) {                                                                                                       \
      vec x = load_partial(a + i, n - i);                                                                              \
      put_##type(y + i, expression, n - i);                                                                            \
    }                                                                                                                  \
  }                                                                                                                    \
  KERNEL void name(const float *x, type *y, const int32_t *table, float p, float q) {                                  \
    struct loop l = {{(const char *)x}, {4}, 1, sizeof(type), (char *)y, table, name##_row, {p, q}, 0, 0, 0, 0};       \
    run_loop(&l);                                                                                                      \
  }
#define UNARY(name, expression) UNARY_TO(name, float, expression)
/* `expression` is a mask, stored as bool. */
#define TEST(name, expression) UNARY_TO(name, uint8_t, expression)

/* The gradient dx from u = dy and from `saved`, which `expression` calls x or y, the operand or the result of the function. */
#define GRADIENT(name, saved, expression)                                                                                      \
  static void name##_row(const void *const *in, void *out, int32_t n, const int32_t *stride, const float *constants) {         \
    (void)stride;                                                                                                              \
    const float *dy = in[0], *kept = in[1];                                                                                    \
    float *dx = out;                                                                                                           \
    vec p = splat(constants[0]), q = splat(constants[1]);                                                                      \
    (void)p, (void)q;                                                                                                          \
    int32_t i = 0;                                                                                                             \
    for (; i + LANES <= n; i += LANES) {                                                                                       \
      vec u = load(dy + i), saved = load(kept + i);                                                                            \
      store(dx + i, expression);                                                                                               \
    }                                                                                                                          \
    if (i < n) {                                                                                                               \
      vec u = load_partial(dy + i, n - i), saved = load_partial(kept + i, n - i);                                              \
      store_partial(dx + i, expression, n - i);                                                                                \
    }                                                                                                                          \
  }                                                                                                                            \
  KERNEL void name(const float *dy, const float *kept, float *dx, const int32_t *table, float p, float q) {                    \
    struct loop l = {{(const char *)dy, (const char *)kept}, {4, 4}, 2, 4, (char *)dx, table, name##_row, {p, q}, 0, 0, 0, 0}; \
    run_loop(&l);                                                                                                              \
  }

/* A function and its gradient: y = value, of x; dx = gradient, of u and what is saved, x or y. */
#define FUNCTION(name, saved, value, gradient) UNARY(name, value) GRADIENT(name##_backward, saved, gradient)

/* ---------------------------------------------------------------- two operands: u, v; `scalar` replaces one that is a number */
#define BINARY_TO(name, type, expression)                                                                              \
  static void name##_row(const void *const *in, void *out, int32_t n, const int32_t *stride, const float *constants) { \
    (void)constants;                                                                                                   \
    const float *a = in[0], *b = in[1];                                                                                \
    type *y = out;                                                                                                     \
    int32_t i = 0;                                                                                                     \
    if (stride[0] == 1 && stride[1] == 1)                                                                              \
      for (; i + LANES <= n; i += LANES) {                                                                             \
        vec u = load(a + i), v = load(b + i);                                                                          \
        put_##type(y + i, expression, LANES);                                                                          \
      }                                                                                                                \
    else if (stride[0] == 1 && stride[1] == 0)                                                                         \
      for (vec v = splat(*b); i + LANES <= n; i += LANES) {                                                            \
        vec u = load(a + i);                                                                                           \
        put_##type(y + i, expression, LANES);                                                                          \
      }                                                                                                                \
    else if (stride[0] == 0 && stride[1] == 1)                                                                         \
      for (vec u = splat(*a); i + LANES <= n; i += LANES) {                                                            \
        vec v = load(b + i);                                                                                           \
        put_##type(y + i, expression, LANES);                                                                          \
      }                                                                                                                \
    for (; i < n; i += LANES) {                                                                                        \
      int32_t left = min32(LANES, n - i);                                                                              \
      vec u = gather(a + i * stride[0], stride[0], left), v = gather(b + i * stride[1], stride[1], left);              \
      put_##type(y + i, expression, left);                                                                             \
    }                                                                                                                  \
  }                                                                                                                    \
  KERNEL void name(const float *a, const float *b, type *y, const int32_t *table, float scalar, int32_t scalar_side) { \
    struct loop l = {{(const char *)(scalar_side == 1 ? &scalar : a), (const char *)(scalar_side == 2 ? &scalar : b)}, \
                     {4, 4}, 2, sizeof(type), (char *)y, table, name##_row, {0, 0}, 0, 0, 0, 0};                       \
    run_loop(&l);                                                                                                      \
  }
#define BINARY(name, expression) BINARY_TO(name, float, expression)
#define COMPARE(name, expression) BINARY_TO(name, uint8_t, expression)

#endif
