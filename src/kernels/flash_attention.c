/* Attention without stored scores (Dao et al. 2022, FlashAttention), for each head of each sample:
 *   y[i] = sum over keys j of p[i][j] v[j],  p[i][j] = exp(scale q[i] . k[j] - log_sum[i])
 * Scores exist only for a block of ROWS queries and COLUMNS keys at a time. The forward pass keeps the largest score and the sum of
 * exponentials of each query so far; the gradients compute p again from log_sum. Blocks depend on the shape alone.
 */
#include "attention_panels.h"

enum { ROWS = 8 * TILE_ROWS }; /* of a block of the gradients */

INLINE int32_t whole_panels(int32_t columns) { return ceil_div(columns, TILE_COLUMNS) * TILE_COLUMNS; }

/* ---------------------------------------------------------------- blocks of a product */

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

/* Writes `count` rows of `width` floats, which are whole panels apart, to rows of one head. */
static void write_rows(float *to, size_t step, const float *from, int32_t count, int32_t width) {
  for (int32_t r = 0; r < count; r++, to += step, from += whole_panels(width))
    for (int32_t c = 0; c < width; c += LANES) store_upto(to + c, load(from + c), width - c);
}

/* Floats of scratch memory for each worker. */
INLINE size_t scratch_size(const struct attention *a) {
  size_t wide = (size_t)a->width + (size_t)a->value_width, queries = (size_t)panels_of(a) * TILE_COLUMNS;
  size_t forward = (queries + COLUMNS) * wide + (COLUMNS + LANES) * TILE_COLUMNS, backward = room_size(a);
  return forward > backward ? forward : backward;
}

KERNEL double flash_attention_scratch(const int32_t *table) {
  struct attention a = attention_of(table, 1.0f);
  return (double)scratch_size(&a);
}

/* ---------------------------------------------------------------- which keys a query attends to */

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

/* ---------------------------------------------------------------- forward: a task is some panels of queries of one head */

static void forward_task(void *context, int32_t task, int32_t worker) {
  const struct attention *a = context;
  int32_t queries = panels_of(a) * TILE_COLUMNS;
  int32_t head = task / a->blocks, first = task % a->blocks * queries, count = min32(queries, a->queries - first);
  struct side q = side_of(a, a->q, head, a->queries, a->width), k = side_of(a, a->k, head, a->keys, a->width);
  struct side v = side_of(a, a->v, head, a->keys, a->value_width);
  float *packed_q = a->scratch + (size_t)worker * scratch_size(a), *sums = packed_q + (size_t)queries * (size_t)a->width;
  float *copied_k = sums + (size_t)queries * (size_t)a->value_width, *copied_v = copied_k + COLUMNS * (size_t)a->width;
  float *scores = copied_v + COLUMNS * (size_t)a->value_width, *partial = scores + COLUMNS * TILE_COLUMNS;
  int32_t panels = ceil_div(count, TILE_COLUMNS), end = end_of_keys(a, first + count);
  struct panel panel[MOST_PANELS];
  pack_rows(packed_q, q, first, count);
  clear(sums, panels * TILE_COLUMNS, a->value_width);
  for (int32_t p = 0; p < panels; p++) {
    panel[p].q = packed_q + (size_t)p * (size_t)a->width * TILE_COLUMNS;
    panel[p].sums = sums + (size_t)p * (size_t)a->value_width * TILE_COLUMNS;
    panel[p].scores = scores, panel[p].partial = partial;
    for (int32_t i = 0; i < TILE_COLUMNS; i++) panel[p].largest[i] = -__builtin_inff(), panel[p].total[i] = 0;
  }
  for (int32_t key = 0; key < end; key += COLUMNS) {
    struct block b = {copied_k, copied_v, key, min32(COLUMNS, end - key), k, v};
    copy_rows(copied_k, k, key, b.count);
    copy_rows(copied_v, v, key, b.count);
    for (int32_t p = 0; p < panels; p++)
      attend(a, &panel[p], &b, head, first + p * TILE_COLUMNS, min32(TILE_COLUMNS, count - p * TILE_COLUMNS), p, panels);
  }
  float *out = a->out + offset_of(a, head, a->queries, a->value_width) + (size_t)first * v.step;
  float *out_sums = a->out_sums + (size_t)head * (size_t)a->queries + first;
  for (int32_t r = 0; r < count; r++) {
    const struct panel *p = &panel[r / TILE_COLUMNS];
    double total = p->total[r % TILE_COLUMNS];
    /* A query without keys gets +infinity, so that its p are 0. */
    out_sums[r] = total == 0 ? __builtin_inff() : p->largest[r % TILE_COLUMNS] + f32_log((float)total);
    if (r % TILE_COLUMNS == 0)
      write_panel(p, out + (size_t)r * v.step, v.step, min32(TILE_COLUMNS, count - r), a->value_width);
  }
}

/* y [N, queries, heads D] and log_sums [N, heads, queries]; mask: 0, or bytes with the strides of the table */
KERNEL void flash_attention_forward(const float *q, const float *k, const float *v, const uint8_t *mask, float *y, float *log_sums,
                                    float *scratch, const int32_t *table, float scale) {
  struct attention a = attention_of(table, scale);
  a.q = q, a.k = k, a.v = v, a.mask = mask, a.out = y, a.out_sums = log_sums, a.scratch = scratch;
  a.blocks = ceil_div(a.queries, panels_of(&a) * TILE_COLUMNS);
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
