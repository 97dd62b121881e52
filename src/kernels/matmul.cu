/* C = A B for batches of matrices, either operand stored transposed, and a bias for each column. */
#include "tile.cuh"

/* c [batches, m, n] = a [m, k] b [k, n] + bias [n]; bias may be 0. step 0: one matrix for all batches. */
KERNEL __launch_bounds__(TILE_THREADS) matmul_multiply(const float *a, const float *b, const float *bias, float *c, int m, int k,
                                                       int n, int transposed_a, int transposed_b, int step_a, int step_b) {
  __shared__ tiles shared;
  u32 across = (u32)ceil_div(n, TILE), down = (u32)ceil_div(m, TILE), batch = blockIdx.x / across / down;
  a += (size_t)batch * (size_t)step_a * (size_t)m * (size_t)k;
  b += (size_t)batch * (size_t)step_b * (size_t)k * (size_t)n;
  c += (size_t)batch * (size_t)m * (size_t)n;
  tile_product(
      shared, (int)(blockIdx.x / across % down) * TILE, (int)(blockIdx.x % across) * TILE, m, n, 0, k,
      [&](int row, int term) { return transposed_a ? a[(size_t)term * m + row] : a[(size_t)row * k + term]; },
      [&](int term, int column) { return transposed_b ? b[(size_t)column * k + term] : b[(size_t)term * n + column]; },
      [&](int row, int column, float sum) { c[(size_t)row * n + column] = bias ? sum + bias[column] : sum; });
}
