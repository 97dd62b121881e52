/* Philox4x32-10 as in philox.h: 128 random bits as a function of (block within the sample, sample, stream) and the seed. */
#ifndef RECTIFLOW_PHILOX_CUH
#define RECTIFLOW_PHILOX_CUH

#include "common.cuh"

struct draw {
  u32 key0, key1, stream;
  u64 first; /* sample n of a tensor is sample first + n of the run */
};

DEVICE draw draw_of(int seed_low, int seed_high, int sample_low, int sample_high, int stream) {
  return {(u32)seed_low, (u32)seed_high, (u32)stream, (u64)(u32)sample_high << 32 | (u32)sample_low};
}

DEVICE void philox(const draw &d, u32 block, u64 sample, u32 out[4]) {
  u64 s = d.first + sample;
  u32 c0 = block, c1 = (u32)s, c2 = (u32)(s >> 32), c3 = d.stream, k0 = d.key0, k1 = d.key1;
  for (int round = 0; round < 10; round++) {
    u64 a = (u64)c0 * 0xD2511F53u, b = (u64)c2 * 0xCD9E8D57u;
    c0 = (u32)(b >> 32) ^ c1 ^ k0;
    c1 = (u32)b;
    c2 = (u32)(a >> 32) ^ c3 ^ k1;
    c3 = (u32)a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

#endif
