/* The pipeline of the kernels for sm_90a: a ring of stages in shared memory, which one producer thread fills by TMA and two consumer
 * warpgroups multiply, and the order in which a block takes tiles. Included once by hopper.cu, which sets ROWS, COLUMNS and TOGETHER.
 */
#include "hopper_rows.cuh"

constexpr int STEP = 64;        /* terms of a stage: 128 bytes, the width of the swizzle */
constexpr int PIECE = 64 * 128; /* bytes of 64 rows or columns of a stage */
constexpr int CONSUMERS = 2;    /* warpgroups, after that of the producer */
constexpr int BLOCKS = ROWS / 64 / TOGETHER; /* blocks of 64 rows that a warpgroup multiplies */
constexpr int LEFT_BYTES = ROWS / 64 * PIECE, STAGE_BYTES = LEFT_BYTES + COLUMNS / 64 * PIECE;
constexpr int STAGES = 192 * 1024 / STAGE_BYTES;
constexpr int BUFFERS = 2; /* of rows, per warp that multiplies, after the stages; hopper.ts requests the memory of both */
/* Registers per thread in the producer's warpgroup and in the consumers'; a kernel starts with 168 per thread. */
constexpr int PRODUCER_REGISTERS = 40, CONSUMER_REGISTERS = 232;
static_assert(PRODUCER_REGISTERS + CONSUMERS * CONSUMER_REGISTERS <= (1 + CONSUMERS) * 168, "what is taken has been given");

#define THREADS 384
#define HOPPER_KERNEL KERNEL __launch_bounds__(THREADS, 1)
static_assert(THREADS == 128 * (1 + CONSUMERS), "a producer and the consumers");

/* One step of both operands and its barriers: `full` counts the copies that fill it, `empty` the warps that have read it. */
struct stage {
  unsigned char *left, *right;
  barrier *full, *empty;
  u32 parity;
};

struct ring {
  unsigned char *memory;
  barrier *full, *empty, *turns; /* turns: one per consumer, if consumers alternate */

  /* The stage of step `number`, counted over all tiles of the block. */
  __device__ __forceinline__ stage at(int number) const {
    int place = number % STAGES;
    unsigned char *left = memory + place * STAGE_BYTES;
    return {left, left + LEFT_BYTES, full + place, empty + place, (u32)(number / STAGES % 2)};
  }
};

/* The whole block must execute it. */
#define SHARED_RING(name)                                      \
  extern __shared__ __align__(1024) unsigned char name##_all[]; \
  __shared__ barrier name##_barriers[2 * STAGES + CONSUMERS];  \
  ring name = ring_of(name##_all, name##_barriers)

DEVICE ring ring_of(unsigned char *memory, barrier *barriers) {
  ring r = {memory + (1024 - shared_address(memory) % 1024) % 1024, barriers, barriers + STAGES, barriers + 2 * STAGES};
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      barrier_init(r.full + i, 1);
      barrier_init(r.empty + i, TOGETHER * 4);
    }
    for (int i = 0; i < CONSUMERS; i++) barrier_init(r.turns + i, 4);
    barriers_announce();
  }
  __syncthreads();
  return r;
}

/* Index of the calling warpgroup among the consumers, and among those that share its tile. */
DEVICE int consumer() { return (int)threadIdx.x / 128 - 1; }
DEVICE int share() { return consumer() % TOGETHER; }

/* Called by one thread: fill(stage) starts copies of STAGE_BYTES, which arrive at the barrier of the stage. */
template <class Fill> DEVICE void produce(const ring &r, int first, int steps, Fill fill) {
  for (int step = 0; step < steps; step++) {
    stage s = r.at(first + step);
    /* In the first round every stage is empty: waiting for the phase before the first returns at once. */
    barrier_wait(s.empty, s.parity ^ 1);
    barrier_expect(s.full, STAGE_BYTES);
    fill(s);
  }
}

/* Computes the sums of the rows of the calling warpgroup, over one or more steps. In a stage, the terms of a transposed operand are
 * in a column, not in a row. Only products may write the sums in between, otherwise the compiler waits for each product. */
