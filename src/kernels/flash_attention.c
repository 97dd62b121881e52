/* Attention without stored scores (Dao et al. 2022, FlashAttention), for each head of each sample:
 *   y[i] = sum over keys j of p[i][j] v[j],  p[i][j] = exp(scale q[i] . k[j] - log_sum[i])
 * Scores exist only for a block of ROWS queries and COLUMNS keys at a time. The forward pass keeps the largest score and the sum of
 * exponentials of each query so far; the gradients compute p again from log_sum. Blocks depend on the shape alone.
 */
#include "gemm.h"

enum { ROWS = 8 * TILE_ROWS, COLUMNS = 4 * TILE_COLUMNS };

struct attention {
  const float *q, *k, *v, *y, *dy, *log_sums;
  const uint8_t *mask; /* 0: none */
  float *out, *out_sums, *dq, *dk, *dv, *deltas, *scratch;
  int32_t samples, queries, keys, heads, width, value_width, causal;
  int32_t mask_sample, mask_head, mask_query, mask_key; /* strides of the mask, 0 where it is broadcast */
  int32_t blocks; /* of a head */
  float scale;
};

/* table: N, queries, keys, heads, channels of a head of q and k, those of v, whether causal, strides of the mask */
INLINE struct attention attention_of(const int32_t *t, float scale) {
  return (struct attention){.samples = t[0], .queries = t[1], .keys = t[2], .heads = t[3], .width = t[4], .value_width = t[5],
                            .causal = t[6], .mask_sample = t[7], .mask_head = t[8], .mask_query = t[9], .mask_key = t[10],
                            .scale = scale};
}

/* The rows of one head of one sample in [N, rows, heads width]. */
struct side {
  const float *at;
  size_t step;
  int32_t width;
};

INLINE size_t offset_of(const struct attention *a, int32_t head, int32_t rows, int32_t width) {
  return ((size_t)(head / a->heads) * (size_t)rows * (size_t)a->heads + (size_t)(head % a->heads)) * (size_t)width;
}

INLINE struct side side_of(const struct attention *a, const float *of, int32_t head, int32_t rows, int32_t width) {
  return (struct side){of + offset_of(a, head, rows, width), (size_t)a->heads * (size_t)width, width};
}

INLINE int32_t whole_panels(int32_t columns) { return ceil_div(columns, TILE_COLUMNS) * TILE_COLUMNS; }

/* ---------------------------------------------------------------- blocks of a product */

/* to[panel][channel][TILE_COLUMNS]: rows [first, first + count) as the columns of a right operand, zeros after the last */
static void pack_rows(float *to, struct side s, int32_t first, int32_t count) {
  for (int32_t column = 0; column < count; column += TILE_COLUMNS, to += (size_t)s.width * TILE_COLUMNS) {
    int32_t there = min32(TILE_COLUMNS, count - column), i = 0;
    const float *from = s.at + (size_t)(first + column) * s.step;
    if (there == TILE_COLUMNS)
      for (; i + LANES <= s.width; i += LANES)
        for (int32_t half = 0; half < TILE_COLUMNS; half += LANES) {
          vec rows[LANES];
          UNROLLED for (int32_t j = 0; j < LANES; j++) rows[j] = load(from + (size_t)(half + j) * s.step + (size_t)i);
          transpose(rows);
          UNROLLED for (int32_t j = 0; j < LANES; j++) store(to + (size_t)(i + j) * TILE_COLUMNS + half, rows[j]);
        }
    for (; i < s.width; i++)
      for (int32_t j = 0; j < TILE_COLUMNS; j++)
        to[(size_t)i * TILE_COLUMNS + (size_t)j] = j < there ? from[(size_t)j * s.step + (size_t)i] : 0.0f;
  }
}

/* to[panel][row][TILE_COLUMNS]: rows [first, first + count) as the rows of a right operand, zeros after the last channel */
static void pack_channels(float *to, struct side s, int32_t first, int32_t count) {
  for (int32_t column = 0; column < s.width; column += TILE_COLUMNS) {
    const float *from = s.at + (size_t)first * s.step + (size_t)column;
    int32_t there = s.width - column;
    for (int32_t i = 0; i < count; i++, from += s.step, to += TILE_COLUMNS) {
      store(to, load_upto(from, there));
      store(to + LANES, load_upto(from + LANES, there - LANES));
    }
  }
}

