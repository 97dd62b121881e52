/* The matrix product behind matmul and convolution: a block of 256 threads makes a TILE x TILE piece of C = A B in shared
 * memory, TILE terms at a time; a thread makes every eighth row of one column. What A and B are is told by functions, so
 * that a convolution reads its patches without writing them out. f32, terms added in order.
 */
#ifndef RECTIFLOW_TILE_CUH
#define RECTIFLOW_TILE_CUH

#include "common.cuh"

#define TILE 32
#define TILE_THREADS 256
#define TILE_ROWS (TILE * TILE / TILE_THREADS)

struct tiles {
  float left[TILE][TILE + 1], right[TILE][TILE];
};

/* Piece (row0, column0) of C, terms [begin, end): a(row, term), b(term, column), write(row, column, sum). Calls of a with
 * row < rows and of b with column < columns only; the whole block must call. */
template <class A, class B, class Write>
DEVICE void tile_product(tiles &shared, int row0, int column0, int rows, int columns, int begin, int end, A a, B b, Write write) {
  int thread = threadIdx.x, tx = thread % TILE, ty = thread / TILE;
  float sum[TILE_ROWS] = {};
  for (int first = begin; first < end; first += TILE) {
    for (int e = thread; e < TILE * TILE; e += TILE_THREADS) {
      int i = e / TILE, j = e % TILE;
      shared.left[i][j] = row0 + i < rows && first + j < end ? a(row0 + i, first + j) : 0.0f;
      shared.right[i][j] = first + i < end && column0 + j < columns ? b(first + i, column0 + j) : 0.0f;
    }
    __syncthreads();
    for (int k = 0; k < TILE; k++) {
      float right = shared.right[k][tx];
#pragma unroll
      for (int r = 0; r < TILE_ROWS; r++) sum[r] += shared.left[ty + r * (TILE / TILE_ROWS)][k] * right;
    }
    __syncthreads();
  }
  if (column0 + tx >= columns) return;
#pragma unroll
  for (int r = 0; r < TILE_ROWS; r++) {
    int row = row0 + ty + r * (TILE / TILE_ROWS);
    if (row < rows) write(row, column0 + tx, sum[r]);
  }
}

#endif
