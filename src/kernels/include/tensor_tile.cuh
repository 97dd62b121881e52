/* The product on tensor cores: a block computes a TILE x TILE tile of C (128: 8 warps of 64 x 32; 64: 4 warps of 32 x 32), STEP
 * terms (64 bytes) at a time. Shared memory holds STAGES steps; the later ones are still being copied. Sums are f32.
 */
#ifndef RECTIFLOW_TENSOR_TILE_CUH
#define RECTIFLOW_TENSOR_TILE_CUH

#include "row_buffer.cuh"

#define TILE_THREADS (TILE * 2)
#define STAGES 3

constexpr int CHUNK = 16 / sizeof(real); /* elements of one copy */
constexpr int STEP = 4 * CHUNK;
constexpr int FRAGMENT = 2 * CHUNK; /* terms of one matrix instruction */
constexpr int WARP_ROWS = TILE / 2, WARP_COLUMNS = 32;
constexpr int TILE_BYTES = TILE * 80; /* of one operand and step, padding included; SHARED_PER_ROW of launch/product.ts depends on it */

typedef unsigned char *shared_tiles;
#define SHARED_TILES(name) extern __shared__ __align__(16) unsigned char name[]

/* The part of a step of one operand: [row][term], or [term][row]. Its rows are padded, so that 16-byte chunks at the same position
 * of eight rows are in different banks. */
template <class Operand> struct layout {
  static constexpr int pitch = Operand::along_terms ? STEP + CHUNK : TILE + 8;
  static constexpr int chunks = (Operand::along_terms ? STEP : TILE) / CHUNK; /* per row */
  static constexpr int per_thread = TILE * STEP / CHUNK / TILE_THREADS;
};

/* The part of one operand that the calling thread copies to shared memory: the same rows in every step. */
template <class Operand> struct supply {
  typedef layout<Operand> shape;
  const Operand &of;
  int row0, rows;
  typename Operand::row_place places[shape::per_thread];

  /* Row and term, within the tile, of chunk i of the thread. */
  static __device__ __forceinline__ int line(int i) { return ((int)threadIdx.x + i * TILE_THREADS) / shape::chunks; }
  static __device__ __forceinline__ int along(int i) { return ((int)threadIdx.x + i * TILE_THREADS) % shape::chunks * CHUNK; }
  static __device__ __forceinline__ int row_of(int i) { return Operand::along_terms ? line(i) : along(i); }
  static __device__ __forceinline__ int term_of(int i) { return Operand::along_terms ? along(i) : line(i); }

  __device__ __forceinline__ supply(const Operand &operand, int first_row, int row_count) : of(operand), row0(first_row), rows(row_count) {
#pragma unroll
    for (int i = 0; i < shape::per_thread; i++) places[i] = of.place(row0 + row_of(i));
  }

  /* Copies terms [first, first + STEP), with zeros from `end` on. */
  __device__ __forceinline__ void fill(real *tile, int first, int end) const {
#pragma unroll
    for (int i = 0; i < shape::per_thread; i++) {
      int row = row0 + row_of(i), term = first + term_of(i);
      real *to = tile + line(i) * shape::pitch + along(i);
      if (of.chunked) {
        const real *from = row < rows && term < end ? of.at(places[i], term) : 0;
        copy_async(to, from ? from : of.elements, from != 0);
      } else {
#pragma unroll 1
        for (int e = 0; e < CHUNK; e++) {
          int r = row + (Operand::along_terms ? 0 : e), t = term + (Operand::along_terms ? e : 0);
          const real *from = r < rows && t < end ? of.at(of.place(r), t) : 0;
          if (from) to[e] = *from;
          else to[e] = 0.0f;
        }
      }
    }
  }
};

/* The fragment of 16 rows x FRAGMENT terms from (row, term) on. For the left operand it serves one matrix instruction. For the
 * right operand, whose matrices are ordered by terms first, it serves two: words 0 and 1, words 2 and 3. */
template <bool LEFT, class Operand> DEVICE void fragment(u32 (&out)[4], const real *tile, int row, int term) {
  constexpr int pitch = layout<Operand>::pitch;
  int lane = threadIdx.x % 32, matrix = lane / 8, within = lane % 8;
  int lower = LEFT ? matrix % 2 : matrix / 2, later = LEFT ? matrix / 2 : matrix % 2;
  if (Operand::along_terms) load_matrices(out, tile + (row + lower * 8 + within) * pitch + term + later * CHUNK);
#ifdef STORAGE_BF16
  else load_matrices_transposed(out, tile + (term + later * CHUNK + within) * pitch + row + lower * 8);
#else
  else {
    const real *mine = tile + (term + lane % 4) * pitch + row + lane / 4;
#pragma unroll
    for (int i = 0; i < 4; i++) out[i] = __float_as_uint(mine[(LEFT ? i / 2 : i % 2) * CHUNK * pitch + (LEFT ? i % 2 : i / 2) * 8]);
  }
#pragma unroll
  for (int i = 0; i < 4; i++) out[i] = tf32_of(__uint_as_float(out[i]));
#endif
}