template <bool LEFT_TRANSPOSED, bool RIGHT_TRANSPOSED> DEVICE void consume(const ring &r, int first, int steps, float (&sum)[BLOCKS][COLUMNS / 2]) {
  /* The distance to the next 16 terms, in the 16-byte units of descriptors. */
  constexpr int next_left = (LEFT_TRANSPOSED ? 16 * 128 : 16 * 2) / 16, next_right = (RIGHT_TRANSPOSED ? 16 * 128 : 16 * 2) / 16;
  int rows = share() * BLOCKS * PIECE;
  auto multiply = [&](int step, bool begins) {
    stage s = r.at(first + step);
    barrier_wait(s.full, s.parity);
    u64 a = operand_at(s.left + rows, PIECE, 1024), b = operand_at(s.right, PIECE, 1024);
    products_fence();
#pragma unroll
    for (int part = 0; part < STEP / 16; part++)
#pragma unroll
      for (int block = 0; block < BLOCKS; block++)
        multiply_async<LEFT_TRANSPOSED, RIGHT_TRANSPOSED>(sum[block], a + block * (PIECE / 16) + part * next_left, b + part * next_right,
                                                          !begins || part > 0);
    products_commit();
  };
  auto give_back = [&](int step) {
    if (threadIdx.x % 32 == 0) barrier_arrive(r.at(first + step).empty);
  };
  multiply(0, true);
  for (int step = 1; step < steps; step++) {
    multiply(step, false);
    /* The products of this step continue while the stage of the previous step is refilled. */
    products_wait<1>();
    give_back(step - 1);
  }
  /* A parity only distinguishes a phase from the next one, so the other warpgroup starts after this one has seen all its steps. */
  if (TOGETHER == 1 && threadIdx.x % 32 == 0) barrier_arrive(r.turns + (consumer() ^ 1));
  products_wait<0>();
  give_back(steps - 1);
#pragma unroll
  for (int block = 0; block < BLOCKS; block++) sums_settle(sum[block]);
}

/* Each block computes every gridDim.x-th tile; copies for the next tile start while the sums of the last are written.
 * place_of(tile) returns the place of a tile and its number of `steps`. In load(place, first) and make(place, first), `first` is
 * the number of its first step. */
template <class PlaceOf, class Load, class Make> DEVICE void each_tile(const ring &r, int tiles, PlaceOf place_of, Load load, Make make) {
  int first = 0;
  if (threadIdx.x < 128) {
    registers_give<PRODUCER_REGISTERS>();
    if (threadIdx.x == 0)
      for (int tile = (int)blockIdx.x; tile < tiles; tile += (int)gridDim.x) {
        auto place = place_of(tile);
        load(place, first);
        first += place.steps;
      }
  } else {
    registers_take<CONSUMER_REGISTERS>();
    for (int i = 0, tile = (int)blockIdx.x; tile < tiles; i++, tile += (int)gridDim.x) {
      auto place = place_of(tile);
      if (TOGETHER == CONSUMERS || i % CONSUMERS == consumer()) {
        if (TOGETHER == 1 && i > 0) barrier_wait(r.turns + consumer(), (u32)((i - 1) / CONSUMERS % 2));
        make(place, first);
      }
      first += place.steps;
    }
  }
}

/* The first row of the calling warp in a tile, and its buffers. */
DEVICE int warp_row() { return share() * BLOCKS * 64 + (int)threadIdx.x % 128 / 32 * 16; }
DEVICE row_buffer buffer_of(const ring &r, int number) {
  return {r.memory + STAGES * STAGE_BYTES + (((int)threadIdx.x / 32 - 4) * BUFFERS + number) * BUFFER_BYTES};
}

/* For each row that the calling lane moves, the address of its 16 bytes of the first piece. @param first of the warp's first row
 * @param width bytes of a row of the whole matrix */
DEVICE void moved_rows(unsigned char *first, u32 width, unsigned char *(&to)[BLOCKS][4]) {
#pragma unroll
  for (int i = 0; i < BLOCKS * 4; i++) to[i / 4][i % 4] = first + (u64)(u32)(i / 4 * 64 + moved_row(i % 4)) * width + 16 * moved_chunk();
}

/* Writes the first columns and rows of the warp's sums in f32. */
DEVICE void write_sums(const ring &r, const float (&sum)[BLOCKS][COLUMNS / 2], unsigned char *const (&to)[BLOCKS][4], int columns, int rows) {
#pragma unroll
  for (int c = 0; c < COLUMNS / 32; c++) {
    if (c * 32 >= columns) break;
#pragma unroll
    for (int block = 0; block < BLOCKS; block++) {
      row_buffer buffer = buffer_of(r, (c * BLOCKS + block) % BUFFERS);
      put_sums(buffer, sum[block] + c * 16);
      store_rows(buffer, to[block], c * 128, rows - block * 64);
    }
  }
}

/* Adds a bias of PIECE_COLUMNS columns, number c of a tile. */
DEVICE void add_columns(const float *bias, int c, float (&sum)[BLOCKS][COLUMNS / 2]) {
  float2 pairs[PIECE_COLUMNS / 8];
#pragma unroll
  for (int i = 0; i < PIECE_COLUMNS / 8; i++) pairs[i] = *(const float2 *)(bias + 8 * i + threadIdx.x % 4 * 2);
#pragma unroll
  for (int block = 0; block < BLOCKS; block++)
#pragma unroll
    for (int i = 0; i < PIECE_COLUMNS / 4; i++) {
      float *to = sum[block] + c * PIECE_COLUMNS / 2 + 2 * i;
      to[0] += pairs[i / 2].x, to[1] += pairs[i / 2].y;
    }
}
