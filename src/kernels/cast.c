/* Conversions between dtypes. f32 to 16 bits rounds to nearest, ties to even; f32 to integers truncates towards zero and clamps. */
#include "pool.h"

enum { CHUNK = 1 << 15 };

struct conversion { const void *x; void *y; int32_t n; };

INLINE uint32_t bits_of(float x) {
  union { float value; uint32_t bits; } u = {x};
  return u.bits;
}
INLINE float float_of(uint32_t bits) {
  union { uint32_t bits; float value; } u = {bits};
  return u.value;
}

INLINE uint16_t to_bf16(float x) {
  uint32_t bits = bits_of(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(bits >> 16 | 0x40u);
  return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}
INLINE float from_bf16(uint16_t x) { return float_of((uint32_t)x << 16); }

INLINE uint16_t to_f16(float x) {
  uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* 65520 and above round to infinity */
  if (magnitude < 0x38800000u) {
    /* Subnormal results: adding 0.5 rounds to a multiple of 2^-24. */
    return (uint16_t)(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3F000000u));
  }
  uint32_t rounded = magnitude + 0xFFFu + (magnitude >> 13 & 1u);
  return (uint16_t)(sign | ((rounded >> 13) - 0x1C000u));
}
/* Without branches, so that loops over it become vectors. */
INLINE float from_f16(uint16_t x) {
  uint32_t sign = (uint32_t)(x & 0x8000u) << 16, bits = (uint32_t)(x & 0x7FFFu) << 13;
  /* Numbers below 2^-14 are multiples of 2^-24: added to 2^-14 they are exact. */
  uint32_t small = bits_of(float_of(bits + 0x38800000u) - 0x1p-14f), normal = bits + 0x38000000u;
  uint32_t magnitude = bits < 0x00800000u ? small : bits < 0x0F800000u ? normal : bits | 0x7F800000u;
  return float_of(sign | magnitude);
}

INLINE int32_t to_i32(float x) {
  if (x != x) return 0;
  if (x >= 2147483648.0f) return INT32_MAX;
  if (x <= -2147483648.0f) return INT32_MIN;
  return (int32_t)x;
}
INLINE uint8_t to_u8(float x) { return x != x || x <= 0.0f ? 0 : x >= 255.0f ? 255 : (uint8_t)x; }
INLINE uint8_t to_bool(float x) { return x != 0.0f; }
INLINE float from_i32(int32_t x) { return (float)x; }
INLINE float from_u8(uint8_t x) { return (float)x; }

#define CAST(name, from, to)                                                \
  static void name##_task(void *context, int32_t task, int32_t worker) {    \
    (void)worker;                                                           \
    const struct conversion *c = context;                                   \
    const from *x = c->x;                                                   \
    to *y = c->y;                                                           \
    int32_t end = min32(c->n, (task + 1) * CHUNK);                          \
    for (int32_t i = task * CHUNK; i < end; i++) y[i] = name(x[i]);         \
  }                                                                         \
  KERNEL void cast_##name(const void *x, void *y, int32_t n) {              \
    struct conversion c = {x, y, n};                                        \
    pool_run(name##_task, &c, n / CHUNK + (n % CHUNK != 0));                \
  }

CAST(to_bf16, float, uint16_t)
CAST(to_f16, float, uint16_t)
CAST(to_i32, float, int32_t)
CAST(to_u8, float, uint8_t)
CAST(to_bool, float, uint8_t)
CAST(from_bf16, uint16_t, float)
CAST(from_f16, uint16_t, float)
CAST(from_i32, int32_t, float)
CAST(from_u8, uint8_t, float)
