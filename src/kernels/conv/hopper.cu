/* Convolutions of bf16 at stride 1 on sm_90a, channels in whole pieces of 64, as matrix products of ROWS x COLUMNS tiles. One
 * thread has both operands copied into a ring of stages in shared memory by tensor maps, patches as they are met in the image;
 * two warpgroups multiply from there.
 */
#include "storage.cuh"
#include "ptx_hopper.cuh"

constexpr int STEP = 64;         /* terms of a stage: 128 bytes, the swizzle's width */
constexpr int PIECE = 64 * 128;  /* bytes of 64 rows or columns of a stage */
constexpr int CONSUMERS = 2;     /* warpgroups, behind that of the producer */
constexpr int BLOCKS = ROWS / 64 / CONSUMERS; /* of 64 rows, which a warpgroup multiplies */
constexpr int LEFT_BYTES = ROWS / 64 * PIECE, STAGE_BYTES = LEFT_BYTES + COLUMNS / 64 * PIECE;
constexpr int STAGES = 192 * 1024 / STAGE_BYTES; /* hopper.ts counts on it */
/* Registers of a thread: the producer's, the consumers', what is given at the start. */
constexpr int PRODUCER_REGISTERS = 40, CONSUMER_REGISTERS = 232;
static_assert(PRODUCER_REGISTERS + CONSUMERS * CONSUMER_REGISTERS <= 512, "registers of a multiprocessor, by 128 threads");

#define THREADS 384
#define HOPPER_KERNEL KERNEL __launch_bounds__(THREADS, 1)
static_assert(THREADS == 128 * (1 + CONSUMERS), "a producer and the consumers");

struct ring {
  unsigned char *memory;
  barrier *full, *empty;

  __device__ __forceinline__ unsigned char *left(int step) const { return memory + step % STAGES * STAGE_BYTES; }
  __device__ __forceinline__ unsigned char *right(int step) const { return left(step) + LEFT_BYTES; }
};

/* The whole block must call. */
#define SHARED_RING(name)                                      \
  extern __shared__ __align__(1024) unsigned char name##_all[]; \
  __shared__ barrier name##_barriers[2 * STAGES];              \
  ring name = ring_of(name##_all, name##_barriers)

DEVICE ring ring_of(unsigned char *memory, barrier *barriers) {
  ring r = {memory + (1024 - shared_address(memory) % 1024) % 1024, barriers, barriers + STAGES};
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      barrier_init(r.full + i, 1);
      barrier_init(r.empty + i, CONSUMERS * 4);
    }
    barriers_announce();
  }
  __syncthreads();
  return r;
}

DEVICE bool is_producer() { return threadIdx.x < 128; }

/* fill(step, full) begins copies of STAGE_BYTES that count at that barrier. */
template <class Fill> DEVICE void produce(const ring &r, int steps, Fill fill) {
  registers_give<PRODUCER_REGISTERS>();
  if (threadIdx.x != 0) return;
  for (int step = 0; step < steps; step++) {
    barrier *full = r.full + step % STAGES;
    /* The first time round every stage is empty: the phase before the first has ended. */
    barrier_wait(r.empty + step % STAGES, step / STAGES % 2 ^ 1);
    barrier_expect(full, STAGE_BYTES);
    fill(step, full);
  }
}

/* The sums of the calling warpgroup's rows, of one step or more. TRANSPOSED: terms lie one below the other in a stage, not
 * side by side. Nothing but products may write the sums in between, else the compiler has each product waited for. */
template <bool TRANSPOSED> DEVICE void consume(const ring &r, int steps, float (&sum)[BLOCKS][COLUMNS / 2]) {
  registers_take<CONSUMER_REGISTERS>();
  constexpr int next_terms = (TRANSPOSED ? 16 * 128 : 16 * 2) / 16; /* to the next 16, as descriptors count */
  int rows = ((int)threadIdx.x / 128 - 1) * BLOCKS * PIECE;
  auto multiply = [&](int step, bool first) {
    barrier_wait(r.full + step % STAGES, step / STAGES % 2);
    u64 a = operand_at(r.left(step) + rows, PIECE, 1024), b = operand_at(r.right(step), PIECE, 1024);
    products_fence();
#pragma unroll
    for (int part = 0; part < STEP / 16; part++)
#pragma unroll
      for (int block = 0; block < BLOCKS; block++)
        multiply_async<TRANSPOSED>(sum[block], a + block * (PIECE / 16) + part * next_terms, b + part * next_terms, !first || part > 0);
    products_commit();
  };
  multiply(0, true);
  for (int step = 1; step < steps; step++) {
    multiply(step, false);
    /* The products of this step go on while the stage of the one before is filled again. */
    products_wait<1>();
    if (threadIdx.x % 32 == 0) barrier_arrive(r.empty + (step - 1) % STAGES);
  }
  products_wait<0>();
#pragma unroll
  for (int block = 0; block < BLOCKS; block++) sums_settle(sum[block]);
}

