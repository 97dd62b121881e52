/* y_e = x W_e^T + b_e for several layers on one x [m, k], W_e [n_e, k]. A table passed by value has WORDS words for each: the
 * addresses of W, bias and y, two words each; n_e; its first block.
 */
#include "product.cuh"

#define WORDS 8
#define FIRST 7
#define TABLE 576

/* chunked: 1 for x, 2 for W */
KERNEL __launch_bounds__(TILE_THREADS) linears_forward(const __grid_constant__ words<TABLE> table, int entries, const real *x, int m, int k, int chunked) {
  SHARED_TILES(shared);
  int which = 0;
  while (which + 1 < entries && table.of[(which + 1) * WORDS + FIRST] <= blockIdx.x) which++;
  const u32 *e = table.of + which * WORDS;
  int n = (int)e[6];
  u32 block = blockIdx.x - e[FIRST];
  tile_product(shared, first_row(block, n), first_column(block, n), m, n, 0, k, row_major{x, k, (chunked & 1) != 0},
               row_major{address_in<const real>(e), k, (chunked & 2) != 0}, {address_in<void>(e + 4), n, false, address_in<const float>(e + 2)});
}
