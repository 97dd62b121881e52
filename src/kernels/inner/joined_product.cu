/* C = sum of dy_e W_e over several pairs, dy_e [m, k_e] and W_e [k_e, n], as one product over the terms of all pairs. A table
 * passed by value has WORDS words for each pair: the addresses of dy and W, two words each; its first term; k_e.
 */
#include "product.cuh"

#define WORDS 6
#define FIRST 4
#define TABLE 576

/* The pair that a term belongs to. */
DEVICE const u32 *pair_of(const u32 *table, int pairs, int term) {
  int low = 0, high = pairs - 1;
  while (low < high) {
    int middle = (low + high + 1) / 2;
    if ((int)table[middle * WORDS + FIRST] <= term) low = middle;
    else high = middle - 1;
  }
  return table + low * WORDS;
}

struct joined_rows {
  static constexpr bool along_terms = true;
  const real *elements;
  const u32 *table;
  int pairs;
  bool chunked;

  typedef int row_place;
  __device__ __forceinline__ int place(int row) const { return row; }
  __device__ __forceinline__ const real *at(int row, int term) const {
    const u32 *e = pair_of(table, pairs, term);
    return address_in<const real>(e) + (size_t)row * (size_t)e[5] + (term - (int)e[FIRST]);
  }
};

struct joined_columns {
  static constexpr bool along_terms = false;
  const real *elements;
  const u32 *table;
  int pairs, columns;
  bool chunked;

  typedef int row_place;
  __device__ __forceinline__ int place(int column) const { return column; }
  __device__ __forceinline__ const real *at(int column, int term) const {
    const u32 *e = pair_of(table, pairs, term);
    return address_in<const real>(e + 2) + (size_t)(term - (int)e[FIRST]) * (size_t)columns + column;
  }
};

/* c [m, n]; if the terms are split into runs (blockIdx.y), each run has its own c, in f32. chunked: 1 for dy, 2 for W. */
KERNEL __launch_bounds__(TILE_THREADS) joined_product(const __grid_constant__ words<TABLE> table, int pairs, void *c, int m, int k, int n, int run,
                                                      int wide, int chunked) {
  SHARED_TILES(shared);
  size_t to = (size_t)blockIdx.y * (size_t)m * (size_t)n;
  int begin = (int)blockIdx.y * run;
  const real *any = address_in<const real>(table.of);
  tile_product(shared, first_row(blockIdx.x, n), first_column(blockIdx.x, n), m, n, begin, min(k, begin + run),
               joined_rows{any, table.of, pairs, (chunked & 1) != 0},
               joined_columns{any, table.of, pairs, n, (chunked & 2) != 0}, {element_of(c, wide, to), n, wide != 0});
}
