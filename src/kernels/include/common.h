/* The base of every CPU kernel: fixed-width types, one float vector type for every instruction set, and our own exp, log, sin
 * and cos. It is freestanding (no libc), so the same source compiles with gcc, clang and for WebAssembly.
 *
 * Vectors are GCC vector extensions: 16 lanes (AVX-512), 8 (AVX2) or 4 (SSE, NEON, WebAssembly).
 */
#ifndef RECTIFLOW_COMMON_H
#define RECTIFLOW_COMMON_H

#include <stddef.h>
#include <stdint.h>

#define KERNEL __attribute__((visibility("default"), used))
#define INLINE static inline __attribute__((always_inline, unused))

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__) && defined(__FMA__)
#define LANES 8
#else
#define LANES 4
#endif
#define VECTOR_BYTES (LANES * 4)

typedef float vec __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t vec_i32 __attribute__((vector_size(VECTOR_BYTES)));
typedef float vec_unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

/* Selects lanes of a and b by constant indices; `numbers` is an integer vector type with the same element size. */
#if defined(__clang__)
#define SHUFFLE(numbers, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(numbers, a, b, ...) __builtin_shuffle(a, b, (numbers){__VA_ARGS__})
#endif

/* UNROLLED, before a loop with a constant count, unrolls it fully, so that the arrays it indexes can be kept in registers.
 * NOT_UNROLLED, before the loop around it, stops clang from combining iterations, which would need too many registers. */
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#define NOT_UNROLLED _Pragma("clang loop unroll(disable)")
#else
#define UNROLLED _Pragma("GCC unroll 64")
#define NOT_UNROLLED
#endif

INLINE int32_t min32(int32_t a, int32_t b) { return a < b ? a : b; }
INLINE int32_t max32(int32_t a, int32_t b) { return a > b ? a : b; }
INLINE int32_t ceil_div(int32_t a, int32_t b) { return (a + b - 1) / b; }

