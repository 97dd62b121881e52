/* C = A B for batches of matrices.
 * If A is stored [m, k], each task packs its panels of TILE_COLUMNS columns of B, and elements of A are broadcast.
 * If A is stored [k, m], as in every weight gradient, both are packed, one block at a time.
 */
#include "gemm.h"

enum { LEAST_TILES = 64, PANELS_FLOATS = 98304, WANTED_TASKS = 32, INNER_CHUNK = 256, SUM_CHUNK = 1024 };

struct product {
  const float *a, *b, *bias;
  float *c;
  size_t a_batch, b_batch, c_batch; /* elements from one matrix to the next; 0 if one serves all */
  int32_t m, k, n, batches, panels, row_groups, panel_groups, chunks, parts; /* chunks: of INNER_CHUNK terms */
  int32_t inner, left, right; /* size of a worker's block of both operands: terms, rows of c, columns of c; or right: its floats */
  int32_t transposed; /* B is stored [n, k] */
  float *packed;
};

/* to[term][TILE_COLUMNS] of terms [first, first + count) of a panel of b [k, n], or [n, k] when transposed, zeros after the last
 * column */
static void pack_panel(const struct product *p, const float *b, int32_t panel, int32_t first, int32_t count, float *to) {
  int32_t width = min32(TILE_COLUMNS, p->n - panel * TILE_COLUMNS), i = 0;
  size_t row = p->transposed ? 1 : (size_t)p->n, column = p->transposed ? (size_t)p->k : 1;
  b += (size_t)first * row + (size_t)panel * TILE_COLUMNS * column;
  if (width == TILE_COLUMNS) {
    if (p->transposed) i = pack_panel_rows(to, b, column, count);
    for (; i < count && !p->transposed; i++)
      UNROLLED for (int32_t half = 0; half < TILE_COLUMNS; half += LANES)
        store(to + (size_t)i * TILE_COLUMNS + half, load(b + (size_t)i * row + half));
  }
  for (; i < count; i++)
    for (int32_t j = 0; j < TILE_COLUMNS; j++)
      to[(size_t)i * TILE_COLUMNS + (size_t)j] = j < width ? b[(size_t)i * row + (size_t)j * column] : 0.0f;
}

/* Adds the products of some terms to TILE_ROWS rows of c in one panel, of which `there` exist. first, last: of the terms */
static void multiply_tile(const struct product *p, const float *rows, float *c, int32_t there, const float *packed, int32_t terms,
                          int32_t panel, int32_t first, int32_t last) {
  int32_t column = panel * TILE_COLUMNS, width = p->n - column;
  vec bias[2] = {};
  if (last && p->bias) bias[0] = load_upto(p->bias + column, width), bias[1] = load_upto(p->bias + column + LANES, width - LANES);
  tile sum = {};
  tile_multiply_upto(&sum, rows, (size_t)p->k, there, packed, terms);
  for (int32_t r = 0; r < min32(TILE_ROWS, there); r++)
    for (int32_t half = 0; half < 2; half++) {
      float *out = c + (size_t)r * (size_t)p->n + (size_t)(column + half * LANES);
      int32_t left = width - half * LANES;
      vec v = sum.at[r][half];
      if (!first) v += load_upto(out, left);
      store_upto(out, last ? v + bias[half] : v, left);
    }
}

INLINE struct span { int32_t begin, end; } span_of(int32_t count, int32_t piece, int32_t pieces) {
  return (struct span){(int32_t)((int64_t)count * piece / pieces), (int32_t)((int64_t)count * (piece + 1) / pieces)};
}

/* A task is a group of panels, which it packs, and a group of rows. Chunks of terms keep the panels in the near cache, and bound
 * the rounding error, which grows if many equal terms are added to one sum. */
static void multiply_task(void *context, int32_t task, int32_t worker) {
  const struct product *p = context;
  int32_t panel_group = task % p->panel_groups, rest = task / p->panel_groups, batch = rest / p->row_groups;
  struct span panels = span_of(p->panels, panel_group, p->panel_groups);
  struct span tiles = span_of(ceil_div(p->m, TILE_ROWS), rest % p->row_groups, p->row_groups);
  const float *a = p->a + (size_t)batch * p->a_batch, *b = p->b + (size_t)batch * p->b_batch;
  float *c = p->c + (size_t)batch * p->c_batch, *packed = p->packed + (size_t)worker * (size_t)p->right;
  for (int32_t begin = 0; begin < p->k || begin == 0; begin += SUM_CHUNK) {
    int32_t terms = min32(p->k - begin, SUM_CHUNK);
    size_t size = (size_t)terms * TILE_COLUMNS;
    float *to = packed;
    for (int32_t i = panels.begin; i < panels.end; i++, to += size) pack_panel(p, b, i, begin, terms, to);
    for (int32_t row = tiles.begin * TILE_ROWS; row < min32(p->m, tiles.end * TILE_ROWS); row += TILE_ROWS) {
      const float *rows = a + (size_t)row * (size_t)p->k + begin, *from = packed;
      for (int32_t i = panels.begin; i < panels.end; i++, from += size)
        multiply_tile(p, rows, c + (size_t)row * (size_t)p->n, p->m - row, from, terms, i, begin == 0, begin + SUM_CHUNK >= p->k);
    }
  }
}

