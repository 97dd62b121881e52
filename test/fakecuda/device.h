// The CUDA language for g++: included before a preprocessed .cu file.
#pragma once
#include "runtime.h"
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

static FakeRuntime *fake;

#define __global__ __attribute__((visibility("default")))
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
#define __constant__ static const
/* A named section, so that the driver can fill it with NaN before every block. */
#define __shared__ static __attribute__((section("fake_shared")))
#define threadIdx (fake->thread)
#define blockIdx (fake->block)
#define blockDim (fake->block_size)
#define gridDim (fake->grid)
#define __syncthreads() fake->barrier(__LINE__)
constexpr int warpSize = 32;

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

/* ---------------------------------------------------------------- arithmetic */
template <class To, class From> inline To fake_bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  memcpy(&result, &value, sizeof result);
  return result;
}
inline int __float_as_int(float x) { return fake_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return fake_bits<unsigned>(x); }
inline float __int_as_float(int x) { return fake_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return fake_bits<float>(x); }
inline long long __double_as_longlong(double x) { return fake_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return fake_bits<double>(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
template <class T> inline T __ldg(const T *p) { return *p; }
template <class A, class B> inline std::common_type_t<A, B> min(A a, B b) { return a < b ? a : b; }
template <class A, class B> inline std::common_type_t<A, B> max(A a, B b) { return a > b ? a : b; }
using std::isfinite;
using std::isinf;
using std::isnan;

/* ---------------------------------------------------------------- atomics: one thread runs at a time */
template <class T, class F> inline T fake_atomic(T *p, F f) {
  T old = *p;
  *p = f(old);
  return old;
}
template <class T> inline T atomicAdd(T *p, std::common_type_t<T> v) { return fake_atomic(p, [=](T old) { return (T)(old + v); }); }
template <class T> inline T atomicMin(T *p, std::common_type_t<T> v) { return fake_atomic(p, [=](T old) { return v < old ? v : old; }); }
template <class T> inline T atomicMax(T *p, std::common_type_t<T> v) { return fake_atomic(p, [=](T old) { return v > old ? v : old; }); }
template <class T> inline T atomicExch(T *p, std::common_type_t<T> v) { return fake_atomic(p, [=](T) { return v; }); }
template <class T> inline T atomicCAS(T *p, std::common_type_t<T> expected, std::common_type_t<T> v) {
  return fake_atomic(p, [=](T old) { return old == expected ? v : old; });
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __trap() { fake->trap(); }

/* ---------------------------------------------------------------- warps */
template <class T> inline T fake_shuffle(unsigned mask, T value, unsigned lane) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  bits = fake->collective(FAKE_SHUFFLE, mask, bits, lane);
  memcpy(&value, &bits, sizeof value);
  return value;
}
/* Lanes beyond a segment of `width` keep their own value. */
inline unsigned fake_within(int width, int target) {
  unsigned lane = fake->lane();
  int begin = (int)lane / width * width;
  return target >= begin && target < begin + width ? (unsigned)target : lane;
}
template <class T> inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return fake_shuffle(mask, value, fake->lane() / (unsigned)width * (unsigned)width + (unsigned)(lane & (width - 1)));
}
template <class T> inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  return fake_shuffle(mask, value, fake_within(width, (int)fake->lane() ^ bits));
}
template <class T> inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return fake_shuffle(mask, value, fake_within(width, (int)fake->lane() + (int)delta));
}
template <class T> inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return fake_shuffle(mask, value, fake_within(width, (int)fake->lane() - (int)delta));
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu) { fake->collective(FAKE_SYNC, mask, 0, 0); }
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return (unsigned)fake->collective(FAKE_BALLOT, mask, predicate != 0, 0);
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

#include "ptx.h"
#include "ptx_hopper.h"

/* ---------------------------------------------------------------- kernels by name */
template <auto Kernel> struct FakeExport;
template <class... Parameters, void (*Kernel)(Parameters...)> struct FakeExport<Kernel> {
  static constexpr size_t sizes[sizeof...(Parameters) + 1] = {sizeof(Parameters)..., 0};
  template <size_t... I> static void call_with(void **p, std::index_sequence<I...>) {
    (void)p;
    Kernel(*(std::remove_const_t<Parameters> *)p[I]...);
  }
  static void call(void **p) { call_with(p, std::index_sequence_for<Parameters...>{}); }
  static constexpr FakeKernel named(const char *name) { return {name, (int)sizeof...(Parameters), sizes, call}; }
};
extern "C" {
extern char __start_fake_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_fake_shared[] __attribute__((weak, visibility("hidden")));
}
