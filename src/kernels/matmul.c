/* C = A B for batches of matrices.
 * If A is stored [m, k], B is first packed into panels of TILE_COLUMNS, and elements of A are broadcast.
 * If A is stored [k, m], as in every weight gradient, both are packed, one block at a time.
 */
#include "gemm.h"

enum { TILES_PER_TASK = 8, WANTED_TASKS = 32, INNER_CHUNK = 256, SUM_CHUNK = 1024 };

struct product {
  const float *a, *b, *bias;
  float *c;
  size_t a_batch, b_batch, c_batch; /* elements from one matrix to the next; 0 if one serves all */
  int32_t m, k, n, batches, panels, row_groups, panel_groups, chunks, parts; /* chunks: of INNER_CHUNK terms */
  int32_t inner, left, right; /* size of a worker's block of both operands: terms, rows of c, columns of c */
  int32_t transposed; /* for packing: B is stored [n, k] */
  float *packed;
};

KERNEL double matmul_packed_size(int32_t k, int32_t n) { return (double)ceil_div(n, TILE_COLUMNS) * k * TILE_COLUMNS; }

/* Packs a whole panel of b [n, k], LANES terms at a time; returns how many terms it packed. */
INLINE int32_t pack_transposed(const float *b, int32_t k, float *to) {
  int32_t i = 0;
  for (; i + LANES <= k; i += LANES)
    for (int32_t half = 0; half < TILE_COLUMNS; half += LANES) {
      vec rows[LANES];
      UNROLLED for (int32_t j = 0; j < LANES; j++) rows[j] = load(b + (size_t)(half + j) * (size_t)k + (size_t)i);
      transpose(rows);
      UNROLLED for (int32_t j = 0; j < LANES; j++) store(to + (size_t)(i + j) * TILE_COLUMNS + half, rows[j]);
    }
  return i;
}

static void pack_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct product *p = context;
  int32_t batch = task / p->panels, panel = task % p->panels;
  int32_t begin = panel * TILE_COLUMNS, width = min32(TILE_COLUMNS, p->n - begin);
  float *to = p->packed + (size_t)task * (size_t)p->k * TILE_COLUMNS;
  const float *b = p->b + (size_t)batch * p->b_batch;
  int32_t whole = p->transposed && width == TILE_COLUMNS;
  int32_t first = whole ? pack_transposed(b + (size_t)begin * (size_t)p->k, p->k, to) : 0;
  to += (size_t)first * TILE_COLUMNS;
  for (int32_t i = first; i < p->k; i++, to += TILE_COLUMNS) {
    if (p->transposed)
      for (int32_t j = 0; j < width; j++) to[j] = b[(size_t)(begin + j) * (size_t)p->k + (size_t)i];
    else
      for (int32_t j = 0; j < width; j++) to[j] = b[(size_t)i * (size_t)p->n + (size_t)(begin + j)];
    for (int32_t j = width; j < TILE_COLUMNS; j++) to[j] = 0.0f;
  }
}

/* packed[batch][panel][k][TILE_COLUMNS] of b [batches, k, n], or [batches, n, k] when transposed */
KERNEL void matmul_pack(const float *b, float *packed, int32_t batches, int32_t k, int32_t n, int32_t transposed) {
  struct product p = {.b = b, .packed = packed, .k = k, .n = n, .transposed = transposed, .b_batch = (size_t)k * (size_t)n};
  p.panels = ceil_div(n, TILE_COLUMNS);
  pool_run(pack_task, &p, batches * p.panels);
}

/* sum += the products of one chunk of k. Chunks bound the rounding error, which grows if many equal terms are added to one sum. */
static __attribute__((noinline)) void add_chunk(tile *sum, const float *rows, size_t step, int32_t there, const float *packed, int32_t k) {
  tile part = {};
  tile_multiply_upto(&part, rows, step, there, packed, k);
  for (int32_t r = 0; r < TILE_ROWS; r++) sum->at[r][0] += part.at[r][0], sum->at[r][1] += part.at[r][1];
}

static void multiply_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct product *p = context;
  int32_t panel_group = task % p->panel_groups, rest = task / p->panel_groups;
  int32_t row_group = rest % p->row_groups, batch = rest / p->row_groups;
  const float *a = p->a + (size_t)batch * p->a_batch, *b = p->b + (size_t)batch * p->b_batch;
  float *c = p->c + (size_t)batch * p->c_batch;
  int32_t first_panel = (int32_t)((int64_t)p->panels * panel_group / p->panel_groups);
  int32_t last_panel = (int32_t)((int64_t)p->panels * (panel_group + 1) / p->panel_groups);
  int32_t first_row = row_group * TILES_PER_TASK * TILE_ROWS;
  int32_t last_row = min32(p->m, first_row + TILES_PER_TASK * TILE_ROWS);
  for (int32_t panel = first_panel; panel < last_panel; panel++) {
    const float *packed = b + (size_t)panel * (size_t)p->k * TILE_COLUMNS;
    int32_t column = panel * TILE_COLUMNS, width = p->n - column;
    vec bias0 = {}, bias1 = {};
    if (p->bias) bias0 = load_upto(p->bias + column, width), bias1 = load_upto(p->bias + column + LANES, width - LANES);
    for (int32_t row = first_row; row < last_row; row += TILE_ROWS) {
      const float *rows = a + (size_t)row * (size_t)p->k;
      tile sum = {};
      tile_multiply_upto(&sum, rows, (size_t)p->k, last_row - row, packed, min32(p->k, SUM_CHUNK));
      for (int32_t begin = SUM_CHUNK; begin < p->k; begin += SUM_CHUNK)
        add_chunk(&sum, rows + begin, (size_t)p->k, last_row - row, packed + (size_t)begin * TILE_COLUMNS,
                  min32(p->k - begin, SUM_CHUNK));
      for (int32_t r = 0; r < TILE_ROWS && row + r < last_row; r++) {
        float *out = c + (size_t)(row + r) * (size_t)p->n + (size_t)column;
        store_upto(out, sum.at[r][0] + bias0, width);
        store_upto(out + LANES, sum.at[r][1] + bias1, width - LANES);
      }
    }
  }
}

/* c[batch] = a[batch] [m, k] times packed[batch], + bias [n] if it is given; a_batch, b_batch: 1, or 0 if one matrix serves all */
KERNEL void matmul_multiply(const float *a, const float *packed, const float *bias, float *c, int32_t batches, int32_t m,
                            int32_t k, int32_t n, int32_t a_batch, int32_t b_batch) {
  struct product p = {.a = a, .b = packed, .bias = bias, .c = c, .m = m, .k = k, .n = n};
  p.panels = ceil_div(n, TILE_COLUMNS);
  p.a_batch = a_batch ? (size_t)m * (size_t)k : 0;
  p.b_batch = b_batch ? (size_t)p.panels * (size_t)k * TILE_COLUMNS : 0;
  p.c_batch = (size_t)m * (size_t)n;
  p.row_groups = ceil_div(m, TILES_PER_TASK * TILE_ROWS);
  p.panel_groups = pieces_for(batches * p.row_groups, p.panels, WANTED_TASKS);
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