/* As many panels at a time as stay in the near cache, in equal groups. If that gives too few tasks, rows are split, although each
 * share of them packs the same panels again, and more groups of panels are made. */
static struct product product_plan(int32_t batches, int32_t m, int32_t k, int32_t n) {
  struct product p = {.batches = batches, .m = m, .k = k, .n = n, .panels = ceil_div(n, TILE_COLUMNS)};
  int32_t terms = max32(1, min32(k, SUM_CHUNK)), at_once = PANELS_FLOATS / TILE_COLUMNS / terms;
  int32_t shares = max32(1, m / (LEAST_TILES * TILE_ROWS));
  int32_t groups = max32(ceil_div(p.panels, at_once), pieces_for(batches * shares, p.panels, WANTED_TASKS));
  p.panel_groups = ceil_div(p.panels, p.panels / groups);
  p.row_groups = pieces_for(batches * p.panel_groups, shares, WANTED_TASKS);
  p.right = ceil_div(p.panels, p.panel_groups) * terms * TILE_COLUMNS;
  return p;
}

/* Floats of scratch memory for each worker. */
KERNEL double matmul_scratch(int32_t batches, int32_t m, int32_t k, int32_t n) {
  return (double)product_plan(batches, m, k, n).right;
}

/* c[batch] = a[batch] [m, k] times b[batch] [k, n], or [n, k] when transposed, + bias [n] if given; a_batch, b_batch: 1, or 0 if
 * one matrix serves all */
KERNEL void matmul_multiply(const float *a, const float *b, const float *bias, float *c, float *scratch, int32_t batches,
                            int32_t m, int32_t k, int32_t n, int32_t a_batch, int32_t b_batch, int32_t transposed) {
  struct product p = product_plan(batches, m, k, n);
  p.a = a, p.b = b, p.bias = bias, p.c = c, p.packed = scratch, p.transposed = transposed;
  p.a_batch = a_batch ? (size_t)m * (size_t)k : 0;
  p.b_batch = b_batch ? (size_t)k * (size_t)n : 0;
  p.c_batch = (size_t)m * (size_t)n;
  pool_run(multiply_task, &p, batches * p.row_groups * p.panel_groups);
}

/* ---------------------------------------------------------------- A stored [k, m]
 * A task computes a block of C. For each chunk of k it packs both operands into panels, which are then read many times from the
 * near caches. Unpacked, each row of a tile would be in a different cache line.
 */

enum { BLOCK_TILES = 132 / TILE_ROWS, BLOCK_PANELS = 256 / TILE_COLUMNS, WANTED_BLOCKS = 8 };

/* The largest blocks read the operands least often. If that gives too few blocks, k is split, and then the columns. */
static struct product transposed_plan(int32_t batches, int32_t m, int32_t k, int32_t n) {
  struct product p = {.batches = batches, .m = m, .k = k, .n = n, .panels = ceil_div(n, TILE_COLUMNS)};
  p.c_batch = (size_t)m * (size_t)n;
  p.row_groups = ceil_div(m, BLOCK_TILES * TILE_ROWS);
  p.panel_groups = ceil_div(p.panels, BLOCK_PANELS);
  p.chunks = max32(1, ceil_div(k, INNER_CHUNK));
  int32_t blocks = batches * p.row_groups;
  p.parts = pieces_for(blocks * p.panel_groups, p.chunks / 2, WANTED_BLOCKS);
  p.panel_groups = max32(p.panel_groups, pieces_for(blocks * p.parts, p.panels, WANTED_BLOCKS));
  p.inner = max32(1, min32(k, INNER_CHUNK));
  p.left = min32(ceil_div(m, TILE_ROWS), BLOCK_TILES) * TILE_ROWS;
  p.right = min32(ceil_div(p.panels, p.panel_groups), BLOCK_PANELS) * TILE_COLUMNS;
  return p;
}

/* The number of partial products of a product, and the floats of scratch memory for each worker. */
KERNEL double matmul_transposed_parts(int32_t batches, int32_t m, int32_t k, int32_t n) {
  return (double)transposed_plan(batches, m, k, n).parts;
}
KERNEL double matmul_transposed_scratch(int32_t batches, int32_t m, int32_t k, int32_t n) {
  struct product p = transposed_plan(batches, m, k, n);
  return (double)p.inner * (p.left + p.right);
}

