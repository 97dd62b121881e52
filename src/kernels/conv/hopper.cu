/* bf16 convolutions at stride 1 on sm_90a, with channels in multiples of 64, as matrix products of ROWS x COLUMNS tiles. One
 * producer thread copies both operands into a ring of stages in shared memory by TMA, reading patches directly from the image
 * (im2col maps). Two consumer warpgroups multiply: with -DTOGETHER=2 each computes half of every tile; with -DTOGETHER=1 they take
 * tiles in turns, so that one writes its sums while the other multiplies.
 */
#include "hopper_ring.cuh"
#include "table.cuh"

/* The convolution at stride 1 that computes the input gradient from dy, with the taps of w reversed. */
DEVICE conv mirrored(const conv &g) {
  return {g.n, g.out_h, g.out_w, g.out, g.h, g.w, g.in, g.kh, g.kw, 1, 1, g.kh - 1 - g.pad_y, g.kw - 1 - g.pad_x};
}

DEVICE int pixels_of(const conv &g) { return g.n * g.out_h * g.out_w; }

/* An output pixel; its patch begins at (y - pad_y, x - pad_x). */
struct spot {
  int n, y, x;
};

DEVICE spot spot_of(const conv &g, int pixel) {
  int line = pixel / g.out_w;
  return {line / g.out_h, line % g.out_h, pixel % g.out_w};
}

/* The pixel that is `by` after another; both numbers of pixels are given as spots. */
DEVICE spot after(const conv &g, const spot &at, const spot &by) {
  int x = at.x + by.x, y = at.y + by.y + (x >= g.out_w), n = at.n + by.n + (y >= g.out_h);
  return {n, y >= g.out_h ? y - g.out_h : y, x >= g.out_w ? x - g.out_w : x};
}

/* Maps of the patches of an image: of its first channels, below part0, and of the rest. */
struct images {
  const tensor_map &first, &second;
  int part0;
};

/* What is added to the sums of a convolution, in this order; any of them may be 0. */
struct addends {
  const float *bias;    /* [Cout] */
  const real *add;      /* [N, Cout] */
  const real *residual; /* like y */
};

/* Computes y = scale (sums of a convolution + addends). x is loaded by patches of ROWS pixels, and weights by load_weights(stage, tap,
 * input channel, first column). A warp writes pieces of 16 rows and PIECE_COLUMNS columns, those with the same columns in a row. */
