// The functions of src/kernels/include/ptx.cuh for g++: image.h removes that file from a kernel's text, and these replace it.
// Fragments are converted to whole matrices and back, by the layouts of the PTX manual.
#pragma once
#include "sums.h"
#include <cstring>

/* ---------------------------------------------------------------- conversions */
static inline unsigned short bf16_of(float x) {
  unsigned bits = __float_as_uint(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFF;
  return (unsigned short)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}
static inline unsigned bf16_pair(float low, float high) { return bf16_of(low) | (unsigned)bf16_of(high) << 16; }
static inline float fast_exp2(float x) { return exp2f(x); }
static inline float fast_reciprocal(float x) { return 1.0f / x; }
static inline float fake_of_bf16(unsigned bits) { return __uint_as_float(bits << 16); }
static inline unsigned bf16_pair_sum(unsigned a, unsigned b) {
  return bf16_pair(fake_of_bf16(a & 0xFFFFu) + fake_of_bf16(b & 0xFFFFu), fake_of_bf16(a >> 16) + fake_of_bf16(b >> 16));
}

static inline unsigned tf32_of(float x) {
  unsigned bits = __float_as_uint(x);
  if ((bits & 0x7F800000u) == 0x7F800000u) return bits;
  return (bits + 0x1000u) & 0xFFFFE000u;
}
/* The hardware ignores bits beyond those of tf32. */
static inline float fake_of_tf32(unsigned bits) { return __uint_as_float(bits & 0xFFFFE000u); }

/* ---------------------------------------------------------------- asynchronous copies */
static inline void copy_async(void *shared, const void *global, bool there) { fake->copy_async(shared, global, there ? 16 : 0); }
static inline void copy_async_commit() { fake->copy_async_commit(); }
template <int N> static inline void copy_async_wait() { fake->copy_async_wait(N); }

/* ---------------------------------------------------------------- matrices */
struct FakeLoad {
  const void *row;
  unsigned *out;
};

template <bool TRANSPOSED> inline void fake_load(void *const *lanes) {
  for (int matrix = 0; matrix < 4; matrix++)
    for (int lane = 0; lane < 32; lane++) {
      unsigned short halves[2];
      for (int half = 0; half < 2; half++) {
        int row = TRANSPOSED ? lane % 4 * 2 + half : lane / 4, column = TRANSPOSED ? lane / 4 : lane % 4 * 2 + half;
        halves[half] = ((const unsigned short *)((const FakeLoad *)lanes[matrix * 8 + row])->row)[column];
      }
      ((const FakeLoad *)lanes[lane])->out[matrix] = halves[0] | (unsigned)halves[1] << 16;
    }
}

static inline void load_matrices(unsigned (&out)[4], const void *row) {
  fake->check_shared(row, 16);
  FakeLoad mine = {row, out};
  fake->warp_call(fake_load<false>, &mine);
}
static inline void load_matrices_transposed(unsigned (&out)[4], const void *row) {
  fake->check_shared(row, 16);
  FakeLoad mine = {row, out};
  fake->warp_call(fake_load<true>, &mine);
}

typedef float FakeRow __attribute__((vector_size(32))); /* 8 columns */

struct FakeMultiply {
  float *sum;
  const unsigned *a;
  unsigned b[2];
};

/* Adds the products of 16 rows of a and 8 columns of b. */
template <int TERMS> inline void fake_add_products(void *const *lanes, FakeSums how, const float (&a)[16][TERMS], const FakeRow (&b)[TERMS]) {
  FakeRow sum[16];
  for (int lane = 0; lane < 32; lane++)
    for (int i = 0; i < 4; i++) sum[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = ((const FakeMultiply *)lanes[lane])->sum[i];
  for (int row = 0; row < 16; row++) {
    if (how.terms)
      for (int c = 0; c < 8; c++) sum[row][c] = fake_add_truncated(how, sum[row][c], a[row], (const float *)b + c, 8, TERMS);
    else
      for (int k = 0; k < TERMS; k++) sum[row] += a[row][k] * b[k];
  }
  for (int lane = 0; lane < 32; lane++)
    for (int i = 0; i < 4; i++) ((const FakeMultiply *)lanes[lane])->sum[i] = sum[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
}

inline void fake_multiply_bf16(void *const *lanes) {
  float a[16][16];
  FakeRow b[16];
  for (int lane = 0; lane < 32; lane++) {
    const FakeMultiply &of = *(const FakeMultiply *)lanes[lane];
    int g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; half++) {
      for (int i = 0; i < 4; i++) a[g + i % 2 * 8][2 * t + i / 2 * 8 + half] = fake_of_bf16(of.a[i] >> 16 * half & 0xFFFFu);
      for (int i = 0; i < 2; i++) b[2 * t + i * 8 + half][g] = fake_of_bf16(of.b[i] >> 16 * half & 0xFFFFu);
    }
  }
  fake_add_products<16>(lanes, fake->sums_bf16, a, b);
}

inline void fake_multiply_tf32(void *const *lanes) {
  float a[16][8];
  FakeRow b[8];
  for (int lane = 0; lane < 32; lane++) {
    const FakeMultiply &of = *(const FakeMultiply *)lanes[lane];
    int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) a[g + i % 2 * 8][t + i / 2 * 4] = fake_of_tf32(of.a[i]);
    for (int i = 0; i < 2; i++) b[t + i * 4][g] = fake_of_tf32(of.b[i]);
  }
  fake_add_products<8>(lanes, fake->sums_tf32, a, b);
}

static inline void multiply_bf16(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  FakeMultiply mine = {sum, a, {b0, b1}};
  fake->warp_call(fake_multiply_bf16, &mine);
}
static inline void multiply_tf32(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  FakeMultiply mine = {sum, a, {b0, b1}};
  fake->warp_call(fake_multiply_tf32, &mine);
}
