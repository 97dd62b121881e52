/* C = A B for batches of matrices; either operand may be stored transposed, and a bias is added to each column. */
#include "product.cuh"

/* The tile of the calling block of c [batches, m, n] = a [m, k] b [k, n] + bias [n]; bias may be 0. blockIdx.y selects a run of
 * `run` terms, which has its own c. A step of 0 means one matrix for all batches. wide: c is f32 for any storage.
 * chunked: 1 for a, 2 for b. */
template <class Left, class Right>
DEVICE void multiply_batch(shared_tiles shared, Left left, Right right, const float *bias, void *c, int m, int k, int n, int step_a, int step_b,
                           int run, int wide) {
  u32 across = (u32)ceil_div(n, TILE), down = (u32)ceil_div(m, TILE), batch = blockIdx.x / across / down;
  u32 batches = gridDim.x / across / down, block = blockIdx.x % (across * down);
  left.elements += (size_t)batch * (size_t)step_a * (size_t)m * (size_t)k;
  right.elements += (size_t)batch * (size_t)step_b * (size_t)k * (size_t)n;
  size_t to = ((size_t)blockIdx.y * batches + batch) * (size_t)m * (size_t)n;
  int begin = (int)blockIdx.y * run;
  tile_product(shared, first_row(block, n), first_column(block, n), m, n, begin, min(k, begin + run), left, right,
               {element_of(c, wide, to), n, wide != 0, bias});
}

#define ARGUMENTS                                                                                                         \
  const real *a, const real *b, const float *bias, void *c, int m, int k, int n, int step_a, int step_b, int run, int wide, \
      int chunked
#define REST bias, c, m, k, n, step_a, step_b, run, wide

/* a [m, k], b [k, n] */
KERNEL __launch_bounds__(TILE_THREADS) matmul_multiply(ARGUMENTS) {
  SHARED_TILES(shared);
  multiply_batch(shared, row_major{a, k, (chunked & 1) != 0}, column_major{b, n, (chunked & 2) != 0}, REST);
}

/* a [m, k], b [n, k] */
KERNEL __launch_bounds__(TILE_THREADS) matmul_multiply_right_transposed(ARGUMENTS) {
  SHARED_TILES(shared);
  multiply_batch(shared, row_major{a, k, (chunked & 1) != 0}, row_major{b, k, (chunked & 2) != 0}, REST);
}

/* a [k, m], b [k, n] */
KERNEL __launch_bounds__(TILE_THREADS) matmul_multiply_left_transposed(ARGUMENTS) {
  SHARED_TILES(shared);
  multiply_batch(shared, column_major{a, m, (chunked & 1) != 0}, column_major{b, n, (chunked & 2) != 0}, REST);
}
