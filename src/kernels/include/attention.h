/* What the forward pass and the gradients of flash_attention.c share: the sizes of a call, the rows of a head, and which keys a
 * query attends to.
 */
#ifndef RECTIFLOW_ATTENTION_H
#define RECTIFLOW_ATTENTION_H

#include "gemm.h"

enum { COLUMNS = 4 * TILE_COLUMNS };

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

/* Where the block of LANES channels from i on begins: the last block of a width overlaps the one before it. */
INLINE int32_t block_of_channels(int32_t i, int32_t width) { return min32(i, width - LANES); }

/* to[panel][channel][TILE_COLUMNS]: rows [first, first + count) as the columns of a right operand, zeros after the last */
static void pack_rows(float *to, struct side s, int32_t first, int32_t count) {
  for (int32_t column = 0; column < count; column += TILE_COLUMNS, to += (size_t)s.width * TILE_COLUMNS) {
    int32_t there = min32(TILE_COLUMNS, count - column), whole = there == TILE_COLUMNS && s.width >= LANES;
    const float *from = s.at + (size_t)(first + column) * s.step;
    for (int32_t next = 0; whole && next < s.width; next += LANES)
      for (int32_t half = 0, i = block_of_channels(next, s.width); half < TILE_COLUMNS; half += LANES) {
        vec rows[LANES];
        UNROLLED for (int32_t j = 0; j < LANES; j++) rows[j] = load(from + (size_t)(half + j) * s.step + (size_t)i);
        transpose(rows);
        UNROLLED for (int32_t j = 0; j < LANES; j++) store(to + (size_t)(i + j) * TILE_COLUMNS + half, rows[j]);
      }
    for (int32_t i = 0; !whole && i < s.width; i++)
      for (int32_t j = 0; j < TILE_COLUMNS; j++)
        to[(size_t)i * TILE_COLUMNS + (size_t)j] = j < there ? from[(size_t)j * s.step + (size_t)i] : 0.0f;
  }
}

static void clear(float *p, int32_t rows, int32_t columns) {
  for (size_t i = 0; i < (size_t)rows * (size_t)columns; i += LANES) store(p + i, (vec){});
}

INLINE const uint8_t *mask_at(const struct attention *a, int32_t head, int32_t query, int32_t key) {
  if (!a->mask) return 0;
  return a->mask + (size_t)(head / a->heads) * (size_t)a->mask_sample + (size_t)(head % a->heads) * (size_t)a->mask_head +
         (size_t)query * (size_t)a->mask_query + (size_t)key * (size_t)a->mask_key;
}

/* The end of the keys that any of the queries before `query` attends to. */
INLINE int32_t end_of_keys(const struct attention *a, int32_t query) { return a->causal ? min32(a->keys, query) : a->keys; }

#endif
