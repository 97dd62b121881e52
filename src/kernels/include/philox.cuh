/* Philox4x32-10 as in philox.h: 128 random bits as a function of (block within the sample, sample, stream) and the seed. */
#ifndef RECTIFLOW_PHILOX_CUH
#define RECTIFLOW_PHILOX_CUH

#include "common.cuh"

#define SCALAR DEVICE
#define ROUNDED_SQRT __fsqrt_rn
#include "generator.h"

struct draw {
  u32 key0, key1, stream;
  u64 first; /* sample n of a tensor is sample first + n of the run */
};

/* origin: points to the low and high word of a number that is added to the sample's, or 0 */
DEVICE draw draw_of(const u32 *origin, int seed_low, int seed_high, int sample_low, int sample_high, int stream) {
  u64 first = (u64)(u32)sample_high << 32 | (u32)sample_low;
  if (origin) first += (u64)origin[1] << 32 | origin[0];
  return {(u32)seed_low, (u32)seed_high, (u32)stream, first};
}

DEVICE void philox(const draw &d, u32 block, u64 sample, u32 out[4]) {
  u64 s = d.first + sample;
  philox_words(block, (u32)s, (u32)(s >> 32), d.stream, d.key0, d.key1, out);
}

/* The same words from the keys of all ten rounds, two each, which the host has computed: see roundKeys in random.ts. */
#define ROUND_KEYS 20
DEVICE void philox_of_keys(const u32 *keys, u32 stream, u32 block, u64 sample, u32 out[4]) {
  u32 c0 = block, c1 = (u32)sample, c2 = (u32)(sample >> 32), c3 = stream;
#pragma unroll
  for (int round = 0; round < 10; round++) {
    u64 a = (u64)c0 * 0xD2511F53u, b = (u64)c2 * 0xCD9E8D57u;
    c0 = (u32)(b >> 32) ^ c1 ^ keys[2 * round], c1 = (u32)b;
    c2 = (u32)(a >> 32) ^ c3 ^ keys[2 * round + 1], c3 = (u32)a;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* Another attempt at the words of a block, from 1 to ATTEMPTS - 1 */
DEVICE void philox_again(const draw &d, u32 attempt, u32 block, u64 sample, u32 out[4]) {
  philox({d.key0, key_of_attempt(d.key1, attempt), d.stream, d.first}, block, sample, out);
}

#endif