/* out[row][column] = the product of `count` rows of `terms` floats with packed panels, or that added to what out holds. The rows
 * of out are `pitch` apart; columns are whole panels. */
static void multiply(float *out, int32_t pitch, const float *rows, size_t step, int32_t count, const float *packed, int32_t terms,
                     int32_t columns, int32_t add) {
  for (int32_t column = 0; column < columns; column += TILE_COLUMNS, packed += (size_t)terms * TILE_COLUMNS)
    for (int32_t row = 0; row < count; row += TILE_ROWS) {
      tile sum = {};
      tile_multiply_upto(&sum, rows + (size_t)row * step, step, count - row, packed, terms);
      for (int32_t r = 0; r < TILE_ROWS && row + r < count; r++) {
        float *to = out + (size_t)(row + r) * (size_t)pitch + column;
        if (add) sum.at[r][0] += load(to), sum.at[r][1] += load(to + LANES);
        store(to, sum.at[r][0]);
        store(to + LANES, sum.at[r][1]);
      }
    }
}

/* The scratch memory of a worker: packed operands, scores and their gradients, and sums of rows. */
struct room {
  float *rows[2], *channels[2], *scores, *slopes, *sums[2];
};

INLINE size_t room_size(const struct attention *a) {
  size_t wide = (size_t)whole_panels(a->width) + (size_t)whole_panels(a->value_width);
  return 2 * COLUMNS * wide + 2 * ROWS * COLUMNS + ROWS * wide;
}

static struct room room_of(const struct attention *a, int32_t worker) {
  size_t width = (size_t)whole_panels(a->width), value_width = (size_t)whole_panels(a->value_width);
  float *at = a->scratch + (size_t)worker * room_size(a);
  struct room r;
  r.rows[0] = at, at += COLUMNS * width;
  r.rows[1] = at, at += COLUMNS * value_width;
  r.channels[0] = at, at += COLUMNS * width;
  r.channels[1] = at, at += COLUMNS * value_width;
  r.scores = at, at += ROWS * COLUMNS;
  r.slopes = at, at += ROWS * COLUMNS;
  r.sums[0] = at, at += ROWS * width;
  r.sums[1] = at;
  return r;
}

static void clear(float *p, int32_t rows, int32_t columns) {
  for (size_t i = 0; i < (size_t)rows * (size_t)columns; i += LANES) store(p + i, (vec){});
}

/* Writes `count` rows of `width` floats, which are whole panels apart, to rows of one head. */
static void write_rows(float *to, size_t step, const float *from, int32_t count, int32_t width) {
  for (int32_t r = 0; r < count; r++, to += step, from += whole_panels(width))
    for (int32_t c = 0; c < width; c += LANES) store_upto(to + c, load(from + c), width - c);
}

/* Floats of scratch memory for each worker. */
KERNEL double flash_attention_scratch(const int32_t *table) {
  struct attention a = attention_of(table, 1.0f);
  return (double)room_size(&a);
}

/* ---------------------------------------------------------------- which keys a query attends to */

INLINE const uint8_t *mask_at(const struct attention *a, int32_t head, int32_t query, int32_t key) {
  if (!a->mask) return 0;
  return a->mask + (size_t)(head / a->heads) * (size_t)a->mask_sample + (size_t)(head % a->heads) * (size_t)a->mask_head +
         (size_t)query * (size_t)a->mask_query + (size_t)key * (size_t)a->mask_key;
}

/* Scales a row of scores, of whole panels, and sets those outside [low, high) and those that the mask leaves out to -infinity. */
INLINE void limit_row(float *scores, float scale, int32_t padded, int32_t low, int32_t high, const uint8_t *mask, int32_t step) {
  low = min32(max32(low, 0), padded);
  high = max32(high, low);
  for (int32_t j = 0; j < padded; j += LANES) store(scores + j, load(scores + j) * scale);
  for (int32_t j = 0; j < low; j++) scores[j] = -__builtin_inff();
  for (int32_t j = high; j < padded; j++) scores[j] = -__builtin_inff();
  if (mask)
    for (int32_t j = low; j < high; j++)
      if (!mask[(size_t)j * (size_t)step]) scores[j] = -__builtin_inff();
}

/* The scores of one query for keys [first, first + count). */
INLINE void limit_query(const struct attention *a, float *scores, int32_t head, int32_t query, int32_t first, int32_t count) {
  int32_t high = a->causal ? min32(count, query + 1 - first) : count;
  limit_row(scores, a->scale, whole_panels(count), 0, high, mask_at(a, head, query, first), a->mask_key);
}

