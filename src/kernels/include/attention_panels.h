/* The forward pass of flash_attention.c for a panel of queries. Queries are the columns of all products, keys or channels the rows:
 * rows of k and v are read as they are, the largest score of a query and the sum of its exponentials stay in its lane, and no lane
 * is idle, whatever the number of channels.
 */
#ifndef RECTIFLOW_ATTENTION_PANELS_H
#define RECTIFLOW_ATTENTION_PANELS_H

#include "attention.h"

enum { MOST_PANELS = 8 };

/* Panels of queries of a task of the forward pass, which share the copies of keys and values: many, if there are enough tasks and
 * the near cache holds their channels. */
INLINE int32_t panels_of(const struct attention *a) {
  double panels = (double)a->samples * a->heads * a->queries / TILE_COLUMNS;
  int32_t many = a->width + a->value_width <= 256 && panels >= 32 * MOST_PANELS;
  return many ? MOST_PANELS : MOST_PANELS / 2;
}

/* A panel of queries: their channels and sums of v [channel][TILE_COLUMNS], scores of a block of keys [key][TILE_COLUMNS]. */
struct panel {
  float *q, *sums, *scores;
  float *partial; /* [LANES][TILE_COLUMNS] */
  float largest[TILE_COLUMNS];
  double total[TILE_COLUMNS];
};

/* The least and the largest score of each query. */
struct range { vec least[2], most[2]; };

INLINE struct range empty_range(void) {
  vec infinite = splat(__builtin_inff());
  return (struct range){{infinite, infinite}, {-infinite, -infinite}};
}

/* to[row][width]: rows [first, first + count) */
static void copy_rows(float *to, struct side s, int32_t first, int32_t count) {
  const float *from = s.at + (size_t)first * s.step;
  for (int32_t r = 0; r < count; r++, from += s.step, to += s.width) {
    for (int32_t next = 0; s.width >= LANES && next < s.width; next += LANES) {
      int32_t i = block_of_channels(next, s.width);
      store(to + i, load(from + i));
    }
    for (int32_t i = 0; s.width < LANES && i < s.width; i++) to[i] = from[i];
  }
}

/* scores = scale k . q for `rows` keys, k [key][width]; widens the range to hold them. */
INLINE void score_rows(int32_t rows, const float *k, int32_t width, float scale, const float *q, float *scores,
                       struct range *range) {
  enum { GROUP = 3, GROUPS = (TILE_ROWS + GROUP - 1) / GROUP };
  vec c[TILE_ROWS][2] = {};
  const float *group[GROUPS];
  size_t step = (size_t)width;
  UNROLLED for (int32_t g = 0; g < GROUPS; g++) group[g] = k + (size_t)(GROUP * g) * step;
  NOT_UNROLLED for (int32_t i = 0; i < width; i++, q += TILE_COLUMNS) {
    vec q0 = load(q), q1 = load(q + LANES);
    UNROLLED for (int32_t r = 0; r < rows; r++) {
      vec s = splat(group[r / GROUP][(size_t)(r % GROUP) * step]);
      c[r][0] += s * q0;
      c[r][1] += s * q1;
    }
    UNROLLED for (int32_t g = 0; g < GROUPS; g++) group[g]++;
  }
  UNROLLED for (int32_t r = 0; r < rows; r++)
    UNROLLED for (int32_t half = 0; half < 2; half++) {
      vec s = c[r][half] * scale;
      range->most[half] = vec_max(s, range->most[half]);
      range->least[half] = vec_min(s, range->least[half]);
      store(scores + r * TILE_COLUMNS + half * LANES, s);
    }
}

/* sums += p v for `rows` channels, v [key][width]. */
INLINE void value_rows(int32_t rows, const float *v, int32_t width, const float *p, int32_t keys, float *sums) {
  vec c[TILE_ROWS][2] = {};
  tile_multiply_transposed(rows, c, v, (size_t)width, p, TILE_COLUMNS, TILE_COLUMNS, keys, 0);
  UNROLLED for (int32_t r = 0; r < rows; r++)
    UNROLLED for (int32_t half = 0; half < 2; half++) {
      float *to = sums + r * TILE_COLUMNS + half * LANES;
      store(to, load(to) + c[r][half]);
    }
}

/* Sets the scores of keys that queries [query, query + count) do not attend to to -infinity. */
static void limit_panel(const struct attention *a, float *scores, int32_t head, int32_t query, int32_t count, int32_t key,
                        int32_t keys, struct range *range) {
  const uint8_t *mask = mask_at(a, head, query, key);
  *range = empty_range();
  range->least[0] = range->least[1] = splat(-__builtin_inff());
  for (int32_t j = 0; j < keys; j++, scores += TILE_COLUMNS) {
    for (int32_t i = 0; i < count; i++)
      if ((a->causal && key + j > query + i) ||
          (mask && !mask[(size_t)i * (size_t)a->mask_query + (size_t)j * (size_t)a->mask_key]))
        scores[i] = -__builtin_inff();
    for (int32_t half = 0; half < 2; half++) range->most[half] = vec_max(load(scores + half * LANES), range->most[half]);
  }
}

/* exp(x) for x from -87.3 to 0, or NaN, with the bits of vec_exp, which does more for other numbers. */
INLINE vec exp_of_small(vec x) {
  vec_i32 n;
  vec f = exp_argument(x, &n);
  return exp_reduced(f) * (vec)((n + 127) << 23);
}

