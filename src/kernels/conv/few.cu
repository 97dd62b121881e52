/* bf16 convolutions at stride 1 between an image of few channels and one of many, on tensor cores, such as the first and the last
 * layer of a network for images. The many channels are a multiple of 64; the taps times the few channels are at most TERMS. A patch
 * is that of the image of few channels around a pixel of the other: its terms, tap by tap, and zeros.
 */
#include "storage.cuh"
#include "table.cuh"

#define THREADS 256
#define FEW_KERNEL KERNEL __launch_bounds__(THREADS, 2)

constexpr int TERMS = 32;
constexpr int PIXELS = 128;      /* of a tile: two threads read one patch */
constexpr int HALF = TERMS / 2;  /* terms of one of the two */
constexpr int PITCH = TERMS + 8; /* elements of a row of patches or of weights, so that ldmatrix has no bank conflicts */
constexpr int MOST_TAPS = 5;     /* of a row or a column of the kernel */
static_assert(THREADS == 2 * PIXELS, "a half patch per thread");

struct alignas(16) four_words {
  u32 of[4];
};
struct alignas(16) four_floats {
  float of[4];
};
/* Patches of a tile, or weights of a block's columns. */
struct alignas(16) tile_rows {
  real of[PIXELS * PITCH];
};

DEVICE int pixels_of(const conv &g) { return g.n * g.out_h * g.out_w; }

/* ---------------------------------------------------------------- patches */

/* For each term of a patch its distance in elements from the patch's first pixel, and the terms of each row and column of taps, one bit
 * for each. */
struct term_table {
  int offsets[TERMS];
  u32 rows[MOST_TAPS], columns[MOST_TAPS];
};

/* Fills the table; the whole block must call it. */
DEVICE void find_terms(term_table &terms, const conv &g) {
  int term = (int)threadIdx.x, tap = term / g.in, y = tap / g.kw, x = tap % g.kw;
  if (term >= TERMS) return;
  bool there = tap < g.kh * g.kw;
  terms.offsets[term] = there ? (y * g.w + x) * g.in + term % g.in : 0;
#pragma unroll
  for (int i = 0; i < MOST_TAPS; i++) {
    u32 row = __ballot_sync(0xFFFFFFFFu, there && y == i), column = __ballot_sync(0xFFFFFFFFu, there && x == i);
    if (term == 0) terms.rows[i] = row, terms.columns[i] = column;
  }
}

/* A pixel that a thread meets in each of its tiles, `step` pixels apart. */
struct walk {
  int n, y, x, step_n, step_y, step_x;

  /* The next pixel, without a division. */
  __device__ __forceinline__ void advance(const conv &g) {
    x += step_x;
    int line = x >= g.out_w ? 1 : 0;
    x -= line * g.out_w, y += step_y + line;
    int sample = y >= g.out_h ? 1 : 0;
    y -= sample * g.out_h, n += step_n + sample;
  }
};

DEVICE walk walk_from(const conv &g, int pixel, int step) {
  int line = pixel / g.out_w, lines = step / g.out_w;
  return {line / g.out_h, line % g.out_h, pixel % g.out_w, lines / g.out_h, lines % g.out_h, step % g.out_w};
}

/* Loads the thread's half of the patch of a pixel; all zeros beyond the last pixel. */
DEVICE void fetch(u32 (&half)[HALF], const real *image, const conv &g, const term_table &terms, const walk &at) {
  int y = at.y - g.pad_y, x = at.x - g.pad_x, first = (int)threadIdx.x / PIXELS * HALF;
  const real *from = image + ((long long)(at.n * g.h + y) * g.w + x) * g.in;
  u32 rows = 0, columns = 0;
#pragma unroll
  for (int i = 0; i < MOST_TAPS; i++) {
    if ((u32)(y + i) < (u32)g.h) rows |= terms.rows[i];
    if ((u32)(x + i) < (u32)g.w) columns |= terms.columns[i];
  }
  u32 inside = at.n < g.n ? (rows & columns) >> first : 0u;
#pragma unroll
  for (int i = 0; i < HALF; i++) half[i] = inside >> i & 1 ? from[terms.offsets[first + i]].bits : 0u;
}