/* The scores of one key for queries [first, first + count). */
INLINE void limit_key(const struct attention *a, float *scores, int32_t head, int32_t key, int32_t first, int32_t count) {
  int32_t low = a->causal ? key - first : 0;
  limit_row(scores, a->scale, whole_panels(count), low, count, mask_at(a, head, first, key), a->mask_query);
}

/* The end of the keys that any of the queries before `query` attends to. */
INLINE int32_t end_of_keys(const struct attention *a, int32_t query) { return a->causal ? min32(a->keys, query) : a->keys; }

/* ---------------------------------------------------------------- forward: a task is a block of queries of one head */

/* Replaces scores by exp(score - largest), updates the largest score and the sum so far, and returns the factor of earlier sums. */
INLINE float soften(float *scores, int32_t padded, float *largest, double *total) {
  vec best = splat(-__builtin_inff()), sum = {};
  for (int32_t j = 0; j < padded; j += LANES) best = vec_max(load(scores + j), best);
  float highest = reduce_max(best), before = *largest;
  if (highest > before) *largest = highest;
  float shift = *largest == -__builtin_inff() ? 0.0f : *largest, kept = f32_exp(before - shift);
  for (int32_t j = 0; j < padded; j += LANES) {
    vec e = vec_exp(load(scores + j) - shift);
    store(scores + j, e);
    sum += e;
  }
  *total = *total * (double)kept + (double)reduce_add(sum);
  return kept;
}

static void forward_task(void *context, int32_t task, int32_t worker) {
  const struct attention *a = context;
  int32_t head = task / a->blocks, first = task % a->blocks * ROWS, count = min32(ROWS, a->queries - first);
  struct side q = side_of(a, a->q, head, a->queries, a->width), k = side_of(a, a->k, head, a->keys, a->width);
  struct side v = side_of(a, a->v, head, a->keys, a->value_width);
  struct room room = room_of(a, worker);
  int32_t columns = whole_panels(a->value_width), end = end_of_keys(a, first + count);
  float largest[ROWS];
  double total[ROWS];
  for (int32_t r = 0; r < count; r++) largest[r] = -__builtin_inff(), total[r] = 0;
  clear(room.sums[1], count, columns);
  for (int32_t key = 0; key < end; key += COLUMNS) {
    int32_t keys = min32(COLUMNS, end - key);
    pack_rows(room.rows[0], k, key, keys);
    pack_channels(room.channels[1], v, key, keys);
    multiply(room.scores, COLUMNS, q.at + (size_t)first * q.step, q.step, count, room.rows[0], a->width, whole_panels(keys), 0);
    for (int32_t r = 0; r < count; r++) {
      float *scores = room.scores + (size_t)r * COLUMNS, *sums = room.sums[1] + (size_t)r * (size_t)columns;
      limit_query(a, scores, head, first + r, key, keys);
      float kept = soften(scores, whole_panels(keys), &largest[r], &total[r]);
      if (kept != 1.0f)
        for (int32_t c = 0; c < columns; c += LANES) store(sums + c, load(sums + c) * kept);
    }
    multiply(room.sums[1], columns, room.scores, COLUMNS, count, room.channels[1], keys, columns, 1);
  }
  for (int32_t r = 0; r < count; r++) {
    float *sums = room.sums[1] + (size_t)r * (size_t)columns, share = total[r] == 0 ? 0.0f : (float)(1.0 / total[r]);
    for (int32_t c = 0; c < columns; c += LANES) store(sums + c, load(sums + c) * share);
    /* A query without keys gets +infinity, so that its p are 0. */
    a->out_sums[(size_t)head * (size_t)a->queries + (size_t)(first + r)] =
        total[r] == 0 ? __builtin_inff() : largest[r] + f32_log((float)total[r]);
  }
  float *out = a->out + offset_of(a, head, a->queries, a->value_width) + (size_t)first * v.step;
  write_rows(out, v.step, room.sums[1], count, a->value_width);
}

/* y [N, queries, heads D] and log_sums [N, heads, queries]; mask: 0, or bytes with the strides of the table */
KERNEL void flash_attention_forward(const float *q, const float *k, const float *v, const uint8_t *mask, float *y, float *log_sums,
                                    float *scratch, const int32_t *table, float scale) {
  struct attention a = attention_of(table, scale);
  a.q = q, a.k = k, a.v = v, a.mask = mask, a.out = y, a.out_sums = log_sums, a.scratch = scratch;
  a.blocks = ceil_div(a.queries, ROWS);
  pool_run(forward_task, &a, a.samples * a.heads * a.blocks);
}

