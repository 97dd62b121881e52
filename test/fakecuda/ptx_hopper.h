// The functions of src/kernels/include/ptx_hopper.cuh for g++, as ptx.h has those of ptx.cuh. hopper.h implements them.
#pragma once
#include "runtime.h"

struct alignas(64) tensor_map {
  unsigned long long opaque[16];
};
template <int N> struct tensor_maps {
  tensor_map of[N];
};
typedef unsigned long long barrier;

/* Addresses of dynamic shared memory are relative to the multiple of 1024 bytes before its start, as in hopper.h. */
static inline unsigned shared_address(const void *shared) {
  return (unsigned)((const char *)shared - (const char *)((uintptr_t)fake->dynamic / 1024 * 1024));
}

static inline void barrier_init(barrier *at, unsigned arrivals) { fake->barrier_init(at, arrivals); }
static inline void barriers_announce() { fake->barriers_announce(); }
static inline void barrier_arrive(barrier *at) { fake->barrier_arrive(at, 0); }
static inline void barrier_expect(barrier *at, unsigned bytes) { fake->barrier_arrive(at, bytes); }
static inline void barrier_wait(barrier *at, unsigned parity) { fake->barrier_wait(at, parity); }

static inline void map_prefetch(const tensor_map &) {}
static inline void load_box(void *shared, const tensor_map &map, barrier *counts, int x, int y) {
  int at[2] = {x, y};
  fake->load_tensor(shared, &map, counts, at, nullptr);
}
static inline void load_patches(void *shared, const tensor_map &map, barrier *counts, int channel, int x, int y, int n, int tap_x, int tap_y) {
  int at[4] = {channel, x, y, n}, taps[2] = {tap_x, tap_y};
  fake->load_tensor(shared, &map, counts, at, taps);
}

struct FakeStore {
  void *row;
  const unsigned *in;
};

inline void fake_store(void *const *lanes) {
  for (int matrix = 0; matrix < 4; matrix++)
    for (int lane = 0; lane < 32; lane++) {
      unsigned short *row = (unsigned short *)((const FakeStore *)lanes[matrix * 8 + lane / 4])->row;
      unsigned word = ((const FakeStore *)lanes[lane])->in[matrix];
      row[lane % 4 * 2] = (unsigned short)word;
      row[lane % 4 * 2 + 1] = (unsigned short)(word >> 16);
    }
}

static inline void store_matrices(void *row, const unsigned (&in)[4]) {
  fake->check_shared(row, 16);
  FakeStore mine = {row, in};
  fake->warp_call(fake_store, &mine);
}

static inline void fake_warpgroup(FakeWarpgroup operation, int number) { fake->warpgroup_call(operation, nullptr, {0, 0, number, 0, 0, 0}); }
template <int REGISTERS> static inline void registers_give() { fake_warpgroup(FAKE_REGISTERS, REGISTERS); }
template <int REGISTERS> static inline void registers_take() { fake_warpgroup(FAKE_REGISTERS, REGISTERS); }
static inline void products_fence() { fake_warpgroup(FAKE_FENCE, 0); }
static inline void products_commit() { fake_warpgroup(FAKE_COMMIT, 0); }
template <int PENDING> static inline void products_wait() { fake_warpgroup(FAKE_WAIT, PENDING); }
template <int REGISTERS> static inline void sums_settle(float (&)[REGISTERS]) {}

static inline unsigned long long operand_at(const void *shared, unsigned leading, unsigned stride) {
  return (unsigned long long)((shared_address(shared) & 0x3FFFF) >> 4) | (unsigned long long)(leading >> 4) << 16 | (unsigned long long)(stride >> 4) << 32 | 1ull << 62;
}

template <bool A_TRANSPOSED, bool B_TRANSPOSED, int REGISTERS>
static inline void multiply_async(float (&sum)[REGISTERS], unsigned long long a, unsigned long long b, bool add) {
  fake->warpgroup_call(FAKE_MULTIPLY, sum, {a, b, 2 * REGISTERS, A_TRANSPOSED, B_TRANSPOSED, add});
}