/* Copies `count` rows of from to to[i][width]; `there` columns exist, and the others are filled with zeros. */
INLINE void lay_out_panel(float *to, const float *from, size_t step, int32_t count, int32_t width, int32_t there) {
  if (there >= width)
    for (int32_t i = 0; i < count; i++, to += width, from += step)
      UNROLLED for (int32_t j = 0; j < width; j++) to[j] = from[j];
  else
    for (int32_t i = 0; i < count; i++, to += width, from += step)
      for (int32_t j = 0; j < width; j++) to[j] = j < there ? from[j] : 0.0f;
}

static void transposed_tile(const float *a, const float *b, int32_t count, float *c, size_t step, int32_t rows, int32_t width,
                            int32_t fresh) {
  vec sum[TILE_ROWS][2] = {};
  tile_multiply_transposed(TILE_ROWS, sum, a, TILE_ROWS, b, TILE_COLUMNS, TILE_COLUMNS, count, 0);
  UNROLLED for (int32_t r = 0; r < TILE_ROWS; r++)
    if (r < rows) {
      float *out = c + (size_t)r * step;
      if (!fresh) {
        sum[r][0] += load_upto(out, width);
        sum[r][1] += load_upto(out + LANES, width - LANES);
      }
      store_upto(out, sum[r][0], width);
      store_upto(out + LANES, sum[r][1], width - LANES);
    }
}

static void transposed_task(void *context, int32_t task, int32_t worker) {
  const struct product *p = context;
  int32_t panel_group = task % p->panel_groups, rest = task / p->panel_groups;
  int32_t group = rest % p->row_groups, part = rest / p->row_groups % p->parts, batch = rest / p->row_groups / p->parts;
  int32_t first_k = p->chunks * part / p->parts * INNER_CHUNK, end_k = min32(p->k, p->chunks * (part + 1) / p->parts * INNER_CHUNK);
  const float *a = p->a + (size_t)batch * p->a_batch, *b = p->b + (size_t)batch * p->b_batch;
  float *c = p->c + (size_t)(part * p->batches + batch) * p->c_batch;
  size_t inner = (size_t)p->inner;
  float *left = p->packed + (size_t)worker * inner * (size_t)(p->left + p->right), *right = left + inner * (size_t)p->left;
  int32_t end_panel = (int32_t)((int64_t)p->panels * (panel_group + 1) / p->panel_groups);
  int32_t first_row = group * BLOCK_TILES * TILE_ROWS, last_row = min32(p->m, first_row + BLOCK_TILES * TILE_ROWS);
  for (int32_t first = (int32_t)((int64_t)p->panels * panel_group / p->panel_groups), last; first < end_panel; first = last) {
    last = min32(end_panel, first + BLOCK_PANELS);
    for (int32_t begin = first_k; begin < end_k || begin == 0; begin += INNER_CHUNK) {
      int32_t count = min32(INNER_CHUNK, end_k - begin);
      for (int32_t row = first_row; row < last_row; row += TILE_ROWS)
        lay_out_panel(left + (size_t)(row - first_row) * inner, a + (size_t)begin * (size_t)p->m + (size_t)row,
                      (size_t)p->m, count, TILE_ROWS, last_row - row);
      for (int32_t panel = first; panel < last; panel++) {
        float *packed = right + (size_t)(panel - first) * inner * TILE_COLUMNS;
        int32_t column = panel * TILE_COLUMNS, width = p->n - column;
        lay_out_panel(packed, b + (size_t)begin * (size_t)p->n + (size_t)column, (size_t)p->n, count, TILE_COLUMNS, width);
        for (int32_t row = first_row; row < last_row; row += TILE_ROWS)
          transposed_tile(left + (size_t)(row - first_row) * inner, packed, count,
                          c + (size_t)row * (size_t)p->n + (size_t)column, (size_t)p->n, last_row - row, width, begin == first_k);
      }
    }
  }
}

/* c[part][batch] = the terms of that part of a[batch]^T b[batch], a [k, m], b [k, n]; scratch: matmul_transposed_scratch floats
 * for each worker */
KERNEL void matmul_multiply_transposed(const float *a, const float *b, float *c, float *scratch, int32_t batches, int32_t m,
                                       int32_t k, int32_t n, int32_t a_batch, int32_t b_batch) {
  struct product p = transposed_plan(batches, m, k, n);
  p.a = a, p.b = b, p.c = c, p.packed = scratch;
  p.a_batch = a_batch ? (size_t)m * (size_t)k : 0;
  p.b_batch = b_batch ? (size_t)n * (size_t)k : 0;
  pool_run(transposed_task, &p, batches * p.parts * p.row_groups * p.panel_groups);
}