/* ---------------------------------------------------------------- gradients
 * With delta[i] = dy[i] . y[i] and slope[i][j] = scale p[i][j] (dy[i] . v[j] - delta[i]):
 *   dq[i] = sum over j of slope[i][j] k[j],  dk[j] = sum over i of slope[i][j] q[i],  dv[j] = sum over i of p[i][j] dy[i]
 * dq is computed by tasks of queries, dk and dv by tasks of keys, so that no two tasks add to the same element.
 */

/* A task is one query of one sample. */
static void delta_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct attention *a = context;
  int32_t sample = task / a->queries, query = task % a->queries;
  for (int32_t h = 0; h < a->heads; h++) {
    int32_t head = sample * a->heads + h, c = 0;
    size_t at = offset_of(a, head, a->queries, a->value_width) + (size_t)query * (size_t)a->heads * (size_t)a->value_width;
    const float *y = a->y + at, *dy = a->dy + at;
    vec sum = {};
    for (; c < a->value_width; c += LANES) sum += load_upto(y + c, a->value_width - c) * load_upto(dy + c, a->value_width - c);
    a->deltas[(size_t)head * (size_t)a->queries + (size_t)query] = reduce_add(sum);
  }
}

static void query_task(void *context, int32_t task, int32_t worker) {
  const struct attention *a = context;
  int32_t head = task / a->blocks, first = task % a->blocks * ROWS, count = min32(ROWS, a->queries - first);
  struct side q = side_of(a, a->q, head, a->queries, a->width), k = side_of(a, a->k, head, a->keys, a->width);
  struct side v = side_of(a, a->v, head, a->keys, a->value_width), dy = side_of(a, a->dy, head, a->queries, a->value_width);
  struct room room = room_of(a, worker);
  const float *log_sums = a->log_sums + (size_t)head * (size_t)a->queries + first;
  const float *deltas = a->deltas + (size_t)head * (size_t)a->queries + first;
  int32_t columns = whole_panels(a->width), end = end_of_keys(a, first + count);
  clear(room.sums[0], count, columns);
  for (int32_t key = 0; key < end; key += COLUMNS) {
    int32_t keys = min32(COLUMNS, end - key), padded = whole_panels(keys);
    pack_rows(room.rows[0], k, key, keys);
    pack_rows(room.rows[1], v, key, keys);
    pack_channels(room.channels[0], k, key, keys);
    multiply(room.scores, COLUMNS, q.at + (size_t)first * q.step, q.step, count, room.rows[0], a->width, padded, 0);
    multiply(room.slopes, COLUMNS, dy.at + (size_t)first * dy.step, dy.step, count, room.rows[1], a->value_width, padded, 0);
    for (int32_t r = 0; r < count; r++) {
      float *scores = room.scores + (size_t)r * COLUMNS, *slopes = room.slopes + (size_t)r * COLUMNS;
      limit_query(a, scores, head, first + r, key, keys);
      for (int32_t j = 0; j < padded; j += LANES)
        store(slopes + j, a->scale * vec_exp(load(scores + j) - log_sums[r]) * (load(slopes + j) - deltas[r]));
    }
    multiply(room.sums[0], columns, room.slopes, COLUMNS, count, room.channels[0], keys, columns, 1);
  }
  write_rows(a->dq + offset_of(a, head, a->queries, a->width) + (size_t)first * q.step, q.step, room.sums[0], count, a->width);
}

