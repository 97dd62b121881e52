/* Philox4x32-10 (Salmon et al., SC 2011): 128 random bits as a pure function of a 128-bit counter and a 64-bit key.
 * counter = (block of elements within the sample, sample low, sample high, stream), key = seed.
 */
#ifndef RECTIFLOW_PHILOX_H
#define RECTIFLOW_PHILOX_H

#include "common.h"

/* What random numbers are drawn from: sample n of a tensor is sample `first + n` of the run. */
struct draw {
  uint32_t key[2], stream;
  uint64_t first;
};

INLINE struct draw draw_of(int32_t seed_low, int32_t seed_high, int32_t sample_low, int32_t sample_high, int32_t stream) {
  return (struct draw){{(uint32_t)seed_low, (uint32_t)seed_high},
                       (uint32_t)stream,
                       (uint64_t)(uint32_t)sample_high << 32 | (uint32_t)sample_low};
}

INLINE void philox(const struct draw *d, uint32_t block, uint64_t sample, uint32_t out[4]) {
  uint64_t s = d->first + sample;
  uint32_t c0 = block, c1 = (uint32_t)s, c2 = (uint32_t)(s >> 32), c3 = d->stream, k0 = d->key[0], k1 = d->key[1];
  for (int32_t round = 0; round < 10; round++) {
    uint64_t a = (uint64_t)c0 * 0xD2511F53u, b = (uint64_t)c2 * 0xCD9E8D57u;
    c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
    c1 = (uint32_t)b;
    c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
    c3 = (uint32_t)a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* mask[i] = 0 where element `begin + i` of the sample is dropped (probability threshold / 2^16), else scale */
INLINE void dropout_mask(const struct draw *d, uint64_t sample, int32_t begin, int32_t count, int32_t threshold, float scale,
                         float *mask) {
  uint32_t words[4];
  int32_t block = -1;
  for (int32_t i = 0; i < count; i++) {
    int32_t element = begin + i;
    if (element / 8 != block) philox(d, (uint32_t)(block = element / 8), sample, words);
    int32_t bits = (int32_t)(words[element % 8 / 2] >> (16 * (element & 1)) & 0xFFFFu);
    mask[i] = bits < threshold ? 0.0f : scale;
  }
}

#endif