/* Puts it into its row of the tile. */
DEVICE void put(real *tile, const u32 (&half)[HALF]) {
  four_words *to = (four_words *)(tile + threadIdx.x % PIXELS * PITCH + threadIdx.x / PIXELS * HALF);
#pragma unroll
  for (int i = 0; i < 2; i++) {
    four_words eight;
#pragma unroll
    for (int j = 0; j < 4; j++) eight.of[j] = half[8 * i + 2 * j] | half[8 * i + 2 * j + 1] << 16;
    to[i] = eight;
  }
}

/* ---------------------------------------------------------------- from few channels to many */

constexpr int COLUMNS = 128; /* output channels of a block; a warp has half of them, in 32 pixels of each tile */
static_assert(COLUMNS == PIXELS, "tile_rows");

/* y = scale (conv(x, w) + bias) for x of few channels. Weights are at w + output step_out + tap step_tap + input step_in; bias may be
 * 0. Columns are permuted so that a lane has eight neighbouring channels of a pixel: the columns 2t and 2t + 1 of four instructions
 * are the channels 8t to 8t + 7. */
FEW_KERNEL conv_few_widen(const real *x, const real *w, real *y, const float *bias, const int *table, int step_out, int step_tap,
                          int step_in, float scale) {
  __shared__ tile_rows patches[2], weights;
  __shared__ four_floats biases[COLUMNS / 4];
  __shared__ term_table terms;
  conv g = conv_of(table);
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column0 = (int)blockIdx.y * COLUMNS;
  int term = threadIdx.x % TERMS, tap = term / g.in;
  const real *from = w + (tap * step_tap + term % g.in * step_in);
#pragma unroll
  for (int i = 0; i < COLUMNS * TERMS / THREADS; i++) {
    int c = (int)threadIdx.x / TERMS + i * (THREADS / TERMS), row = c / 32 * 32 + c % 8 / 2 * 8 + c % 32 / 8 * 2 + c % 2;
    bool there = tap < g.kh * g.kw && column0 + c < g.out;
    weights.of[row * PITCH + term].bits = there ? from[(long long)(column0 + c) * step_out].bits : (u16)0;
  }
  if (threadIdx.x < COLUMNS) {
    int channel = column0 + (int)threadIdx.x;
    biases[threadIdx.x / 4].of[threadIdx.x % 4] = bias && channel < g.out ? bias[channel] : 0.0f;
  }
  find_terms(terms, g);
  __syncthreads();

  int half = warp / 4 * (COLUMNS / 2), row0 = warp % 4 * 32;
  bool works = column0 + half < g.out;
  u32 b[COLUMNS / 16][4];
#pragma unroll
  for (int j = 0; j < COLUMNS / 16; j++) load_matrices(b[j], weights.of + (half + j * 8 + lane % 8) * PITCH + lane / 8 * 8);
  int step = (int)gridDim.x * PIXELS, first = (int)blockIdx.x * PIXELS, pixels = pixels_of(g);
  walk at = walk_from(g, first + (int)threadIdx.x % PIXELS, step);
  u32 fetched[HALF];
  fetch(fetched, x, g, terms, at);
  for (int i = 0; first < pixels; i++, first += step) {
    real *tile = patches[i % 2].of;
    put(tile, fetched);
    __syncthreads();
    at.advance(g);
    fetch(fetched, x, g, terms, at);
    if (!works) continue;
#pragma unroll
    for (int m = 0; m < 2; m++) {
      u32 a[TERMS / 16][4];
      float sum[COLUMNS / 16][4];
#pragma unroll
      for (int k = 0; k < TERMS / 16; k++) load_matrices(a[k], tile + (row0 + m * 16 + lane % 16) * PITCH + k * 16 + lane / 16 * 8);
#pragma unroll
      for (int j = 0; j < COLUMNS / 16; j += 2) {
        four_floats more = biases[half / 4 + j / 4 * 8 + lane % 4 * 2 + j % 4 / 2];
#pragma unroll
        for (int e = 0; e < 4; e++) sum[j][e] = more.of[e % 2], sum[j + 1][e] = more.of[2 + e % 2];
      }
#pragma unroll
      for (int k = 0; k < TERMS / 16; k++)
#pragma unroll
        for (int j = 0; j < COLUMNS / 16; j++) multiply_bf16(sum[j], a[k], b[j][2 * k], b[j][2 * k + 1]);
#pragma unroll
      for (int h = 0; h < 2; h++) {
        int pixel = first + row0 + m * 16 + h * 8 + lane / 4;
        real *to = y + (size_t)pixel * (size_t)g.out + column0 + half + lane % 4 * 8;
        if (pixel >= pixels) continue;
#pragma unroll
        for (int j = 0; j < COLUMNS / 16; j += 4) {
          four_words eight;
#pragma unroll
          for (int e = 0; e < 4; e++) eight.of[e] = bf16_pair(scale * sum[j + e][2 * h], scale * sum[j + e][2 * h + 1]);
          *(four_words *)(to + j / 4 * 32) = eight;
        }
      }
    }
  }
}

