/* The exact product: a block of 256 threads computes a TILE x TILE tile of C from shared memory, TILE terms at a time. A thread
 * computes every eighth row of one column, in f32, adding terms in order.
 */
#ifndef RECTIFLOW_TILE_CUH
#define RECTIFLOW_TILE_CUH

#define TILE_THREADS 256
#define TILE_ROWS (TILE * TILE / TILE_THREADS)

struct tiles {
  float left[TILE][TILE + 1], right[TILE][TILE];
};

typedef tiles &shared_tiles;
#define SHARED_TILES(name) __shared__ tiles name

template <class Operand> DEVICE float element(const Operand &of, int row, int term) {
  const real *at = of.at(of.place(row), term);
  return at ? (float)*at : 0.0f;
}

/* Computes the tile of C at (row0, column0) over terms [begin, end) and writes it to C. The whole block must call it. */
template <class Left, class Right>
DEVICE void tile_product(shared_tiles shared, int row0, int column0, int rows, int columns, int begin, int end, const Left &left,
                         const Right &right, const output &c) {
  int thread = threadIdx.x, tx = thread % TILE, ty = thread / TILE;
  float sum[TILE_ROWS] = {};
  for (int first = begin; first < end; first += TILE) {
    for (int e = thread; e < TILE * TILE; e += TILE_THREADS) {
      int i = e / TILE, j = e % TILE;
      shared.left[i][j] = row0 + i < rows && first + j < end ? element(left, row0 + i, first + j) : 0.0f;
      shared.right[i][j] = first + i < end && column0 + j < columns ? element(right, column0 + j, first + i) : 0.0f;
    }
    __syncthreads();
    for (int k = 0; k < TILE; k++) {
      float right_element = shared.right[k][tx];
#pragma unroll
      for (int r = 0; r < TILE_ROWS; r++) sum[r] += shared.left[ty + r * (TILE / TILE_ROWS)][k] * right_element;
    }
    __syncthreads();
  }
  if (column0 + tx >= columns) return;
#pragma unroll
  for (int r = 0; r < TILE_ROWS; r++) {
    int row = row0 + ty + r * (TILE / TILE_ROWS);
    if (row < rows) {
      several<float, 1> bias;
      addends<1> more;
      c.load(bias, column0 + tx), c.load(more, row, column0 + tx);
      c.store<1>(row, column0 + tx, {sum[r]}, bias, more);
    }
  }
}

#endif
