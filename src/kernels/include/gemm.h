/* Register tiles of matrix products: TILE_ROWS x TILE_COLUMNS accumulators stay in registers during the whole inner loop.
 * Each inner step loads two vectors of the right operand, and for each row of the left does one broadcast and two fused
 * multiply-adds.
 */
#ifndef RECTIFLOW_GEMM_H
#define RECTIFLOW_GEMM_H

#include "pool.h"

#if LANES == 16
#define TILE_ROWS 12
#elif defined(__wasm__)
#define TILE_ROWS 4 /* without fused multiply-add, products take registers too, and with 6 rows accumulators would spill */
#else
#define TILE_ROWS 6
#endif
#define TILE_COLUMNS (2 * LANES)

typedef struct { vec at[TILE_ROWS][2]; } tile;

enum { PREFETCHED_ROWS = 32 }; /* how far ahead the right operand is prefetched */

/* sum[r] += sum_k a[r][k] * b[k], b a packed panel of rows of TILE_COLUMNS */
INLINE void tile_multiply(tile *sum, const float *const *a, const float *b, int32_t k) {
  vec c[TILE_ROWS][2];
  const float *row[TILE_ROWS];
  UNROLLED for (int32_t r = 0; r < TILE_ROWS; r++) c[r][0] = sum->at[r][0], c[r][1] = sum->at[r][1], row[r] = a[r];
  NOT_UNROLLED for (int32_t i = 0; i < k; i++, b += TILE_COLUMNS) {
    prefetch(b + PREFETCHED_ROWS * TILE_COLUMNS, TILE_COLUMNS);
    vec b0 = load(b), b1 = load(b + LANES);
    UNROLLED for (int32_t r = 0; r < TILE_ROWS; r++) {
      vec s = splat(row[r][i]);
      c[r][0] += s * b0;
      c[r][1] += s * b1;
    }
  }
  UNROLLED for (int32_t r = 0; r < TILE_ROWS; r++) sum->at[r][0] = c[r][0], sum->at[r][1] = c[r][1];
}

/* The same for rows that are `step` apart, with fewer registers; each inner step prefetches one line of `next`. */
INLINE void tile_multiply_strided(tile *sum, const float *a, size_t step, const float *b, int32_t k, const float *next) {
  enum { GROUP = 3, GROUPS = (TILE_ROWS + GROUP - 1) / GROUP };
  vec c[TILE_ROWS][2];
  const float *group[GROUPS];
  UNROLLED for (int32_t r = 0; r < TILE_ROWS; r++) c[r][0] = sum->at[r][0], c[r][1] = sum->at[r][1];
  UNROLLED for (int32_t g = 0; g < GROUPS; g++) group[g] = a + (size_t)(GROUP * g) * step;
  NOT_UNROLLED for (int32_t i = 0; i < k; i++, b += TILE_COLUMNS) {
    prefetch(b + PREFETCHED_ROWS * TILE_COLUMNS, TILE_COLUMNS);
    prefetch(next + 16 * (size_t)i, 16);
    vec b0 = load(b), b1 = load(b + LANES);
    UNROLLED for (int32_t r = 0; r < TILE_ROWS; r++) {
      vec s = splat(group[r / GROUP][(size_t)(r % GROUP) * step]);
      c[r][0] += s * b0;
      c[r][1] += s * b1;
    }
    UNROLLED for (int32_t g = 0; g < GROUPS; g++) group[g]++;
  }
  UNROLLED for (int32_t r = 0; r < TILE_ROWS; r++) sum->at[r][0] = c[r][0], sum->at[r][1] = c[r][1];
}

/* The same for `there` rows of a, at most TILE_ROWS: missing rows repeat the last one, and their sums are not read. */
INLINE void tile_multiply_upto(tile *sum, const float *a, size_t step, int32_t there, const float *b, int32_t k) {
  if (there >= TILE_ROWS) {
    tile_multiply_strided(sum, a, step, b, k, a + TILE_ROWS * step);
    return;
  }
  const float *rows[TILE_ROWS];
  for (int32_t r = 0; r < TILE_ROWS; r++) rows[r] = a + (size_t)min32(r, there - 1) * step;
  tile_multiply(sum, rows, b, k);
}

/* to[term][TILE_COLUMNS] of a panel of TILE_COLUMNS rows, which are `step` apart, LANES terms at a time; returns how many terms are
 * packed. The rows are more streams than the hardware prefetcher follows. */