/* ---------------------------------------------------------------- from many channels to few */

/* y = scale (conv(x, w) + bias) for x of many channels; weights and bias as above. A block computes tile_h x tile_w pixels of y in
 * two steps: for each pixel of x that they read its products with the weights of all taps (columns: tap by tap, few channels), then
 * for each pixel of y the sum over the taps. Terms are permuted so that a lane reads eight neighbouring channels at once. */
FEW_KERNEL conv_few_narrow(const real *x, const real *w, real *y, const float *bias, const int *table, int step_out, int step_tap,
                           int step_in, float scale, int tile_h, int tile_w) {
  extern __shared__ __align__(16) unsigned char memory[];
  conv g = conv_of(table);
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  /* By column, then by pixel; both pitches avoid bank conflicts. */
  int pitch = ceil_div((tile_h + g.kh - 1) * (tile_w + g.kw - 1), 16) * 16 + 4, weight_pitch = g.in + 32;
  float *products = (float *)memory;
  real *weights = (real *)(products + TERMS * pitch);
  const real *rows[TERMS * 32 / THREADS];
#pragma unroll
  for (int i = 0; i < TERMS * 32 / THREADS; i++) {
    int column = warp + i * (THREADS / 32), tap = column / g.out;
    rows[i] = tap < g.kh * g.kw ? w + (tap * step_tap + (long long)(column % g.out) * step_out) : 0;
  }
#pragma unroll 1
  for (int c = lane; c < g.in; c += 32)
#pragma unroll
    for (int i = 0; i < TERMS * 32 / THREADS; i++)
      weights[(warp + i * (THREADS / 32)) * weight_pitch + c].bits = rows[i] ? rows[i][(long long)c * step_in].bits : (u16)0;
  int across = ceil_div(g.out_w, tile_w), block = (int)blockIdx.x, line = block / across;
  int x0 = block % across * tile_w, y0 = line % ceil_div(g.out_h, tile_h) * tile_h, sample = line / ceil_div(g.out_h, tile_h);
  int top = max(0, y0 - g.pad_y), bottom = min(g.h, y0 + tile_h + g.kh - 1 - g.pad_y);
  int left = max(0, x0 - g.pad_x), right = min(g.w, x0 + tile_w + g.kw - 1 - g.pad_x);
  int width = right - left, count = width * (bottom - top);
  /* Dividing by the width: exact, because count and width are below 1024 and 64. */
  u32 reciprocal = (65536u + (u32)width - 1) / (u32)width;
  __syncthreads();

  for (int first = warp * 16; first < count; first += THREADS / 2) {
    const real *from[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      int pixel = min(first + lane / 4 + h * 8, count - 1), down = (int)((u32)pixel * reciprocal >> 16);
      from[h] = x + ((size_t)(sample * g.h + top + down) * (size_t)g.w + (size_t)(left + pixel - down * width)) * (size_t)g.in + lane % 4 * 8;
    }
    float sum[TERMS / 8][4] = {};
    const real *of[TERMS / 8];
#pragma unroll
    for (int j = 0; j < TERMS / 8; j++) of[j] = weights + (j * 8 + lane / 4) * weight_pitch + lane % 4 * 8;
    four_words next[2][2];
    auto load = [&](int c) {
#pragma unroll
      for (int i = 0; i < 4; i++) next[i / 2][i % 2] = *(const four_words *)(from[i % 2] + c + i / 2 * 32);
    };
    load(0);
#pragma unroll 1
    for (int c = 0; c < g.in; c += 64) {
      four_words now[2][2];
#pragma unroll
      for (int i = 0; i < 4; i++) now[i / 2][i % 2] = next[i / 2][i % 2];
      load(min(c + 64, g.in - 64));
#pragma unroll
      for (int part = 0; part < 2; part++)
#pragma unroll
        for (int j = 0; j < TERMS / 8; j++) {
          four_words b = *(const four_words *)(of[j] + c + part * 32);
          const u32(&upper)[4] = now[part][0].of, (&lower)[4] = now[part][1].of;
#pragma unroll
          for (int k = 0; k < 4; k += 2) {
            u32 a[4] = {upper[k], lower[k], upper[k + 1], lower[k + 1]};
            multiply_bf16(sum[j], a, b.of[k], b.of[k + 1]);
          }
        }
    }
#pragma unroll
    for (int j = 0; j < TERMS / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) products[(j * 8 + lane % 4 * 2 + e % 2) * pitch + first + lane / 4 + e / 2 * 8] = sum[j][e];
  }
  __syncthreads();

  int row = y0 + (int)threadIdx.x / tile_w, column = x0 + (int)threadIdx.x % tile_w;
  if ((int)threadIdx.x >= tile_h * tile_w || row >= g.out_h || column >= g.out_w) return;
  real *to = y + ((size_t)(sample * g.out_h + row) * (size_t)g.out_w + (size_t)column) * (size_t)g.out;
  int from_y = row - g.pad_y, from_x = column - g.pad_x;
  const float *of = products + (from_y - top) * width + from_x - left;
#pragma unroll 1
  for (int channel = 0; channel < g.out; channel++) {
    float sum = 0.0f;
    int term = channel;
#pragma unroll 1
    for (int ky = 0; ky < g.kh; ky++)
#pragma unroll 1
      for (int kx = 0; kx < g.kw; kx++, term += g.out)
        if ((u32)(from_y + ky) < (u32)g.h && (u32)(from_x + kx) < (u32)g.w) sum += of[term * pitch + ky * width + kx];
    to[channel] = scale * (bias ? sum + bias[channel] : sum);
  }
}

