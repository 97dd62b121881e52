// The interface between a compiled kernel file and the fake driver.
#pragma once
#include <cstddef>
#include <cstdint>

struct FakeIndex { unsigned x, y, z; };

enum FakeCollective { FAKE_SYNC, FAKE_SHUFFLE, FAKE_BALLOT, FAKE_CALL };

/* Instructions of a warpgroup; `columns` is also the argument of a wait and of a register count. */
enum FakeWarpgroup { FAKE_FENCE, FAKE_MULTIPLY, FAKE_COMMIT, FAKE_WAIT, FAKE_REGISTERS };
struct FakeProduct {
  uint64_t a, b; /* descriptors of the operands in shared memory */
  int columns, a_transposed, b_transposed, add;
};

/* Sums on tensor cores: how many products are added at once, and how many bits below those of f32 are kept while they are; 0
 * terms: one after another, rounded to nearest. */
struct FakeSums {
  int terms, extra;
};

/* There is one per process, since the driver runs one block at a time. */
struct FakeRuntime {
  FakeIndex thread, block, block_size, grid;
  char *dynamic; /* the block's dynamic shared memory */
  void (*barrier)(int line);
  /* Waits for all lanes in `mask`. Shuffle: the value of lane `argument`; ballot: a bit for each lane whose value is not 0. */
  uint64_t (*collective)(FakeCollective operation, unsigned mask, uint64_t value, unsigned argument);
  unsigned (*lane)();
  void (*trap)();
  /* Runs `call` once, when every lane of the warp has reached it; each lane's `mine` is in `lanes`. */
  void (*warp_call)(void (*call)(void *const *lanes), void *mine);
  /* cp.async of 16 bytes, the last 16 - `bytes` of which are zeros; its groups and waits. */
  void (*copy_async)(void *shared, const void *global, int bytes);
  void (*copy_async_commit)();
  void (*copy_async_wait)(int youngest);
  /* Ends the launch unless the `bytes` bytes at the address are in the block's shared memory and aligned to `bytes`. */
  void (*check_shared)(const void *address, int bytes);
  /* mbarriers, and copies by tensor maps, which copy patches if there are taps: hopper.h. */
  void (*barrier_init)(void *barrier, unsigned arrivals);
  void (*barriers_announce)();
  void (*barrier_arrive)(void *barrier, unsigned bytes);
  void (*barrier_wait)(const void *barrier, unsigned parity);
  void (*load_tensor)(void *shared, const void *map, void *barrier, const int *at, const int *taps);
  void (*warpgroup_call)(FakeWarpgroup operation, float *sum, FakeProduct what);
  FakeSums sums_bf16, sums_tf32;
};

struct FakeKernel {
  const char *name;
  int parameters;
  const size_t *sizes;
  void (*call)(void **parameters);
};

/* The value of fake_module(), which every compiled file exports. */
struct FakeModule {
  const FakeKernel *kernels;
  int count;
  char *shared_begin, *shared_end; /* all its static shared memory */
  bool cooperative;                /* its threads wait for each other, so each needs its own stack */
};
