/* Conversions between dtypes. f32 to 16 bits rounds to nearest, ties to even; f32 to integers truncates towards zero and clamps. */
#include "several.cuh"
#include "storage.cuh"

DEVICE bf16 to_bf16(float x) { return {bf16_of(x)}; }
DEVICE float from_bf16(bf16 x) { return x; }

DEVICE u16 to_f16(float x) {
  u32 bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return (u16)(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return (u16)(sign | 0x7C00u); /* 65520 and above round to infinity */
  if (magnitude < 0x38800000u) {
    /* Subnormal results: adding 0.5 rounds to a multiple of 2^-24. */
    return (u16)(sign | (__float_as_uint(__uint_as_float(magnitude) + 0.5f) - 0x3F000000u));
  }
  u32 rounded = magnitude + 0xFFFu + (magnitude >> 13 & 1u);
  return (u16)(sign | ((rounded >> 13) - 0x1C000u));
}
DEVICE float from_f16(u16 x) {
  u32 sign = (u32)(x & 0x8000u) << 16, exponent = x >> 10 & 31u, fraction = x & 0x3FFu;
  if (exponent == 31) return __uint_as_float(sign | 0x7F800000u | fraction << 13);
  if (exponent == 0) {
    float magnitude = (float)fraction * 5.9604644775390625e-8f; /* 2^-24 */
    return __uint_as_float(sign | __float_as_uint(magnitude));
  }
  return __uint_as_float(sign | (exponent + 112u) << 23 | fraction << 13);
}

DEVICE int to_i32(float x) {
  if (x != x) return 0;
  if (x >= 2147483648.0f) return 0x7FFFFFFF;
  if (x <= -2147483648.0f) return -0x7FFFFFFF - 1;
  return (int)x;
}
DEVICE u8 to_u8(float x) { return x != x || x <= 0.0f ? 0 : x >= 255.0f ? 255 : (u8)x; }
DEVICE u8 to_bool(float x) { return x != 0.0f; }
DEVICE float from_i32(int x) { return (float)x; }
DEVICE float from_u8(u8 x) { return (float)x; }

/* A thread has eight elements. */
#define CAST(name, from, to)                                                    \
  KERNEL cast_##name(const from *x, to *y, int n) {                             \
    each_of_several<8>(                                                         \
        n, aligned<8>(x) && aligned<8>(y),                                      \
        [&](u32 first) {                                                        \
          several<from, 8> some = at_once<8>(x + first);                        \
          several<to, 8> made;                                                  \
          _Pragma("unroll") for (int k = 0; k < 8; k++) made.of[k] = name(some.of[k]); \
          at_once<8>(y + first) = made;                                         \
        },                                                                      \
        [&](u32 i) { y[i] = name(x[i]); });                                     \
  }

CAST(to_bf16, float, bf16)
CAST(to_f16, float, u16)
CAST(to_i32, float, int)
CAST(to_u8, float, u8)
CAST(to_bool, float, u8)
CAST(from_bf16, bf16, float)
CAST(from_f16, u16, float)
CAST(from_i32, int, float)
CAST(from_u8, u8, float)
