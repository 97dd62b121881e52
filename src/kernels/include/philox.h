/* Philox4x32-10 (Salmon et al., SC 2011): 128 random bits as a pure function of a 128-bit counter and a 64-bit key.
 * counter = (block of elements within the sample, sample low, sample high, stream), key = seed.
 */
#ifndef RECTIFLOW_PHILOX_H
#define RECTIFLOW_PHILOX_H

#include "common.h"

#define SCALAR INLINE
#define ROUNDED_SQRT __builtin_sqrtf
#include "generator.h"

/* The source of random numbers: sample n of a tensor is sample `first + n` of the run. `origin` points to the low and high word
 * of a number that is added to the sample's; it is in memory so that it can change between two replays of a recorded graph, and
 * the pointer may be 0. */
struct draw {
  uint32_t key[2], stream;
  uint64_t first;
};

INLINE struct draw draw_of(const uint32_t *origin, int32_t seed_low, int32_t seed_high, int32_t sample_low, int32_t sample_high,
                           int32_t stream) {
  uint64_t first = (uint64_t)(uint32_t)sample_high << 32 | (uint32_t)sample_low;
  if (origin) first += (uint64_t)origin[1] << 32 | origin[0];
  return (struct draw){{(uint32_t)seed_low, (uint32_t)seed_high}, (uint32_t)stream, first};
}

INLINE void philox(const struct draw *d, uint32_t block, uint64_t sample, uint32_t out[4]) {
  uint64_t s = d->first + sample;
  philox_words(block, (uint32_t)s, (uint32_t)(s >> 32), d->stream, d->key[0], d->key[1], out);
}

/* Another attempt at the words of a block, from 1 to ATTEMPTS - 1 */
INLINE void philox_again(const struct draw *d, uint32_t attempt, uint32_t block, uint64_t sample, uint32_t out[4]) {
  struct draw again = {{d->key[0], key_of_attempt(d->key[1], attempt)}, d->stream, d->first};
  philox(&again, block, sample, out);
}

enum { PHILOX_LANES = 8 };

/* words[w][j] = word w of block first + j: the same numbers, in loops that the compiler vectorises. */
INLINE void philox_lanes(const struct draw *d, uint32_t first, uint64_t sample, uint32_t words[4][PHILOX_LANES]) {
  uint64_t s = d->first + sample;
  uint32_t k0 = d->key[0], k1 = d->key[1];
  for (int32_t j = 0; j < PHILOX_LANES; j++) {
    words[0][j] = first + (uint32_t)j;
    words[1][j] = (uint32_t)s;
    words[2][j] = (uint32_t)(s >> 32);
    words[3][j] = d->stream;
  }
  UNROLLED for (int32_t round = 0; round < 10; round++) {
    for (int32_t j = 0; j < PHILOX_LANES; j++) {
      uint64_t a = (uint64_t)words[0][j] * 0xD2511F53u, b = (uint64_t)words[2][j] * 0xCD9E8D57u;
      words[0][j] = (uint32_t)(b >> 32) ^ words[1][j] ^ k0;
      words[1][j] = (uint32_t)b;
      words[2][j] = (uint32_t)(a >> 32) ^ words[3][j] ^ k1;
      words[3][j] = (uint32_t)a;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/* mask[i] = 0 if draw i is below the threshold, else scale. A draw has 16 bits; draws follow the words of a block, block by block. */
INLINE void mask_of_words(uint32_t words[4][PHILOX_LANES], int32_t threshold, float scale, float *mask) {
#if LANES >= 8
  /* Computes in registers and stores whole vectors: the caller soon reads vectors, which would stall after smaller stores. */
  typedef uint32_t words8 __attribute__((vector_size(32)));
  typedef uint64_t pairs4 __attribute__((vector_size(32)));
  typedef uint16_t draws __attribute__((vector_size(2 * LANES)));
  words8 w[4];
  __builtin_memcpy(w, words, sizeof w);
  pairs4 p0 = (pairs4)SHUFFLE(words8, w[0], w[1], 0, 8, 1, 9, 2, 10, 3, 11);
  pairs4 p1 = (pairs4)SHUFFLE(words8, w[0], w[1], 4, 12, 5, 13, 6, 14, 7, 15);
  pairs4 q0 = (pairs4)SHUFFLE(words8, w[2], w[3], 0, 8, 1, 9, 2, 10, 3, 11);
  pairs4 q1 = (pairs4)SHUFFLE(words8, w[2], w[3], 4, 12, 5, 13, 6, 14, 7, 15);
  pairs4 blocks[4] = {SHUFFLE(pairs4, p0, q0, 0, 4, 1, 5), SHUFFLE(pairs4, p0, q0, 2, 6, 3, 7),
                      SHUFFLE(pairs4, p1, q1, 0, 4, 1, 5), SHUFFLE(pairs4, p1, q1, 2, 6, 3, 7)};
  draws all[64 / LANES];
  __builtin_memcpy(all, blocks, sizeof all);
  UNROLLED for (int32_t i = 0; i < 64 / LANES; i++) {
    vec_i32 kept = __builtin_convertvector(all[i], vec_i32) >= threshold;
    store(mask + i * LANES, (vec)(kept & (vec_i32)splat(scale)));
  }
#else
  for (int32_t j = 0; j < PHILOX_LANES; j++)
    for (int32_t w = 0; w < 4; w++) {
      mask[8 * j + 2 * w] = (int32_t)(words[w][j] & 0xFFFFu) < threshold ? 0.0f : scale;
      mask[8 * j + 2 * w + 1] = (int32_t)(words[w][j] >> 16) < threshold ? 0.0f : scale;
    }
#endif
}

/* mask[i] = 0 if element `begin + i` of the sample is dropped (probability threshold / 2^16), else scale. A block covers eight
 * elements with 16 bits each. */
static inline void dropout_mask(const struct draw *d, uint64_t sample, int32_t begin, int32_t count, int32_t threshold,
                                float scale, float *mask) {
  enum { ELEMENTS = 8 * PHILOX_LANES };
  int32_t end = begin + count;
  for (int32_t first = begin / 8 * 8; first < end; first += ELEMENTS) {
    uint32_t words[4][PHILOX_LANES];
    philox_lanes(d, (uint32_t)(first / 8), sample, words);
    if (first >= begin && first + ELEMENTS <= end) {
      mask_of_words(words, threshold, scale, mask + (first - begin));
    } else {
      float all[ELEMENTS];
      mask_of_words(words, threshold, scale, all);
      int32_t from = max32(begin, first), to = min32(end, first + ELEMENTS);
      for (int32_t e = from; e < to; e++) mask[e - begin] = all[e - first];
    }
  }
}

#endif