/* write(row, column, four sums side by side), row and column within the tile. The whole warp must call. */
template <class Write> DEVICE void each_four(const float (&sum)[BLOCKS][COLUMNS / 2], Write write) {
  int thread = threadIdx.x % 128, lane = thread % 32, odd = lane % 2;
  int first = (threadIdx.x / 128 - 1) * BLOCKS * 64 + thread / 32 * 16 + lane / 4;
#pragma unroll
  for (int block = 0; block < BLOCKS; block++)
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int j = 0; j < COLUMNS / 4; j += 4) {
        /* Of two groups of 8 columns a lane has two each: neighbours exchange, so that it has four of one. */
        const float *lower = sum[block] + 2 * j + 2 * half, *upper = lower + 4;
        float four[4], mine[2] = {odd ? upper[0] : lower[0], odd ? upper[1] : lower[1]};
        float others[2] = {__shfl_xor_sync(0xFFFFFFFFu, odd ? lower[0] : upper[0], 1), __shfl_xor_sync(0xFFFFFFFFu, odd ? lower[1] : upper[1], 1)};
#pragma unroll
        for (int i = 0; i < 2; i++) four[i] = odd ? others[i] : mine[i], four[2 + i] = odd ? mine[i] : others[i];
        write(first + block * 64 + half * 8, 4 * j + 8 * odd + lane % 4 / 2 * 4, four);
      }
}

/* table: H', W', Cin, Cout, kw, padding, vertical first, then N H' W' and the number of taps */
struct conv {
  int out_h, out_w, in, out, kw, pad_y, pad_x, pixels, taps;
};

DEVICE conv conv_of(const int *t) { return {t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8]}; }

/* Where the patch of an output pixel begins. */
struct spot {
  int n, y, x;
};

DEVICE spot spot_of(const conv &g, int pixel) {
  int line = pixel / g.out_w;
  return {line / g.out_h, line % g.out_h - g.pad_y, pixel % g.out_w - g.pad_x};
}

struct alignas(8) four_reals {
  real part[4];
};

/* y = scale (conv(x, w) + bias + add + residual); x by patches of ROWS pixels, w [Cout, taps * Cin] by boxes of COLUMNS rows;
 * bias [Cout], add [N, Cout] and residual may be 0 */
HOPPER_KERNEL conv_hopper_forward(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map w, real *y, const float *bias,
                                  const real *add, const real *residual, const int *table, float scale) {
  SHARED_RING(shared);
  conv g = conv_of(table);
  int across = ceil_div(g.out, COLUMNS), row0 = (int)blockIdx.x / across * ROWS, column0 = (int)blockIdx.x % across * COLUMNS;
  int pieces = g.in / STEP, steps = g.taps * pieces;
  if (is_producer()) {
    spot from = spot_of(g, row0);
    produce(shared, steps, [&](int step, barrier *full) {
      int tap = step / pieces;
      load_patches(shared.left(step), x, full, step % pieces * STEP, from.x, from.y, from.n, tap % g.kw, tap / g.kw);
      load_box(shared.right(step), w, full, step * STEP, column0);
    });
    return;
  }
  float sum[BLOCKS][COLUMNS / 2];
  consume<false>(shared, steps, sum);
  each_four(sum, [&](int row, int column, float(&four)[4]) {
    int pixel = row0 + row, channel = column0 + column;
    if (pixel >= g.pixels || channel >= g.out) return;
    size_t at = (size_t)pixel * (size_t)g.out + channel;
    if (bias) {
      float4 more = *(const float4 *)(bias + channel);
      four[0] += more.x, four[1] += more.y, four[2] += more.z, four[3] += more.w;
    }
    four_reals added, rest, result;
    if (add) added = *(const four_reals *)(add + (size_t)(pixel / (g.out_h * g.out_w)) * (size_t)g.out + channel);
    if (residual) rest = *(const four_reals *)(residual + at);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (add) four[i] += added.part[i];
      if (residual) four[i] += rest.part[i];
      result.part[i] = scale * four[i];
    }
    *(four_reals *)(y + at) = result;
  });
}

/* partials [parts][Cout, taps, Cin], each of one run of `run` output pixels, a multiple of 64; dy [N H' W', Cout] by boxes and x
 * by patches of 64 pixels and 64 channels */
HOPPER_KERNEL conv_hopper_weight_gradient(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map dy, float *partials,
                                          const int *table, int run) {
  SHARED_RING(shared);
  conv g = conv_of(table);
  /* Columns of a tile are channels of one tap. */
  int across = ceil_div(g.in, COLUMNS), tile = (int)blockIdx.x, row0 = tile / (across * g.taps) * ROWS;
  int tap = tile / across % g.taps, column0 = tile % across * COLUMNS, begin = (int)blockIdx.y * run;
  int steps = ceil_div(min(g.pixels - begin, run), STEP);
  if (is_producer()) {
    produce(shared, steps, [&](int step, barrier *full) {
      spot from = spot_of(g, begin + step * STEP);
#pragma unroll
      for (int i = 0; i < ROWS / 64; i++) load_box(shared.left(step) + i * PIECE, dy, full, row0 + i * 64, begin + step * STEP);
#pragma unroll
      for (int i = 0; i < COLUMNS / 64; i++)
        load_patches(shared.right(step) + i * PIECE, x, full, column0 + i * 64, from.x, from.y, from.n, tap % g.kw, tap / g.kw);
    });
    return;
  }
  float sum[BLOCKS][COLUMNS / 2];
  consume<true>(shared, steps, sum);
  float *to = partials + (size_t)blockIdx.y * (size_t)g.out * (size_t)(g.taps * g.in);
  each_four(sum, [&](int row, int column, float(&four)[4]) {
    int channel = row0 + row, input = column0 + column;
    if (channel >= g.out || input >= g.in) return;
    *(float4 *)(to + ((size_t)channel * (size_t)g.taps + tap) * (size_t)g.in + input) = make_float4(four[0], four[1], four[2], four[3]);
  });
}