/* Replaces the scores of a half of a panel by exp(score - shift). Sums of every LANES-th key are added pairwise. */
INLINE vec soften_half(float *scores, float *partial, int32_t keys, vec shift, int32_t small) {
  for (int32_t i = 0; i < LANES; i++) store(partial + i * TILE_COLUMNS, (vec){});
  for (int32_t j = 0; j < keys; j++, scores += TILE_COLUMNS) {
    float *to = partial + j % LANES * TILE_COLUMNS;
    vec x = load(scores) - shift, e = small ? exp_of_small(x) : vec_exp(x);
    store(scores, e);
    store(to, load(to) + e);
  }
  for (int32_t half = LANES / 2; half > 0; half /= 2)
    for (int32_t i = 0; i < half; i++)
      store(partial + i * TILE_COLUMNS, load(partial + i * TILE_COLUMNS) + load(partial + (i + half) * TILE_COLUMNS));
  return load(partial);
}

/* Replaces scores by exp(score - largest), and updates the largest scores, the totals and the sums so far. */
static void soften_panel(struct panel *p, int32_t keys, const struct range *range, int32_t width) {
  float kept[TILE_COLUMNS], sum[TILE_COLUMNS];
  int32_t changed = 0;
  for (int32_t at = 0, half = 0; half < 2; half++, at += LANES) {
    vec before = load(p->largest + at), largest = vec_max(range->most[half], before);
    vec shift = select(largest == -__builtin_inff(), (vec){}, largest), factor = vec_exp(before - shift);
    int32_t small = !any((range->least[half] - shift < -87.3f) | (range->most[half] == __builtin_inff()));
    store(p->largest + at, largest);
    store(kept + at, factor);
    changed |= any(factor != 1.0f);
    store(sum + at, small ? soften_half(p->scores + at, p->partial + at, keys, shift, 1)
                          : soften_half(p->scores + at, p->partial + at, keys, shift, 0));
  }
  for (int32_t i = 0; i < TILE_COLUMNS; i++) p->total[i] = p->total[i] * (double)kept[i] + (double)sum[i];
  for (int32_t c = 0; changed && c < width; c++)
    for (int32_t half = 0; half < TILE_COLUMNS; half += LANES) {
      float *to = p->sums + (size_t)c * TILE_COLUMNS + half;
      store(to, load(to) * load(kept + half));
    }
}

/* A block of keys: their rows, copied next to each other, and where the rows of the next block are. */
struct block {
  const float *k, *v;
  int32_t first, count;
  struct side next_k, next_v;
};

INLINE void prefetch_row(const struct side *s, int32_t row) {
  for (int32_t i = 0; i < s->width; i += 16) __builtin_prefetch(s->at + (size_t)row * s->step + i);
}

/* Attends from panel number `of` of `panels` of a task to a block of keys, and prefetches its share of the next block meanwhile. */
static void attend(const struct attention *a, struct panel *p, const struct block *b, int32_t head, int32_t query, int32_t count,
                   int32_t of, int32_t panels) {
  struct range range = empty_range();
  int32_t far = b->first + b->count;
  for (int32_t j = 0, rows; j < b->count; j += rows) {
    rows = tile_rows_of(b->count - j);
    for (int32_t r = far + (of * COLUMNS + j) / panels; r < min32(a->keys, far + (of * COLUMNS + j + rows) / panels); r++)
      prefetch_row(&b->next_k, r), prefetch_row(&b->next_v, r);
    WITH_ROWS(rows, score_rows, b->k + (size_t)j * (size_t)a->width, a->width, a->scale, p->q, p->scores + j * TILE_COLUMNS,
              &range)
  }
  if (a->mask || (a->causal && far > query + 1)) limit_panel(a, p->scores, head, query, count, b->first, b->count, &range);
  soften_panel(p, b->count, &range, a->value_width);
  for (int32_t c = 0, rows; c < a->value_width; c += rows) {
    rows = tile_rows_of(a->value_width - c);
    WITH_ROWS(rows, value_rows, b->v + c, a->value_width, p->scores, b->count, p->sums + (size_t)c * TILE_COLUMNS)
  }
}

/* Writes the sums [width][TILE_COLUMNS] of `count` queries, divided by their totals, as rows that are `step` apart. */
static void write_panel(const struct panel *p, float *to, size_t step, int32_t count, int32_t width) {
  float share[TILE_COLUMNS];
  for (int32_t i = 0; i < TILE_COLUMNS; i++) share[i] = p->total[i] == 0 ? 0.0f : (float)(1.0 / p->total[i]);
  for (int32_t next = 0; width >= LANES && next < width; next += LANES)
    for (int32_t half = 0, c = block_of_channels(next, width); half < count; half += LANES) {
      vec rows[LANES];
      UNROLLED for (int32_t j = 0; j < LANES; j++)
        rows[j] = load(p->sums + (size_t)(c + j) * TILE_COLUMNS + half) * load(share + half);
      transpose(rows);
      for (int32_t i = 0; i < min32(LANES, count - half); i++) store(to + (size_t)(half + i) * step + (size_t)c, rows[i]);
    }
  for (int32_t c = 0; width < LANES && c < width; c++)
    for (int32_t i = 0; i < count; i++)
      to[(size_t)i * step + (size_t)c] = p->sums[(size_t)c * TILE_COLUMNS + (size_t)i] * share[i];
}

#endif