INLINE int32_t pack_panel_rows(float *to, const float *rows, size_t step, int32_t terms) {
  enum { PACKED_AHEAD = 64 };
  int32_t i = 0;
  for (; i + LANES <= terms; i += LANES)
    for (int32_t half = 0; half < TILE_COLUMNS; half += LANES) {
      vec turned[LANES];
      UNROLLED for (int32_t j = 0; j < LANES; j++) {
        const float *from = rows + (size_t)(half + j) * step + (size_t)i;
        __builtin_prefetch(from + PACKED_AHEAD);
        turned[j] = load(from);
      }
      transpose(turned);
      UNROLLED for (int32_t j = 0; j < LANES; j++) store(to + (size_t)(i + j) * TILE_COLUMNS + half, turned[j]);
    }
  return i;
}

INLINE vec load_upto(const float *p, int32_t n) { return n >= LANES ? load(p) : load_partial(p, n > 0 ? n : 0); }
INLINE void store_upto(float *p, vec v, int32_t n) {
  if (n >= LANES) store(p, v);
  else if (n > 0) store_partial(p, v, n);
}

/* sum[r] += sum_k a[k * a_step + r] * b[k * b_step], both operands stored with k outermost; `width` columns exist.
 * next: 0, or rows of TILE_COLUMNS to prefetch meanwhile, if all columns exist. */
INLINE void tile_multiply_transposed(int32_t rows, vec (*c)[2], const float *a, size_t a_step, const float *b, size_t b_step,
                                     int32_t width, int32_t k, const float *next) {
  if (width == TILE_COLUMNS) {
    NOT_UNROLLED for (int32_t i = 0; i < k; i++, a += a_step, b += b_step) {
      if (next) prefetch(next + i * TILE_COLUMNS, TILE_COLUMNS);
      vec b0 = load(b), b1 = load(b + LANES);
      UNROLLED for (int32_t r = 0; r < rows; r++) {
        vec s = splat(a[r]);
        c[r][0] += s * b0;
        c[r][1] += s * b1;
      }
    }
  } else {
    NOT_UNROLLED for (int32_t i = 0; i < k; i++, a += a_step, b += b_step) {
      vec b0 = load_upto(b, width), b1 = load_upto(b + LANES, width - LANES);
      UNROLLED for (int32_t r = 0; r < rows; r++) {
        vec s = splat(a[r]);
        c[r][0] += s * b0;
        c[r][1] += s * b1;
      }
    }
  }
}

/* The largest row count <= rows that has its own kernel; see WITH_ROWS. */
INLINE int32_t tile_rows_of(int32_t rows) {
  if (rows >= TILE_ROWS) return TILE_ROWS;
#if TILE_ROWS > 8
  if (rows >= 8) return 8;
#endif
  return rows >= 4 ? 4 : rows >= 2 ? 2 : 1;
}

/* Runs call(rows, ...) with a constant `rows`, so that its accumulators are kept in registers. */
#if TILE_ROWS > 8
#define WITH_ROWS(rows, call, ...)                     \
  switch (rows) {                                      \
    case 12: call(12, __VA_ARGS__); break;             \
    case 8: call(8, __VA_ARGS__); break;               \
    case 4: call(4, __VA_ARGS__); break;               \
    case 2: call(2, __VA_ARGS__); break;               \
    default: call(1, __VA_ARGS__);                     \
  }
#elif TILE_ROWS > 4
#define WITH_ROWS(rows, call, ...)                     \
  switch (rows) {                                      \
    case 6: call(6, __VA_ARGS__); break;               \
    case 4: call(4, __VA_ARGS__); break;               \
    case 2: call(2, __VA_ARGS__); break;               \
    default: call(1, __VA_ARGS__);                     \
  }
#else
#define WITH_ROWS(rows, call, ...)                     \
  switch (rows) {                                      \
    case 4: call(4, __VA_ARGS__); break;               \
    case 2: call(2, __VA_ARGS__); break;               \
    default: call(1, __VA_ARGS__);                     \
  }
#endif

/* The number of pieces to split `extent` into, so that `tasks` tasks become about `wanted`; a function of the shape alone. */
INLINE int32_t pieces_for(int32_t tasks, int32_t extent, int32_t wanted) {
  return max32(1, min32(extent, ceil_div(wanted, max32(1, tasks))));
}

#endif
