/* Attention without stored scores, as in flash_attention.c. A block of THREADS threads computes CHANNELS channels of TILE rows,
 * queries or keys, of one head, and meets TILE of the others at a time. Row r of a tile belongs to warp r % WARPS and column c to lane
 * c, so that a sum over a row is a sum over a warp. blockIdx.y selects the channels.
 */
#include "storage.cuh"
#include "warp.cuh"

#define THREADS 256
#define WARPS 8
#define TILE 32
#define PER_WARP 4 /* rows: TILE / WARPS */
#define CHANNELS 128
#define PER_LANE 4 /* channels: CHANNELS / WARP */

struct attention {
  int queries, keys, heads, width, value_width, causal, mask_sample, mask_head, mask_query, mask_key;
};

/* table: N, queries, keys, heads, channels of a head of q and k, those of v, whether causal, strides of the mask */
DEVICE attention attention_of(const int *t) { return {t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10]}; }

/* The rows of one head of one sample in [N, rows, heads width]. */
struct side {
  size_t offset, step;
  int rows, width;
};

DEVICE side side_of(const attention &a, u32 head, int rows, int width) {
  size_t step = (size_t)a.heads * (size_t)width;
  return {(size_t)(head / (u32)a.heads) * (size_t)rows * step + (size_t)(head % (u32)a.heads) * (size_t)width, step, rows, width};
}

/* What a block shares: pieces of both operands, and two tiles of weights. */
struct room {
  float left[TILE][TILE + 1], right[TILE][TILE + 1], weights[TILE][TILE + 1], slopes[TILE][TILE + 1];
};

DEVICE int warp_of() { return (int)threadIdx.x / WARP; }

DEVICE float element(const real *of, const side &s, int row, int channel) {
  return row < s.rows && channel < s.width ? (float)of[s.offset + (size_t)row * s.step + (size_t)channel] : 0.0f;
}

/* dot[r] = the product of row first_a + (row r of the warp) of a with row first_b + lane of b. The whole block must call it. */
DEVICE void dot_products(room &m, float (&dot)[PER_WARP], const real *a, const side &at_a, int first_a, const real *b,
                         const side &at_b, int first_b) {
  int lane = lane_number(), warp = warp_of();
#pragma unroll
  for (int r = 0; r < PER_WARP; r++) dot[r] = 0.0f;
  for (int begin = 0; begin < at_a.width; begin += TILE) {
    __syncthreads();
    for (int row = warp; row < TILE; row += WARPS) {
      m.left[row][lane] = element(a, at_a, first_a + row, begin + lane);
      m.right[row][lane] = element(b, at_b, first_b + row, begin + lane);
    }
    __syncthreads();
    for (int t = 0; t < TILE; t++) {
      float right = m.right[lane][t];
#pragma unroll
      for (int r = 0; r < PER_WARP; r++) dot[r] += m.left[warp + r * WARPS][t] * right;
    }
  }
}

/* sum[r][c] += the sum over t of weights[row r of the warp][t] b[first + t][channel c of the lane]. The whole block must call it. */
DEVICE void add_products(room &m, float (&sum)[PER_WARP][PER_LANE], const float (&weights)[TILE][TILE + 1], const real *b,
                         const side &at_b, int first, int channel0) {
  int lane = lane_number(), warp = warp_of();
#pragma unroll
  for (int c = 0; c < PER_LANE; c++) {
    int channel = channel0 + c * WARP;
    if (channel >= at_b.width) continue;
    __syncthreads();
    for (int row = warp; row < TILE; row += WARPS) m.right[row][lane] = element(b, at_b, first + row, channel + lane);
    __syncthreads();
    float part[PER_WARP] = {};
    for (int t = 0; t < TILE; t++) {
      float right = m.right[t][lane];
#pragma unroll
      for (int r = 0; r < PER_WARP; r++) part[r] += weights[warp + r * WARPS][t] * right;
    }
#pragma unroll
    for (int r = 0; r < PER_WARP; r++) sum[r][c] += part[r];
  }
}

/* Writes the rows of the tile at `first`, each times its share. */
DEVICE void write_rows(real *to, const side &s, const float (&sum)[PER_WARP][PER_LANE], const float (&share)[PER_WARP], int first,
                       int channel0) {
#pragma unroll
  for (int r = 0; r < PER_WARP; r++)
#pragma unroll
    for (int c = 0; c < PER_LANE; c++) {
      int row = first + warp_of() + r * WARPS, channel = channel0 + c * WARP + lane_number();
      if (row < s.rows && channel < s.width) to[s.offset + (size_t)row * s.step + (size_t)channel] = share[r] * sum[r][c];
    }
}

