/* bf16 convolutions at stride 1 on sm_90a, with channels in multiples of 64, as matrix products of ROWS x COLUMNS tiles. One
 * producer thread copies both operands into a ring of stages in shared memory by TMA, reading patches directly from the image
 * (im2col maps). Two consumer warpgroups multiply: with -DTOGETHER=2 each computes half of every tile; with -DTOGETHER=1 they take
 * tiles in turns, so that one writes its sums while the other multiplies.
 */
#include "storage.cuh"
#include "ptx_hopper.cuh"
#include "table.cuh"

constexpr int STEP = 64;        /* terms of a stage: 128 bytes, the width of the swizzle */
constexpr int PIECE = 64 * 128; /* bytes of 64 rows or columns of a stage */
constexpr int CONSUMERS = 2;    /* warpgroups, after that of the producer */
constexpr int BLOCKS = ROWS / 64 / TOGETHER; /* blocks of 64 rows that a warpgroup multiplies */
constexpr int LEFT_BYTES = ROWS / 64 * PIECE, STAGE_BYTES = LEFT_BYTES + COLUMNS / 64 * PIECE;
constexpr int STAGES = 192 * 1024 / STAGE_BYTES; /* hopper.ts requests the memory */
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

/* Called by one thread: fill(step, stage) starts copies of STAGE_BYTES, which arrive at the barrier of the stage. */
template <class Fill> DEVICE void produce(const ring &r, int first, int steps, Fill fill) {
  for (int step = 0; step < steps; step++) {
    stage s = r.at(first + step);
    /* In the first round every stage is empty: waiting for the phase before the first returns at once. */
    barrier_wait(s.empty, s.parity ^ 1);
    barrier_expect(s.full, STAGE_BYTES);
    fill(step, s);
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

/* Calls write(row, column, four adjacent sums), with row and column within the tile. The whole warp must call it. */
template <class Write> DEVICE void each_four(const float (&sum)[BLOCKS][COLUMNS / 2], Write write) {
  int thread = threadIdx.x % 128, lane = thread % 32, odd = lane % 2;
  int first = share() * BLOCKS * 64 + thread / 32 * 16 + lane / 4;
#pragma unroll
  for (int block = 0; block < BLOCKS; block++)
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int j = 0; j < COLUMNS / 4; j += 4) {
        /* A lane has two sums in each of two groups of 8 columns; neighbouring lanes exchange them, so that it has four of one. */
        const float *lower = sum[block] + 2 * j + 2 * half, *upper = lower + 4;
        float four[4], mine[2] = {odd ? upper[0] : lower[0], odd ? upper[1] : lower[1]};
        float others[2] = {__shfl_xor_sync(0xFFFFFFFFu, odd ? lower[0] : upper[0], 1), __shfl_xor_sync(0xFFFFFFFFu, odd ? lower[1] : upper[1], 1)};
#pragma unroll
        for (int i = 0; i < 2; i++) four[i] = odd ? others[i] : mine[i], four[2 + i] = odd ? mine[i] : others[i];
        write(first + block * 64 + half * 8, 4 * j + 8 * odd + lane % 4 / 2 * 4, four);
      }
}

/* The convolution at stride 1 that computes the input gradient from dy, with the taps of w reversed. */
DEVICE conv mirrored(const conv &g) {
  return {g.n, g.out_h, g.out_w, g.out, g.h, g.w, g.in, g.kh, g.kw, 1, 1, g.kh - 1 - g.pad_y, g.kw - 1 - g.pad_x};
}

DEVICE int pixels_of(const conv &g) { return g.n * g.out_h * g.out_w; }

/* The first pixel of the patch of an output pixel. */
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

/* Maps of the patches of an image: of its first channels, below part0, and of the rest. */
struct images {
  const tensor_map &first, &second;
  int part0;
};

/* Computes the sums of a convolution, loading x by patches of ROWS pixels and weights by load_weights(stage, tap, input channel,
 * first column), and calls write(pixel, output channel, offset in the output, four adjacent sums). */
template <bool TRANSPOSED, class LoadWeights, class Write>
DEVICE void convolve(const ring &r, const conv &g, const images &x, LoadWeights load_weights, Write write) {
  int across = ceil_div(g.out, COLUMNS), pieces = g.in / STEP;
  struct place {
    int pixel0, column0, steps;
  };
  auto place_of = [&](int tile) -> place { return {tile / across * ROWS, tile % across * COLUMNS, g.kh * g.kw * pieces}; };
  auto load = [&](const place &p, int first) {
    spot from = spot_of(g, p.pixel0);
    produce(r, first, p.steps, [&](int step, const stage &s) {
      int tap = step / pieces, channel = step % pieces * STEP;
      bool rest = channel >= x.part0;
      load_patches(s.left, rest ? x.second : x.first, s.full, rest ? channel - x.part0 : channel, from.x, from.y, from.n, tap % g.kw, tap / g.kw);
      load_weights(s, tap, channel, p.column0);
    });
  };
  auto make = [&](const place &p, int first) {
    float sum[BLOCKS][COLUMNS / 2];
    consume<false, TRANSPOSED>(r, first, p.steps, sum);
    each_four(sum, [&](int row, int column, float(&four)[4]) {
      int pixel = p.pixel0 + row, channel = p.column0 + column;
      if (pixel < pixels_of(g) && channel < g.out) write(pixel, channel, (size_t)pixel * (size_t)g.out + channel, four);
    });
  };
  each_tile(r, ceil_div(pixels_of(g), ROWS) * across, place_of, load, make);
}

/* y = scale (conv(x, w) + bias + add + residual); w [Cout, kh kw Cin] by boxes of COLUMNS rows; bias [Cout], add [N, Cout] and
 * residual may be 0. The last channels of the image, from number part0 on, are those of `second`. */
HOPPER_KERNEL conv_hopper_forward(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map w, real *y, const float *bias,
                                  const real *add, const real *residual, const int *table, float scale,
                                  const __grid_constant__ tensor_map second, int part0) {
  if (threadIdx.x == 0) map_prefetch(x), map_prefetch(w), map_prefetch(second);
  SHARED_RING(shared);
  conv g = conv_of(table);
  auto load_weights = [&](const stage &s, int tap, int channel, int column0) {
    load_box(s.right, w, s.full, tap * g.in + channel, column0);
  };
  convolve<false>(shared, g, {x, second, part0}, load_weights, [&](int pixel, int channel, size_t at, float(&four)[4]) {
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

/* dx = scale times the sum over taps and output channels of dy w. The weights are read in their order, [Cout, kh kw Cin], by boxes
 * of 64 output channels (the terms) and 64 columns. Columns beyond the input channels of a tap are not written. */
HOPPER_KERNEL conv_hopper_input_gradient(const __grid_constant__ tensor_map dy, const __grid_constant__ tensor_map w, real *dx,
                                         const int *table, float scale) {
  if (threadIdx.x == 0) map_prefetch(dy), map_prefetch(w);
  SHARED_RING(shared);
  conv g = mirrored(conv_of(table));
  auto load_weights = [&](const stage &s, int tap, int channel, int column0) {
    int column = (g.kh * g.kw - 1 - tap) * g.out + column0;
#pragma unroll
    for (int i = 0; i < COLUMNS / 64; i++) load_box(s.right + i * PIECE, w, s.full, column + i * 64, channel);
  };
  convolve<true>(shared, g, {dy, dy, g.in}, load_weights, [&](int, int, size_t at, float(&four)[4]) {
    four_reals result;
#pragma unroll
    for (int i = 0; i < 4; i++) result.part[i] = scale * four[i];
    *(four_reals *)(dx + at) = result;
  });
}

/* The arguments for several convolutions, from hopper_weight_gradients.ts. Each has two maps, of x by patches and of dy by boxes, both
 * of 64 pixels and 64 channels, or a third one of the last channels of x; and WORDS words: the addresses of its partial sums and of its
 * table, two words each, its first tile, its first map, and the number of the first channel that is in the third map. */
#define MAPS 28
#define TABLE 98
#define WORDS 7
#define FIRST 4
#define FIRST_MAP 5
#define PART0 6

/* partials [parts][Cout, kh kw Cin] of each convolution: each part sums one run of `run` times 64 output pixels. The columns of a
 * tile are those of the weight, 64 adjacent ones of a tap. Pixels beyond the last are zeros in both operands. */
HOPPER_KERNEL conv_hopper_weight_gradients(const __grid_constant__ tensor_maps<MAPS> maps, const __grid_constant__ words<TABLE> table,
                                           int entries, int tiles, int run) {
  if (threadIdx.x < 2 * entries) map_prefetch(maps.of[table.of[threadIdx.x / 2 * WORDS + FIRST_MAP] + threadIdx.x % 2]);
  SHARED_RING(shared);
  struct place {
    int entry, part, row0, column0, columns, steps;
    conv g;
  };
  auto place_of = [&](int tile) -> place {
    int entry = 0;
    while (entry + 1 < entries && (int)table.of[(entry + 1) * WORDS + FIRST] <= tile) entry++;
    const u32 *words = table.of + entry * WORDS;
    conv g = conv_of(address_in<const int>(words + 2));
    int columns = g.kh * g.kw * g.in, across = ceil_div(columns, COLUMNS), all = across * ceil_div(g.out, ROWS);
    int rest = tile - (int)words[FIRST], part = rest / all, steps = min(run, ceil_div(pixels_of(g), STEP) - part * run);
    return {entry, part, rest % all / across * ROWS, rest % across * COLUMNS, columns, steps, g};
  };
  auto load = [&](const place &p, int first) {
    int x = (int)table.of[p.entry * WORDS + FIRST_MAP], part0 = (int)table.of[p.entry * WORDS + PART0];
    const tensor_map &dy = maps.of[x + 1];
    int channels[COLUMNS / 64], taps[COLUMNS / 64], images[COLUMNS / 64];
#pragma unroll
    for (int i = 0; i < COLUMNS / 64; i++) {
      /* Columns beyond the last read arbitrary data, but are not written. */
      int column = p.column0 + i * 64, tap = column / p.g.in;
      channels[i] = column % p.g.in;
      images[i] = channels[i] < part0 ? x : x + 2;
      if (channels[i] >= part0) channels[i] -= part0;
      taps[i] = tap / p.g.kw << 16 | tap % p.g.kw;
    }
    produce(shared, first, p.steps, [&](int step, const stage &s) {
      int pixel = (p.part * run + step) * STEP;
      spot from = spot_of(p.g, pixel);
#pragma unroll
      for (int i = 0; i < ROWS / 64; i++) load_box(s.left + i * PIECE, dy, s.full, p.row0 + i * 64, pixel);
#pragma unroll
      for (int i = 0; i < COLUMNS / 64; i++)
        load_patches(s.right + i * PIECE, maps.of[images[i]], s.full, channels[i], from.x, from.y, from.n, taps[i] & 0xFFFF, taps[i] >> 16);
    });
  };
  auto make = [&](const place &p, int first) {
    float sum[BLOCKS][COLUMNS / 2];
    consume<true, true>(shared, first, p.steps, sum);
    float *to = address_in<float>(table.of + p.entry * WORDS) + (size_t)p.part * (size_t)p.g.out * (size_t)p.columns;
    each_four(sum, [&](int row, int column, float(&four)[4]) {
      int channel = p.row0 + row, at = p.column0 + column;
      if (channel < p.g.out && at < p.columns)
        *(float4 *)(to + (size_t)channel * (size_t)p.columns + at) = make_float4(four[0], four[1], four[2], four[3]);
    });
  };
  each_tile(shared, tiles, place_of, load, make);
}

/* ---------------------------------------------------------------- matrix products */

#define PRODUCT_MAPS 8
#define PRODUCT_WORDS 16

/* Sums over `pairs` pairs of a b for `entries` entries with `batches` matrices each. a [m, k] or, if transposed, [k, m]; b [n, k] or, if
 * transposed, [k, n]; k is a multiple of 64. A step of 0 means one matrix for all batches. */
struct matrix_sizes {
  int entries, pairs, batches, m, k, n, step_a, step_b;
};

struct matrix_place {
  int entry, batch, row0, column0, steps;
};

/* map_of(i) is the map of a of pair i / 2, or of b if i is odd, counted over all entries. finish(place, sum) writes the sums of a tile.
 * Rows of the next matrix of a batch may be read; their sums must not be written. */
template <bool LEFT_TRANSPOSED, bool RIGHT_TRANSPOSED, class MapOf, class Finish>
DEVICE void multiply_matrices(const ring &r, const matrix_sizes &z, MapOf map_of, Finish finish) {
  int across = ceil_div(z.n, COLUMNS), down = ceil_div(z.m, ROWS), pieces = z.k / STEP;
  auto place_of = [&](int tile) -> matrix_place {
    int block = tile / across, column0 = tile % across * COLUMNS, matrix = block / down;
    return {matrix / z.batches, matrix % z.batches, block % down * ROWS, column0, z.pairs * pieces};
  };
  auto load = [&](const matrix_place &p, int first) {
    int left = p.batch * z.step_a * (LEFT_TRANSPOSED ? z.k : z.m), right = p.batch * z.step_b * (RIGHT_TRANSPOSED ? z.k : z.n);
    produce(r, first, p.steps, [&](int step, const stage &s) {
      int term = step % pieces * STEP, pair = p.entry * z.pairs + step / pieces;
      const tensor_map &a = map_of(2 * pair), &b = map_of(2 * pair + 1);
      if (LEFT_TRANSPOSED)
#pragma unroll
        for (int i = 0; i < ROWS / 64; i++) load_box(s.left + i * PIECE, a, s.full, p.row0 + i * 64, left + term);
      else load_box(s.left, a, s.full, term, left + p.row0);
      if (RIGHT_TRANSPOSED)
#pragma unroll
        for (int i = 0; i < COLUMNS / 64; i++) load_box(s.right + i * PIECE, b, s.full, p.column0 + i * 64, right + term);
      else load_box(s.right, b, s.full, term, right + p.column0);
    });
  };
  auto make = [&](const matrix_place &p, int first) {
    float sum[BLOCKS][COLUMNS / 2];
    consume<LEFT_TRANSPOSED, RIGHT_TRANSPOSED>(r, first, p.steps, sum);
    finish(p, sum);
  };
  each_tile(r, z.entries * z.batches * down * across, place_of, load, make);
}

/* Writes the sums of a tile to c [batches, m, n], as f32 if it is wide; bias [n] may be 0. */
DEVICE void write_matrix(const matrix_sizes &z, const matrix_place &p, const float (&sum)[BLOCKS][COLUMNS / 2], void *c, const float *bias, bool wide) {
  each_four(sum, [&](int row, int column, float(&four)[4]) {
    if (p.row0 + row >= z.m || p.column0 + column >= z.n) return;
    size_t at = ((size_t)p.batch * (size_t)z.m + (size_t)(p.row0 + row)) * (size_t)z.n + (size_t)(p.column0 + column);
    if (bias) {
      float4 more = *(const float4 *)(bias + p.column0 + column);
      four[0] += more.x, four[1] += more.y, four[2] += more.z, four[3] += more.w;
    }
    if (wide) *(float4 *)((float *)c + at) = make_float4(four[0], four[1], four[2], four[3]);
    else {
      four_reals result;
#pragma unroll
      for (int i = 0; i < 4; i++) result.part[i] = four[i];
      *(four_reals *)((real *)c + at) = result;
    }
  });
}

/* c_e = sum over pairs of a b + bias_e for each entry e, whose words are the addresses of c and of bias, which may be 0. wide: c is f32. */
#define PRODUCT_ARGUMENTS                                                                                                           \
  const __grid_constant__ tensor_maps<PRODUCT_MAPS> maps, const __grid_constant__ words<PRODUCT_WORDS> table, int entries, int pairs, \
      int batches, int m, int k, int n, int step_a, int step_b, int wide
#define MULTIPLY(left, right)                                                                                          \
  if (threadIdx.x < 2 * entries * pairs) map_prefetch(maps.of[threadIdx.x]);                                           \
  SHARED_RING(shared);                                                                                                 \
  matrix_sizes z = {entries, pairs, batches, m, k, n, step_a, step_b};                                                 \
  multiply_matrices<left, right>(                                                                                      \
      shared, z, [&](int i) -> const tensor_map & { return maps.of[i]; },                                              \
      [&](const matrix_place &p, const float(&sum)[BLOCKS][COLUMNS / 2]) {                                             \
        const u32 *e = table.of + 4 * p.entry;                                                                         \
        write_matrix(z, p, sum, address_in<void>(e), address_in<const float>(e + 2), wide != 0);                       \
      })

/* a [m, k], b [k, n] */
HOPPER_KERNEL conv_hopper_multiply(PRODUCT_ARGUMENTS) { MULTIPLY(false, true); }

/* a [m, k], b [n, k] */
HOPPER_KERNEL conv_hopper_multiply_right_transposed(PRODUCT_ARGUMENTS) { MULTIPLY(false, false); }

/* a [k, m], b [k, n] */
HOPPER_KERNEL conv_hopper_multiply_left_transposed(PRODUCT_ARGUMENTS) { MULTIPLY(true, true); }

/* ---------------------------------------------------------------- products of attention whose rows are whole in a tile
 * n <= COLUMNS, a multiple of 64. A row of sums is in the registers of four neighbouring lanes: each_pair calls f(register, column) for
 * the lane's pairs of columns in rows `half` (0 or 1) of a block. The whole warp must call it.
 */
template <class F> DEVICE void each_pair(int half, int n, F f) {
#pragma unroll
  for (int first = 0; first < COLUMNS; first += 64) {
    if (first >= n) break;
    /* Loads of the next columns wait until those before are used, so that they fit into registers. */
    __syncwarp();
#pragma unroll
    for (int i = first / 8; i < first / 8 + 8; i++) f(4 * i + 2 * half, i * 8 + (int)threadIdx.x % 4 * 2);
  }
}

DEVICE float quad_sum(float x) {
  x += __shfl_xor_sync(0xFFFFFFFFu, x, 1);
  return x + __shfl_xor_sync(0xFFFFFFFFu, x, 2);
}

DEVICE float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 2));
}

#define EACH_ROW                        \
  _Pragma("unroll") for (int block = 0; block < BLOCKS; block++) \
      _Pragma("unroll") for (int half = 0; half < 2; half++)

/* probabilities [batches, m, n] = softmax(scale q k^T) along rows; q [batches, m, terms], k [batches, n, terms] */
HOPPER_KERNEL conv_hopper_probabilities(const __grid_constant__ tensor_map q, const __grid_constant__ tensor_map k, real *probabilities,
                                        int batches, int m, int terms, int n, float scale) {
  if (threadIdx.x == 0) map_prefetch(q), map_prefetch(k);
  SHARED_RING(shared);
  matrix_sizes z = {1, 1, batches, m, terms, n, 1, 1};
  multiply_matrices<false, false>(
      shared, z, [&](int i) -> const tensor_map & { return i ? k : q; },
      [&](const matrix_place &p, float(&sum)[BLOCKS][COLUMNS / 2]) {
        EACH_ROW {
          float *own = sum[block], most = -infinity(), total = 0.0f;
          each_pair(half, n, [&](int i, int) {
            own[i] *= scale, own[i + 1] *= scale;
            most = fmaxf(most, fmaxf(own[i], own[i + 1]));
          });
          most = quad_max(most);
          each_pair(half, n, [&](int i, int) {
            own[i] = fast_exp2(1.44269504f * (own[i] - most)), own[i + 1] = fast_exp2(1.44269504f * (own[i + 1] - most));
            total += own[i] + own[i + 1];
          });
          float share = 1.0f / quad_sum(total);
          each_pair(half, n, [&](int i, int) { own[i] *= share, own[i + 1] *= share; });
        }
        write_matrix(z, p, sum, probabilities, 0, false);
      });
}

struct alignas(4) two_reals {
  real part[2];
};

/* slopes [batches, m, n] of the scores before they were scaled: scale p (d - sum of p d along the row), d = dy v^T; dy [batches, m, terms],
 * v [batches, n, terms], p [batches, m, n] the probabilities */
HOPPER_KERNEL conv_hopper_slopes(const __grid_constant__ tensor_map dy, const __grid_constant__ tensor_map v, const real *probabilities,
                                 real *slopes, int batches, int m, int terms, int n, float scale) {
  if (threadIdx.x == 0) map_prefetch(dy), map_prefetch(v);
  SHARED_RING(shared);
  matrix_sizes z = {1, 1, batches, m, terms, n, 1, 1};
  multiply_matrices<false, false>(
      shared, z, [&](int i) -> const tensor_map & { return i ? v : dy; },
      [&](const matrix_place &p, float(&sum)[BLOCKS][COLUMNS / 2]) {
        int lane = threadIdx.x % 128, first = p.row0 + share() * BLOCKS * 64 + lane / 32 * 16 + lane % 32 / 4;
        EACH_ROW {
          float *own = sum[block], total = 0.0f;
          int row = first + block * 64 + half * 8;
          /* Rows of the next matrix are not written, so any probabilities serve. */
          const real *of = probabilities + ((size_t)p.batch * (size_t)m + (size_t)min(row, m - 1)) * (size_t)n;
          each_pair(half, n, [&](int i, int column) {
            two_reals two = *(const two_reals *)(of + column);
            total += own[i] * two.part[0] + own[i + 1] * two.part[1];
          });
          float mean = quad_sum(total);
          each_pair(half, n, [&](int i, int column) {
            two_reals two = *(const two_reals *)(of + column);
            own[i] = scale * two.part[0] * (own[i] - mean), own[i + 1] = scale * two.part[1] * (own[i + 1] - mean);
          });
        }
        write_matrix(z, p, sum, slopes, 0, false);
      });
}
