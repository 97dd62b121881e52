/* Weight gradients of several convolutions in one launch, so that small ones fill a GPU together. A table passed by value has WORDS
 * words for each: the addresses of x, dy, the partial sums, the convolution's table and the last channels of x, two words each; the
 * number of the first channel of those; the terms of a partial sum; which operands are read in chunks (1: dy, 2: x); its first block.
 */
#include "patches.cuh"

#define WORDS 14
#define FIRST 13
#define TABLE 896

/* partials [parts][Cout, kh, kw, Cin] of each convolution: each part sums one run of output pixels */
KERNEL __launch_bounds__(TILE_THREADS) conv_weight_gradients(const __grid_constant__ words<TABLE> table, int entries) {
  SHARED_TILES(shared);
  int which = 0;
  while (which + 1 < entries && table.of[(which + 1) * WORDS + FIRST] <= blockIdx.x) which++;
  const u32 *e = table.of + which * WORDS;
  conv g = conv_of(address_in<const int>(e + 6));
  int terms = g.kh * g.kw * g.in, pixels = g.n * g.out_h * g.out_w, run = (int)e[11], part0 = (int)e[10];
  u32 chunked = e[12], tiles = (u32)ceil_div(g.out, TILE) * (u32)ceil_div(terms, TILE), block = blockIdx.x - e[FIRST];
  int part = (int)(block / tiles), begin = part * run;
  float *to = address_in<float>(e + 4) + (size_t)part * (size_t)g.out * (size_t)terms;
  block %= tiles;
  tile_product(shared, first_row(block, terms), first_column(block, terms), g.out, terms, begin, min(pixels, begin + run),
               column_major{address_in<const real>(e + 2), g.out, (chunked & 1) != 0},
               patches_by_pixel{{address_in<const real>(e), address_in<const real>(e + 8), part0, g.in - part0}, g, (chunked & 2) != 0},
               {to, terms, true});
}