DEVICE bool attends(const attention &a, const u8 *mask, u32 head, int query, int key) {
  if (query >= a.queries || key >= a.keys || (a.causal && key > query)) return false;
  if (!mask) return true;
  return mask[(size_t)(head / (u32)a.heads) * (size_t)a.mask_sample + (size_t)(head % (u32)a.heads) * (size_t)a.mask_head +
              (size_t)query * (size_t)a.mask_query + (size_t)key * (size_t)a.mask_key] != 0;
}

/* The end of the keys that any query of the tile at `first` attends to. */
DEVICE int end_of_keys(const attention &a, int first) { return a.causal ? min(a.keys, first + TILE) : a.keys; }

/* y [N, queries, heads D] and log_sums [N, heads, queries], +infinity for a query without keys, so that its p are 0 */
KERNEL __launch_bounds__(THREADS) flash_attention_forward(const real *q, const real *k, const real *v, const u8 *mask, real *y,
                                                          float *log_sums, const int *table, float scale) {
  __shared__ room m;
  attention a = attention_of(table);
  u32 tiles = (u32)ceil_div(a.queries, TILE), head = blockIdx.x / tiles;
  int first = (int)(blockIdx.x % tiles) * TILE, channel0 = (int)blockIdx.y * CHANNELS, lane = lane_number(), warp = warp_of();
  side at_q = side_of(a, head, a.queries, a.width), at_k = side_of(a, head, a.keys, a.width);
  side at_v = side_of(a, head, a.keys, a.value_width);
  float sum[PER_WARP][PER_LANE] = {}, largest[PER_WARP], score[PER_WARP];
  double total[PER_WARP] = {};
#pragma unroll
  for (int r = 0; r < PER_WARP; r++) largest[r] = -infinity();
  for (int key = 0; key < end_of_keys(a, first); key += TILE) {
    dot_products(m, score, q, at_q, first, k, at_k, key);
    __syncwarp();
#pragma unroll
    for (int r = 0; r < PER_WARP; r++) {
      int row = warp + r * WARPS;
      float s = attends(a, mask, head, first + row, key + lane) ? scale * score[r] : -infinity();
      float highest = warp_max(s), before = largest[r];
      if (highest > before) largest[r] = highest;
      float shift = largest[r] == -infinity() ? 0.0f : largest[r], kept = expf(before - shift), p = expf(s - shift);
      m.weights[row][lane] = p;
      total[r] = total[r] * (double)kept + (double)warp_sum(p);
#pragma unroll
      for (int c = 0; c < PER_LANE; c++) sum[r][c] *= kept;
    }
    add_products(m, sum, m.weights, v, at_v, key, channel0);
  }
  float share[PER_WARP];
#pragma unroll
  for (int r = 0; r < PER_WARP; r++) {
    share[r] = total[r] == 0 ? 0.0f : (float)(1.0 / total[r]);
    int query = first + warp + r * WARPS;
    if (query < a.queries && lane == 0 && blockIdx.y == 0)
      log_sums[(size_t)head * (size_t)a.queries + (size_t)query] =
          total[r] == 0 ? infinity() : largest[r] + logf((float)total[r]);
  }
  write_rows(y, side_of(a, head, a.queries, a.value_width), sum, share, first, channel0);
}

/* deltas [N, heads, queries] = y . dy of each head; one warp per row */
KERNEL flash_attention_deltas(const real *y, const real *dy, float *deltas, const int *table, int rows) {
  u32 row = warp_number();
  if (row >= (u32)rows) return;
  attention a = attention_of(table);
  side at = side_of(a, row / (u32)a.queries, a.queries, a.value_width);
  size_t begin = at.offset + (size_t)(row % (u32)a.queries) * at.step;
  float sum = 0.0f;
  for (int c = lane_number(); c < a.value_width; c += WARP) sum += (float)y[begin + c] * (float)dy[begin + c];
  sum = warp_sum(sum);
  if (lane_number() == 0) deltas[row] = sum;
}