/* ---------------------------------------------------------------- weight gradients */

constexpr int CHANNELS = 64;                  /* of the image of many, of a block */
constexpr int MANY_PITCH = CHANNELS + 8;      /* elements of a pixel in shared memory */
constexpr int STAGES = 3;                     /* tiles of that image: one is used, the others are being copied */
constexpr int MANY_TILE = PIXELS * MANY_PITCH;

/* partials [parts][size of the weight]: each part sums `run` tiles of pixels of the image of many channels. The sum of a channel of
 * that image and a term is at channel step_many + tap step_tap + few channel step_few. table: the convolution that reads the image of
 * few channels. */
FEW_KERNEL conv_few_weight_gradient(const real *few, const real *many, float *partials, const int *table, int step_many, int step_tap,
                                    int step_few, int run) {
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ term_table terms;
  conv g = conv_of(table);
  real *stages = (real *)memory, *patches = stages + STAGES * MANY_TILE;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, channel0 = (int)blockIdx.y * CHANNELS, pixels = pixels_of(g);
  int begin = (int)blockIdx.x * run * PIXELS, tiles = min(run, ceil_div(pixels - begin, PIXELS));
  int own = begin + (int)threadIdx.x / (CHANNELS / 8), along = (int)threadIdx.x % (CHANNELS / 8) * 8; /* of the next copy */
  const real *from = many + (size_t)own * (size_t)g.out + channel0 + along;
  auto copy = [&](int tile) {
    constexpr int apart = THREADS * 8 / CHANNELS; /* pixels between two that a thread copies */
    real *to = stages + tile % STAGES * MANY_TILE + (int)threadIdx.x / (CHANNELS / 8) * MANY_PITCH + along;
    if (tile < tiles)
#pragma unroll
      for (int i = 0; i < PIXELS / apart; i++, own += apart, from += apart * g.out)
        copy_async(to + i * apart * MANY_PITCH, own < pixels ? from : many, own < pixels);
    copy_async_commit();
  };
  for (int tile = 0; tile < STAGES - 1; tile++) copy(tile);
  find_terms(terms, g);
  walk at = walk_from(g, begin + (int)threadIdx.x % PIXELS, PIXELS);
  __syncthreads();

  /* Four warps have 16 channels each and half of a tile's pixels; the other four have the other half. */
  int channels = warp % 4 * 16, half = warp / 4 * (PIXELS / 2);
  float sum[TERMS / 8][4] = {};
  u32 fetched[HALF];
  fetch(fetched, few, g, terms, at);
  for (int tile = 0; tile < tiles; tile++) {
    real *here = patches + tile % 2 * (PIXELS * PITCH), *stage = stages + tile % STAGES * MANY_TILE;
    put(here, fetched);
    copy_async_wait<STAGES - 2>();
    /* The tile is complete, and every warp has finished the previous one, whose stage is filled next. */
    __syncthreads();
    copy(tile + STAGES - 1);
    at.advance(g);
    fetch(fetched, few, g, terms, at);
#pragma unroll
    for (int k = 0; k < PIXELS / 2; k += 16) {
      u32 a[4], b[TERMS / 16][4];
      int within = half + k + lane % 8;
      load_matrices_transposed(a, stage + (within + lane / 16 * 8) * MANY_PITCH + channels + lane / 8 % 2 * 8);
#pragma unroll
      for (int j = 0; j < TERMS / 16; j++)
        load_matrices_transposed(b[j], here + (within + lane / 8 % 2 * 8) * PITCH + j * 16 + lane / 16 * 8);
#pragma unroll
      for (int j = 0; j < TERMS / 8; j++) multiply_bf16(sum[j], a, b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
  }
  copy_async_wait<0>();
  __syncthreads();

  float *others = (float *)memory;
#pragma unroll
  for (int i = 0; i < TERMS / 2; i++)
    if (warp >= 4) others[i * 128 + (int)threadIdx.x % 128] = sum[i / 4][i % 4];
  __syncthreads();
  if (warp >= 4) return;
  float *to = partials + (size_t)blockIdx.x * (size_t)(g.out * g.kh * g.kw * g.in);
#pragma unroll
  for (int i = 0; i < TERMS / 2; i++) {
    int term = i / 4 * 8 + lane % 4 * 2 + i % 2, channel = channel0 + channels + lane / 4 + i % 4 / 2 * 8, tap = term / g.in;
    if (tap < g.kh * g.kw)
      to[(long long)channel * step_many + (long long)tap * step_tap + term % g.in * step_few] = sum[i / 4][i % 4] + others[i * 128 + (int)threadIdx.x];
  }
}
