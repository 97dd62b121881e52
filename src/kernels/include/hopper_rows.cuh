/* The sums of a warpgroup's products, written by rows. A warp has 16 rows of each block of 64. It moves 128 bytes of each row at a
 * time through buffers of its own in shared memory, so that eight lanes read or write whole rows, 16 bytes each. What is added to the
 * sums is copied to such a buffer before it is needed, and read from there in the order of the sums.
 */
#ifndef RECTIFLOW_HOPPER_ROWS_CUH
#define RECTIFLOW_HOPPER_ROWS_CUH

#include "storage.cuh"
#include "row_buffer.cuh"
#include "ptx_hopper.cuh"

constexpr int PIECE_COLUMNS = 128 / sizeof(real); /* columns of a buffer of activations */

/* The rows (for i < 4) and the chunk that the calling lane moves between a buffer and global memory. */
DEVICE int moved_row(int i) { return (int)threadIdx.x % 32 / 8 + 4 * i; }
DEVICE int moved_chunk() { return (int)threadIdx.x % 8; }

/* The address that the calling lane gives for four matrices: 16 rows and the columns from 16 * i on. */
DEVICE unsigned char *matrices_at(const row_buffer &buffer, int i) {
  return buffer.at((int)threadIdx.x % 16, 2 * i + (int)threadIdx.x % 32 / 16);
}

/* Adds the rows in a buffer to the calling thread's sums of PIECE_COLUMNS columns. The whole warp must have filled the buffer. */
DEVICE void add_rows(const row_buffer &buffer, float *sum) {
#pragma unroll
  for (int i = 0; i < PIECE_COLUMNS / 16; i++) {
    u32 pairs[4];
    load_matrices(pairs, matrices_at(buffer, i));
#pragma unroll
    for (int m = 0; m < 4; m++) {
      sum[8 * i + 2 * m] += __uint_as_float(pairs[m] << 16);
      sum[8 * i + 2 * m + 1] += __uint_as_float(pairs[m] & 0xFFFF0000u);
    }
  }
}

/* Rounds scale times the sums of PIECE_COLUMNS columns into a buffer. A thread writes where add_rows has read for it. */
DEVICE void put_rows(const row_buffer &buffer, const float *sum, float scale) {
#pragma unroll
  for (int i = 0; i < PIECE_COLUMNS / 16; i++) {
    u32 pairs[4];
#pragma unroll
    for (int m = 0; m < 4; m++) pairs[m] = bf16_pair(scale * sum[8 * i + 2 * m], scale * sum[8 * i + 2 * m + 1]);
    store_matrices(matrices_at(buffer, i), pairs);
  }
}

/* Stores 16 bytes of each row that the calling lane moves and that is one of the first `rows`. Afterwards the buffer is free.
 * @param to addresses, of which the 16 bytes at `offset` are written */
DEVICE void store_rows(const row_buffer &buffer, unsigned char *const (&to)[4], int offset, int rows) {
  __syncwarp();
  uint4 chunks[4];
#pragma unroll
  for (int i = 0; i < 4; i++) chunks[i] = *(const uint4 *)buffer.at(moved_row(i), moved_chunk());
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (moved_row(i) < rows) *(uint4 *)(to[i] + offset) = chunks[i];
  __syncwarp();
}

#endif