template <bool TRANSPOSED, class LoadWeights>
DEVICE void convolve(const ring &r, const conv &g, const images &x, LoadWeights load_weights, real *y, const addends &more, float scale) {
  static_assert(BLOCKS <= 2, "a warp has a lane for each of its rows");
  constexpr int PIECES = BLOCKS * COLUMNS / PIECE_COLUMNS;
  int across = ceil_div(g.out, COLUMNS), area = g.out_h * g.out_w, pixels = g.n * area;
  struct place {
    int pixel0, column0, steps;
  };
  auto place_of = [&](int tile) -> place { return {tile / across * ROWS, tile % across * COLUMNS, g.kh * g.kw * (g.in / STEP)}; };
  auto load = [&](const place &p, int first) {
    spot from = spot_of(g, p.pixel0);
    int tap = 0, tap_y = 0, tap_x = 0, channel = 0;
    produce(r, first, p.steps, [&](const stage &s) {
      bool rest = channel >= x.part0;
      load_patches(s.left, rest ? x.second : x.first, s.full, rest ? channel - x.part0 : channel, from.x - g.pad_x, from.y - g.pad_y, from.n,
                   tap_x, tap_y);
      load_weights(s, tap, channel, p.column0);
      if ((channel += STEP) < g.in) return;
      channel = 0, tap++;
      if (++tap_x == g.kw) tap_x = 0, tap_y++;
    });
  };
  auto make = [&](const place &p, int first) {
    int lane = threadIdx.x % 32, row0 = p.pixel0 + warp_row(), width = g.out * (int)sizeof(real);
    /* The rows of the first addend for the warp's rows, one in each lane. */
    int mine = row0 + lane / 16 * 64 + lane % 16;
    if (more.add) mine /= area;
    /* Starts to copy the rows of an addend for a piece, if there is such a piece. */
    auto begin = [&](const real *from, int row, int piece) {
      int column = p.column0 + piece / BLOCKS * PIECE_COLUMNS, block = piece % BLOCKS;
      const unsigned char *chunk = (const unsigned char *)(from + column) + 16 * moved_chunk();
      row_buffer buffer = buffer_of(r, piece % BUFFERS);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        u32 at = (u32)__shfl_sync(0xFFFFFFFFu, row, block * 16 + moved_row(i));
        if (piece < PIECES && column < g.out && row0 + block * 64 + moved_row(i) < pixels)
          copy_async(buffer.at(moved_row(i), moved_chunk()), chunk + (u64)at * (u32)width, true);
      }
      copy_async_commit();
    };
    const real *addend = more.add ? more.add : more.residual;
    /* Two pieces are copied at any time, during the products too. */
    if (addend)
#pragma unroll
      for (int piece = 0; piece < BUFFERS; piece++) begin(addend, mine, piece);
    float sum[BLOCKS][COLUMNS / 2];
    consume<false, TRANSPOSED>(r, first, p.steps, sum);
    unsigned char *to[BLOCKS][4];
    moved_rows((unsigned char *)(y + p.column0) + (u64)(u32)row0 * (u32)width, (u32)width, to);
#pragma unroll
    for (int c = 0; c < COLUMNS / PIECE_COLUMNS; c++) {
      int column = p.column0 + c * PIECE_COLUMNS;
      if (column >= g.out) break;
      if (more.bias) add_columns(more.bias + column, c, sum);
#pragma unroll
      for (int block = 0; block < BLOCKS; block++) {
        int piece = c * BLOCKS + block;
        float *some = sum[block] + c * PIECE_COLUMNS / 2;
        row_buffer buffer = buffer_of(r, piece % BUFFERS);
        if (addend) {
          copy_async_wait<BUFFERS - 1>();
          __syncwarp();
          add_rows(buffer, some);
        }
        if (more.add && more.residual) {
          begin(more.residual, row0 + lane / 16 * 64 + lane % 16, piece);
          copy_async_wait<0>();
          __syncwarp();
          add_rows(buffer, some);
        }
        put_rows(buffer, some, scale);
        store_rows(buffer, to[block], c * 128, pixels - row0 - block * 64);
        if (addend) begin(addend, mine, piece + BUFFERS);
      }
    }
  };
  each_tile(r, ceil_div(pixels, ROWS) * across, place_of, load, make);
}

/* y = scale (conv(x, w) + bias + add + residual); w [Cout, kh kw Cin] by boxes of COLUMNS rows; bias, add and residual may be 0. The
 * last channels of the image, from number part0 on, are those of `second`. */