KERNEL __launch_bounds__(THREADS) flash_attention_query_gradient(const real *q, const real *k, const real *v, const u8 *mask,
                                                                 const real *dy, const float *log_sums, const float *deltas,
                                                                 real *dq, const int *table, float scale) {
  __shared__ room m;
  attention a = attention_of(table);
  u32 tiles = (u32)ceil_div(a.queries, TILE), head = blockIdx.x / tiles;
  int first = (int)(blockIdx.x % tiles) * TILE, channel0 = (int)blockIdx.y * CHANNELS, lane = lane_number(), warp = warp_of();
  side at_q = side_of(a, head, a.queries, a.width), at_k = side_of(a, head, a.keys, a.width);
  side at_v = side_of(a, head, a.keys, a.value_width), at_y = side_of(a, head, a.queries, a.value_width);
  float sum[PER_WARP][PER_LANE] = {}, score[PER_WARP], slope[PER_WARP], log_sum[PER_WARP], delta[PER_WARP], share[PER_WARP];
#pragma unroll
  for (int r = 0; r < PER_WARP; r++) {
    int query = first + warp + r * WARPS;
    size_t at = (size_t)head * (size_t)a.queries + (size_t)query;
    log_sum[r] = query < a.queries ? log_sums[at] : infinity();
    delta[r] = query < a.queries ? deltas[at] : 0.0f;
    share[r] = 1.0f;
  }
  for (int key = 0; key < end_of_keys(a, first); key += TILE) {
    dot_products(m, score, q, at_q, first, k, at_k, key);
    dot_products(m, slope, dy, at_y, first, v, at_v, key);
    __syncwarp();
#pragma unroll
    for (int r = 0; r < PER_WARP; r++) {
      int row = warp + r * WARPS;
      float s = attends(a, mask, head, first + row, key + lane) ? scale * score[r] : -infinity();
      m.slopes[row][lane] = scale * expf(s - log_sum[r]) * (slope[r] - delta[r]);
    }
    add_products(m, sum, m.slopes, k, at_k, key, channel0);
  }
  write_rows(dq, at_q, sum, share, first, channel0);
}

/* The rows of a tile are keys, and its columns are queries. */
KERNEL __launch_bounds__(THREADS) flash_attention_key_gradients(const real *q, const real *k, const real *v, const u8 *mask,
                                                                const real *dy, const float *log_sums, const float *deltas,
                                                                real *dk, real *dv, const int *table, float scale) {
  __shared__ room m;
  attention a = attention_of(table);
  u32 tiles = (u32)ceil_div(a.keys, TILE), head = blockIdx.x / tiles;
  int first = (int)(blockIdx.x % tiles) * TILE, channel0 = (int)blockIdx.y * CHANNELS, lane = lane_number(), warp = warp_of();
  side at_q = side_of(a, head, a.queries, a.width), at_k = side_of(a, head, a.keys, a.width);
  side at_v = side_of(a, head, a.keys, a.value_width), at_y = side_of(a, head, a.queries, a.value_width);
  float sum_k[PER_WARP][PER_LANE] = {}, sum_v[PER_WARP][PER_LANE] = {}, score[PER_WARP], slope[PER_WARP], share[PER_WARP];
#pragma unroll
  for (int r = 0; r < PER_WARP; r++) share[r] = 1.0f;
  for (int query = a.causal ? first : 0; query < a.queries; query += TILE) {
    int own = query + lane;
    size_t at = (size_t)head * (size_t)a.queries + (size_t)own;
    float log_sum = own < a.queries ? log_sums[at] : infinity(), delta = own < a.queries ? deltas[at] : 0.0f;
    dot_products(m, score, k, at_k, first, q, at_q, query);
    dot_products(m, slope, v, at_v, first, dy, at_y, query);
    __syncwarp();
#pragma unroll
    for (int r = 0; r < PER_WARP; r++) {
      int row = warp + r * WARPS;
      float s = attends(a, mask, head, own, first + row) ? scale * score[r] : -infinity(), p = expf(s - log_sum);
      m.weights[row][lane] = p;
      m.slopes[row][lane] = scale * p * (slope[r] - delta);
    }
    add_products(m, sum_k, m.slopes, q, at_q, query, channel0);
    add_products(m, sum_v, m.weights, dy, at_y, query, channel0);
  }
  write_rows(dk, at_k, sum_k, share, first, channel0);
  write_rows(dv, at_v, sum_v, share, first, channel0);
}

/* out [samples, heads, queries, keys], n elements = whether the query attends to the key */
KERNEL flash_attention_attends(const u8 *mask, u8 *out, const int *table, int heads, int n) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  attention a = attention_of(table);
  u32 row = i / (u32)a.keys, head = row / (u32)a.queries;
  int key = (int)(i % (u32)a.keys), query = (int)(row % (u32)a.queries);
  a.heads = heads;
  out[i] = attends(a, mask, head, query, key);
}