/* A block of keys: the rows of its products are keys, and their columns are queries. */
static void key_task(void *context, int32_t task, int32_t worker) {
  const struct attention *a = context;
  int32_t head = task / a->blocks, first = task % a->blocks * ROWS, count = min32(ROWS, a->keys - first);
  struct side q = side_of(a, a->q, head, a->queries, a->width), k = side_of(a, a->k, head, a->keys, a->width);
  struct side v = side_of(a, a->v, head, a->keys, a->value_width), dy = side_of(a, a->dy, head, a->queries, a->value_width);
  struct room room = room_of(a, worker);
  int32_t columns = whole_panels(a->width), value_columns = whole_panels(a->value_width);
  clear(room.sums[0], count, columns);
  clear(room.sums[1], count, value_columns);
  for (int32_t query = a->causal ? first : 0; query < a->queries; query += COLUMNS) {
    int32_t queries = min32(COLUMNS, a->queries - query), padded = whole_panels(queries);
    const float *log_sums = a->log_sums + (size_t)head * (size_t)a->queries + query;
    const float *deltas = a->deltas + (size_t)head * (size_t)a->queries + query;
    pack_rows(room.rows[0], q, query, queries);
    pack_rows(room.rows[1], dy, query, queries);
    pack_channels(room.channels[0], q, query, queries);
    pack_channels(room.channels[1], dy, query, queries);
    multiply(room.scores, COLUMNS, k.at + (size_t)first * k.step, k.step, count, room.rows[0], a->width, padded, 0);
    multiply(room.slopes, COLUMNS, v.at + (size_t)first * v.step, v.step, count, room.rows[1], a->value_width, padded, 0);
    for (int32_t r = 0; r < count; r++) {
      float *scores = room.scores + (size_t)r * COLUMNS, *slopes = room.slopes + (size_t)r * COLUMNS;
      limit_key(a, scores, head, first + r, query, queries);
      for (int32_t i = 0; i < padded; i += LANES) {
        vec p = vec_exp(load(scores + i) - load_upto(log_sums + i, queries - i));
        store(scores + i, p);
        store(slopes + i, a->scale * p * (load(slopes + i) - load_upto(deltas + i, queries - i)));
      }
    }
    multiply(room.sums[0], columns, room.slopes, COLUMNS, count, room.channels[0], queries, columns, 1);
    multiply(room.sums[1], value_columns, room.scores, COLUMNS, count, room.channels[1], queries, value_columns, 1);
  }
  write_rows(a->dk + offset_of(a, head, a->keys, a->width) + (size_t)first * k.step, k.step, room.sums[0], count, a->width);
  write_rows(a->dv + offset_of(a, head, a->keys, a->value_width) + (size_t)first * v.step, v.step, room.sums[1], count,
             a->value_width);
}

/* deltas [N, heads, queries] is scratch memory; dq, or dk and dv, may be 0 */
KERNEL void flash_attention_backward(const float *q, const float *k, const float *v, const uint8_t *mask, const float *y,
                                     const float *dy, const float *log_sums, float *deltas, float *scratch, float *dq, float *dk,
                                     float *dv, const int32_t *table, float scale) {
  struct attention a = attention_of(table, scale);
  a.q = q, a.k = k, a.v = v, a.mask = mask, a.y = y, a.dy = dy, a.log_sums = log_sums, a.deltas = deltas, a.scratch = scratch;
  a.dq = dq, a.dk = dk, a.dv = dv;
  pool_run(delta_task, &a, a.samples * a.queries);
  a.blocks = ceil_div(a.queries, ROWS);
  if (dq) pool_run(query_task, &a, a.samples * a.heads * a.blocks);
  a.blocks = ceil_div(a.keys, ROWS);
  if (dk) pool_run(key_task, &a, a.samples * a.heads * a.blocks);
}

/* ---------------------------------------------------------------- the mask as a tensor */

struct attending {
  struct attention a;
  uint8_t *out;
  int32_t heads;
};

/* A task is one query of one head of the mask. */
static void attends_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct attending *t = context;
  const struct attention *a = &t->a;
  int32_t query = task % a->queries, head = task / a->queries, high = end_of_keys(a, query + 1);
  const uint8_t *mask = a->mask;
  if (mask) mask += (size_t)(head / t->heads) * (size_t)a->mask_sample + (size_t)(head % t->heads) * (size_t)a->mask_head +
                    (size_t)query * (size_t)a->mask_query;
  uint8_t *out = t->out + (size_t)task * (size_t)a->keys;
  for (int32_t j = 0; j < a->keys; j++) out[j] = j < high && (!mask || mask[(size_t)j * (size_t)a->mask_key]);
}

/* out [samples, heads, queries, keys] = whether the query attends to the key */
KERNEL void flash_attention_attends(const uint8_t *mask, uint8_t *out, const int32_t *table, int32_t samples, int32_t heads) {
  struct attending t = {.a = attention_of(table, 1.0f), .out = out, .heads = heads};
  t.a.mask = mask;
  pool_run(attends_task, &t, samples * heads * t.a.queries);
}