HOPPER_KERNEL conv_hopper_forward(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map w, real *y, const float *bias,
                                  const real *add, const real *residual, const int *table, float scale,
                                  const __grid_constant__ tensor_map second, int part0) {
  if (threadIdx.x == 0) map_prefetch(x), map_prefetch(w), map_prefetch(second);
  SHARED_RING(shared);
  conv g = conv_of(table);
  auto load_weights = [&](const stage &s, int tap, int channel, int column0) {
    load_box(s.right, w, s.full, tap * g.in + channel, column0);
  };
  convolve<false>(shared, g, {x, second, part0}, load_weights, y, {bias, add, residual}, scale);
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
  convolve<true>(shared, g, {dy, dy, g.in}, load_weights, dx, {0, 0, 0}, scale);
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
    int pixel = p.part * run * STEP;
    spot at = spot_of(p.g, pixel), by = spot_of(p.g, STEP);
    produce(shared, first, p.steps, [&](const stage &s) {
#pragma unroll
      for (int i = 0; i < ROWS / 64; i++) load_box(s.left + i * PIECE, dy, s.full, p.row0 + i * 64, pixel);
#pragma unroll
      for (int i = 0; i < COLUMNS / 64; i++)
        load_patches(s.right + i * PIECE, maps.of[images[i]], s.full, channels[i], at.x - p.g.pad_x, at.y - p.g.pad_y, at.n, taps[i] & 0xFFFF, taps[i] >> 16);
      pixel += STEP, at = after(p.g, at, by);
    });
  };
  auto make = [&](const place &p, int first) {
    float sum[BLOCKS][COLUMNS / 2];
    consume<true, true>(shared, first, p.steps, sum);
    int row0 = p.row0 + warp_row();
    u64 before = ((u64)p.part * (u32)p.g.out + (u32)row0) * (u32)p.columns + (u32)p.column0;
    unsigned char *to[BLOCKS][4];
    moved_rows((unsigned char *)(address_in<float>(table.of + p.entry * WORDS) + before), (u32)p.columns * 4, to);
    write_sums(shared, sum, to, p.columns - p.column0, p.g.out - row0);
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
    int term = 0, pair = p.entry * z.pairs;
    produce(r, first, p.steps, [&](const stage &s) {
      const tensor_map &a = map_of(2 * pair), &b = map_of(2 * pair + 1);
      if (LEFT_TRANSPOSED)
#pragma unroll
        for (int i = 0; i < ROWS / 64; i++) load_box(s.left + i * PIECE, a, s.full, p.row0 + i * 64, left + term);
      else load_box(s.left, a, s.full, term, left + p.row0);
      if (RIGHT_TRANSPOSED)
#pragma unroll
        for (int i = 0; i < COLUMNS / 64; i++) load_box(s.right + i * PIECE, b, s.full, p.column0 + i * 64, right + term);
      else load_box(s.right, b, s.full, term, right + p.column0);
      if ((term += STEP) == z.k) term = 0, pair++;
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
DEVICE void write_matrix(const ring &r, const matrix_sizes &z, const matrix_place &p, float (&sum)[BLOCKS][COLUMNS / 2], void *c, const float *bias,
                         bool wide) {
  int row0 = p.row0 + warp_row(), rows = z.m - row0, columns = z.n - p.column0;
  u32 size = wide ? sizeof(float) : sizeof(real);
  unsigned char *to[BLOCKS][4];
  moved_rows((unsigned char *)c + (((u64)p.batch * (u32)z.m + (u32)row0) * (u32)z.n + (u32)p.column0) * size, (u32)z.n * size, to);
  if (bias)
#pragma unroll
    for (int i = 0; i < COLUMNS / PIECE_COLUMNS; i++)
      if (i * PIECE_COLUMNS < columns) add_columns(bias + p.column0 + i * PIECE_COLUMNS, i, sum);
  if (wide) return write_sums(r, sum, to, columns, rows);
#pragma unroll
  for (int i = 0; i < COLUMNS / PIECE_COLUMNS; i++) {
    if (i * PIECE_COLUMNS >= columns) break;
#pragma unroll
    for (int block = 0; block < BLOCKS; block++) {
      row_buffer buffer = buffer_of(r, (i * BLOCKS + block) % BUFFERS);
      put_rows(buffer, sum[block] + i * PIECE_COLUMNS / 2, 1.0f);
      store_rows(buffer, to[block], i * 128, rows - block * 64);
    }
  }
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
      [&](const matrix_place &p, float(&sum)[BLOCKS][COLUMNS / 2]) {                                                   \
        const u32 *e = table.of + 4 * p.entry;                                                                         \
        write_matrix(shared, z, p, sum, address_in<void>(e), address_in<const float>(e + 2), wide != 0);               \
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
        write_matrix(shared, z, p, sum, probabilities, 0, false);
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
        write_matrix(shared, z, p, sum, slopes, 0, false);
      });
}