DEVICE void multiply(float (&sum)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#ifdef STORAGE_BF16
  multiply_bf16(sum, a, b0, b1);
#else
  multiply_tf32(sum, a, b0, b1);
#endif
}

/* Writes the rows in a buffer: 16 from row0 on, and 32 columns from column0 on. */
DEVICE void write_rows(const row_buffer &buffer, int row0, int rows, int column0, const output &c) {
  int lane = threadIdx.x % 32;
  if (!c.chunked()) {
    int column = column0 + lane;
#pragma unroll 1
    for (int i = 0; i < 16 && row0 + i < rows; i++) {
      if (column >= c.columns) break;
      several<float, 1> bias;
      addends<1> more;
      c.load(bias, column), c.load(more, row0 + i, column);
      c.store(row0 + i, column, *(const several<float, 1> *)(buffer.at(i, lane / 4) + lane % 4 * 4), bias, more);
    }
    return;
  }
  /* A lane has eight columns of two rows. */
  int row = row0 + lane / 4, column = column0 + lane % 4 * 8;
  if (column >= c.columns) return;
  several<float, 8> bias;
  c.load(bias, column);
  addends<8> more[2];
#pragma unroll
  for (int i = 0; i < 2; i++)
    if (row + 8 * i < rows) c.load(more[i], row + 8 * i, column);
#pragma unroll
  for (int i = 0; i < 2; i++) {
    several<float, 8> sum;
#pragma unroll
    for (int half = 0; half < 2; half++)
      ((several<float, 4> *)&sum)[half] = *(const several<float, 4> *)buffer.at(lane / 4 + 8 * i, lane % 4 * 2 + half);
    if (row + 8 * i < rows) c.store(row + 8 * i, column, sum, bias, more[i]);
  }
}

/* Computes the tile of C at (row0, column0) over terms [begin, end) and writes it to C. The whole block must call it. */
template <class Left, class Right>
DEVICE void tile_product(shared_tiles shared, int row0, int column0, int rows, int columns, int begin, int end,
                         const Left &left, const Right &right, const output &c) {
  constexpr int across = TILE / WARP_COLUMNS;
  int warp = threadIdx.x / 32;
  int warp_row = warp / across * WARP_ROWS, warp_column = warp % across * WARP_COLUMNS;
  supply<Left> left_supply(left, row0, rows);
  supply<Right> right_supply(right, column0, columns);
  auto tile = [&](int step, int operand) { return (real *)(shared + (step % STAGES * 2 + operand) * TILE_BYTES); };
  int steps = ceil_div(end - begin, STEP);
  auto fill = [&](int step) {
    if (step < steps) {
      left_supply.fill(tile(step, 0), begin + step * STEP, end);
      right_supply.fill(tile(step, 1), begin + step * STEP, end);
    }
    copy_async_commit();
  };

  float sum[WARP_ROWS / 16][WARP_COLUMNS / 8][4] = {};
  for (int step = 0; step < STAGES - 1; step++) fill(step);
  for (int step = 0; step < steps; step++) {
    copy_async_wait<STAGES - 2>();
    /* Every thread has copied its part of the step, and every warp has finished the previous one, whose stage is filled next. */
    __syncthreads();
    fill(step + STAGES - 1);
#pragma unroll
    for (int term = 0; term < STEP; term += FRAGMENT) {
      u32 a[WARP_ROWS / 16][4], b[WARP_COLUMNS / 16][4];
#pragma unroll
      for (int i = 0; i < WARP_ROWS / 16; i++) fragment<true, Left>(a[i], tile(step, 0), warp_row + i * 16, term);
#pragma unroll
      for (int j = 0; j < WARP_COLUMNS / 16; j++) fragment<false, Right>(b[j], tile(step, 1), warp_column + j * 16, term);
#pragma unroll
      for (int i = 0; i < WARP_ROWS / 16; i++)
#pragma unroll
        for (int j = 0; j < WARP_COLUMNS / 8; j++) multiply(sum[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
  }

  /* The memory of the stages is reused once all warps have read the last of them. */
  __syncthreads();
  row_buffer buffer = {shared + warp * BUFFER_BYTES};
  int first = row0 + warp_row, column = column0 + warp_column;
#pragma unroll
  for (int i = 0; i < WARP_ROWS / 16; i++) {
    put_sums(buffer, sum[i][0]);
    __syncwarp();
    write_rows(buffer, first + i * 16, rows, column, c);
    __syncwarp();
  }
}

#endif