/* ---------------------------------------------------------------- memory */
INLINE vec load(const float *p) { return (vec) * (const vec_unaligned *)p; }
INLINE void store(float *p, vec v) { *(vec_unaligned *)p = (vec_unaligned)v; }
/* Prefetches floats that will be read soon, by cache lines of 64 bytes. */
INLINE void prefetch(const float *p, int32_t floats) {
  UNROLLED for (int32_t i = 0; i < floats; i += 16) __builtin_prefetch(p + i);
}
INLINE vec splat(float s) { return s - (vec){}; }
INLINE vec load_partial(const float *p, int32_t n) {
  vec v = {};
  for (int32_t i = 0; i < n; i++) v[i] = p[i];
  return v;
}
INLINE void store_partial(float *p, vec v, int32_t n) {
  for (int32_t i = 0; i < n; i++) p[i] = v[i];
}
/* mask lanes are 0 or -1, as returned by vector comparisons */
INLINE vec select(vec_i32 mask, vec a, vec b) { return (vec)((mask & (vec_i32)a) | (~mask & (vec_i32)b)); }
#if LANES == 16
INLINE int any(vec_i32 mask) { return __builtin_ia32_cmpd512_mask(mask, (vec_i32){}, 4, (uint16_t)-1) != 0; }
#elif LANES == 8
INLINE int any(vec_i32 mask) { return __builtin_ia32_movmskps256((vec)mask) != 0; }
#elif defined(__SSE__)
INLINE int any(vec_i32 mask) { return __builtin_ia32_movmskps((vec)mask) != 0; }
#elif defined(__wasm_simd128__)
INLINE int any(vec_i32 mask) { return __builtin_wasm_any_true_v128((int8_t __attribute__((vector_size(16))))mask); }
#else
INLINE int any(vec_i32 mask) { return (mask[0] | mask[1] | mask[2] | mask[3]) != 0; }
#endif
/* The sign bit alone, and |x|; both also work for zeros and NaN. */
INLINE vec_i32 sign_of(vec x) { return (vec_i32)x & (int32_t)0x80000000; }
INLINE vec vec_abs(vec x) { return (vec)((vec_i32)x & 0x7FFFFFFF); }
/* a > b ? a : b and a < b ? a : b, so b if either is NaN. gcc does not turn a select into this single instruction. */
#if LANES == 16 && defined(__clang__)
INLINE vec vec_max(vec a, vec b) { return __builtin_ia32_maxps512(a, b, 4); }
INLINE vec vec_min(vec a, vec b) { return __builtin_ia32_minps512(a, b, 4); }
#elif LANES == 16
INLINE vec vec_max(vec a, vec b) { return __builtin_ia32_maxps512_mask(a, b, a, (uint16_t)-1, 4); }
INLINE vec vec_min(vec a, vec b) { return __builtin_ia32_minps512_mask(a, b, a, (uint16_t)-1, 4); }
#elif LANES == 8
INLINE vec vec_max(vec a, vec b) { return __builtin_ia32_maxps256(a, b); }
INLINE vec vec_min(vec a, vec b) { return __builtin_ia32_minps256(a, b); }
#elif defined(__SSE__)
INLINE vec vec_max(vec a, vec b) { return __builtin_ia32_maxps(a, b); }
INLINE vec vec_min(vec a, vec b) { return __builtin_ia32_minps(a, b); }
#elif defined(__wasm_simd128__)
INLINE vec vec_max(vec a, vec b) { return __builtin_wasm_pmax_f32x4(b, a); }
INLINE vec vec_min(vec a, vec b) { return __builtin_wasm_pmin_f32x4(b, a); }
#else
INLINE vec vec_max(vec a, vec b) { return select(a > b, a, b); }
INLINE vec vec_min(vec a, vec b) { return select(a < b, a, b); }
#endif
/* a0 b0 a1 b1 ... from the lower and from the upper halves */
#if LANES == 16
INLINE vec zip_low(vec a, vec b) { return SHUFFLE(vec_i32, a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23); }
INLINE vec zip_high(vec a, vec b) { return SHUFFLE(vec_i32, a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31); }
#elif LANES == 8
INLINE vec zip_low(vec a, vec b) { return SHUFFLE(vec_i32, a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
INLINE vec zip_high(vec a, vec b) { return SHUFFLE(vec_i32, a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
#else
INLINE vec zip_low(vec a, vec b) { return SHUFFLE(vec_i32, a, b, 0, 4, 1, 5); }
INLINE vec zip_high(vec a, vec b) { return SHUFFLE(vec_i32, a, b, 2, 6, 3, 7); }
#endif

/* Transposes LANES vectors of LANES numbers: each round of zips moves one bit of an element's index. */
INLINE void transpose(vec *rows) {
  for (int32_t round = 1; round < LANES; round *= 2) {
    vec zipped[LANES];
    UNROLLED for (int32_t i = 0; i < LANES / 2; i++) {
      zipped[2 * i] = zip_low(rows[i], rows[i + LANES / 2]);
      zipped[2 * i + 1] = zip_high(rows[i], rows[i + LANES / 2]);
    }
    UNROLLED for (int32_t i = 0; i < LANES; i++) rows[i] = zipped[i];
  }
}
/* Adds pairwise, so that the order of additions is the same for every compiler. */
INLINE float reduce_add(vec v) {
  float t[LANES];
  store(t, v);
  for (int32_t half = LANES / 2; half > 0; half /= 2)
    for (int32_t i = 0; i < half; i++) t[i] += t[i + half];
  return t[0];
}
INLINE float reduce_max(vec v) {
  float m = v[0];
  for (int32_t i = 1; i < LANES; i++) m = v[i] > m ? v[i] : m;
  return m;
}

/* ---------------------------------------------------------------- functions
 * Each is written once on vectors; the scalar form is lane 0 of the vector form, so both give the same bits. */

/* exp(f) - 1 for |f| <= log(2) / 2, by the Cephes expf polynomial. */
INLINE vec expm1_reduced(vec f) {
  vec p = f * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  return p * f * f + f;
}
INLINE vec exp_reduced(vec f) { return expm1_reduced(f) + 1.0f; }

/* f = x - n log(2) with |f| <= log(2) / 2, for |x| below 10^4. */
INLINE vec exp_argument(vec x, vec_i32 *n) {
  vec shifted = x * 1.44269504f + 12582912.0f;
  vec whole = shifted - 12582912.0f;
  *n = (vec_i32)shifted - 0x4B400000;
  return x - whole * 0.693359375f + whole * 2.12194440e-4f;
}
/* p 2^n by two factors, for n from -252 to 254: 2^n itself may be infinite or 0. */
INLINE vec scale_by_power(vec p, vec_i32 n) {
  vec_i32 half = n >> 1;
  return p * (vec)((half + 127) << 23) * (vec)((n - half + 127) << 23);
}

/* exp(x) = 2^n exp(f), |f| <= ln2/2: Cephes expf polynomial, error below 2 ulp; subnormal results are rounded once more. Overflows
 * to infinity and keeps NaN. Below -103.98 the result is 0 without an underflowing product, which is up to a hundred times slower
 * on some processors. */
INLINE vec vec_exp(vec x) {
  vec_i32 none = x < -103.97208f; /* half the smallest subnormal */
  vec clamped = select(none, (vec){}, vec_min(x, splat(88.72283f)));
  vec_i32 n;
  vec f = exp_argument(clamped, &n);
  vec r = scale_by_power(exp_reduced(f), n);
  r = select(x > 88.72283f, splat(__builtin_inff()), r);
  r = select(none, (vec){}, r);
  return select(x != x, x, r);
}

/* x = 2^e (1 + m) with sqrt(1/2) <= 1 + m < sqrt(2), for finite x > 0, and log(1 + m) = cubic - m^2 / 2 + m, by the Cephes logf
 * polynomial. */
INLINE vec log_reduced(vec x, vec *e, vec *cubic) {
  vec_i32 tiny = x < 1.17549435e-38f;
  vec scaled = select(tiny, x * 8388608.0f, x);
  vec_i32 bits = (vec_i32)scaled;
  vec_i32 exponent = ((bits >> 23) & 255) - 126;
  vec m = (vec)((bits & 0x007FFFFF) | 0x3F000000);
  vec_i32 low = m < 0.707106781f;
  *e = __builtin_convertvector(exponent + low, vec) - select(tiny, splat(23.0f), (vec){});
  m = m + select(low, m, (vec){}) - 1.0f;
  vec z = m * m;
  vec p = m * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  *cubic = p * m * z;
  return m;
}
/* r, but what a logarithm is at the ends of its range: infinity there, -infinity at 0, NaN for x < 0 and for NaN. */
INLINE vec log_ends(vec x, vec r) {
  r = select(x == splat(__builtin_inff()), x, r);
  r = select(x == (vec){}, splat(-__builtin_inff()), r);
  return select((x < (vec){}) | (x != x), splat(__builtin_nanf("")), r);
}
INLINE vec vec_log(vec x) {
  vec e, cubic, m = log_reduced(x, &e, &cubic), z = m * m;
  return log_ends(x, cubic + e * -2.12194440e-4f - 0.5f * z + m + e * 0.693359375f);
}

/* 1 / (1 + exp(-x)) with the bits of vec_exp. NaN passes both limits, because it is their second operand. If -x is 88.4 or greater,
 * the exponent is that of infinity, so that results below 5e-39 are 0. */
INLINE vec vec_sigmoid(vec x) {
  vec minus = vec_min(splat(89.0f), vec_max(splat(-87.0f), -x));
  vec shifted = minus * 1.44269504f + 12582912.0f;
  vec n = shifted - 12582912.0f;
  vec e = exp_reduced(minus - n * 0.693359375f + n * 2.12194440e-4f) * (vec)(((vec_i32)shifted - 0x4B400000 + 127) << 23);
  return 1.0f / (1.0f + e);
}

/* tanh(x), from |x| with the sign of x: an odd polynomial near 0 (Cephes), 1 - 2 / (exp(2x) + 1) elsewhere. */
INLINE vec vec_tanh(vec x) {
  vec magnitude = vec_abs(x), z = x * x;
  vec p = z * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  vec near = p * z * magnitude + magnitude;
  vec far = 1.0f - 2.0f / (vec_exp(magnitude + magnitude) + 1.0f);
  return (vec)((vec_i32)select(magnitude < 0.625f, near, far) | sign_of(x));
}

/* Up to this angle, vec_sincos subtracts multiples of pi / 2 in three parts; the multiples of two of them are exact. */
#define SINCOS_NEAR 4096.0f

/* The fractional bits of 2 / pi, after 32 zeros. */
static const uint32_t two_over_pi[8] __attribute__((unused)) = {0,          0xA2F9836E, 0x4E441529, 0xFC2757D1,
                                                                0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB};

/* x - n pi / 2 and n modulo 4, for x >= 1 / 128: only the fractional part of the product of the 24 bits of x with 2 / pi / 4 is
 * computed, from 96 bits of 2 / pi (Payne, Hanek 1983). NaN for infinity and NaN. */
INLINE float reduced_exactly(float x, int32_t *quadrant) {
  union { float value; uint32_t bits; } u = {x};
  *quadrant = 0;
  if (u.bits >= 0x7F800000u) return x - x;
  uint64_t fraction = (u.bits & 0x007FFFFFu) | 0x00800000u;
  int32_t skipped = (int32_t)(u.bits >> 23) - 150 - 2 + 32; /* bits of the table that contribute whole turns */
  const uint32_t *w = two_over_pi + skipped / 32;
  int32_t shift = skipped % 32;
  uint64_t high = (uint64_t)w[0] << 32 | w[1], low = (uint64_t)w[2] << 32 | w[3];
  if (shift) high = high << shift | low >> (64 - shift), low <<= shift;
  uint64_t turns = fraction * high + (fraction * (low >> 32) >> 32); /* 2^64 is a whole turn */
  uint64_t nearest = (turns + ((uint64_t)1 << 61)) >> 62;
  *quadrant = (int32_t)nearest;
  return (float)((double)(int64_t)(turns - (nearest << 62)) * 3.4061215800865545e-19); /* pi / 2 / 2^62 */
}

/* Rarely called, so it is a separate function, out of line of the common path. */
static __attribute__((noinline, cold, unused)) void reduce_hard_lanes(const vec *x, const vec_i32 *hard, vec *r, vec_i32 *quadrant) {
  for (int32_t i = 0; i < LANES; i++)
    if ((*hard)[i]) {
      int32_t q;
      (*r)[i] = reduced_exactly((*x)[i], &q);
      (*quadrant)[i] = q;
    }
}

/* sin and cos of any x, with an error below 1.6 ulp, by Cephes polynomials of |x| - n pi / 2. The error of the three parts of
 * pi / 2 is below 5e-15, which matters if the difference is small. */
INLINE void vec_sincos(vec x, vec *sine, vec *cosine) {
  vec magnitude = vec_abs(x);
  vec shifted = magnitude * 0.636619772f + 12582912.0f;
  vec n = shifted - 12582912.0f;
  vec_i32 quadrant = (vec_i32)shifted;
  vec r = ((magnitude - n * 1.5703125f) - n * 4.83751297e-4f) - n * 7.549789954e-8f;
  vec_i32 hard = (vec_abs(r) < n * 2.38418579e-7f) | (magnitude > SINCOS_NEAR);
  if (any(hard)) reduce_hard_lanes(&magnitude, &hard, &r, &quadrant);
  vec z = r * r;
  vec s = ((z * -1.9515295891e-4f + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
  vec c = ((z * 2.443315711809948e-5f - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1.0f;
  vec_i32 swap = (quadrant & 1) != 0;
  vec_i32 negative_sine = (quadrant & 2) != 0;
  vec_i32 negative_cosine = ((quadrant + 1) & 2) != 0;
  vec a = select(swap, c, s), b = select(swap, s, c);
  *sine = (vec)((vec_i32)select(negative_sine, -a, a) ^ sign_of(x));
  *cosine = select(negative_cosine, -b, b);
}
INLINE vec vec_sin(vec x) {
  vec s, c;
  vec_sincos(x, &s, &c);
  return s;
}
INLINE vec vec_cos(vec x) {
  vec s, c;
  vec_sincos(x, &s, &c);
  return c;
}
INLINE vec vec_sqrt(vec x) {
  for (int32_t i = 0; i < LANES; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
}

INLINE float f32_exp(float x) { return vec_exp(splat(x))[0]; }
INLINE float f32_log(float x) { return vec_log(splat(x))[0]; }
INLINE float f32_sqrt(float x) { return __builtin_sqrtf(x); }
INLINE float f32_sigmoid(float x) { return vec_sigmoid(splat(x))[0]; }
INLINE float f32_tanh(float x) { return vec_tanh(splat(x))[0]; }
INLINE float f32_sin(float x) { return vec_sin(splat(x))[0]; }
INLINE float f32_cos(float x) { return vec_cos(splat(x))[0]; }

#endif
