/* The matrix product of matmul and convolution: C [rows, columns] = sum over terms of left(row, term) right(column, term).
 * With -DTENSOR_CORES it runs on tensor cores (tensor_tile.cuh), in bf16 or, for f32 storage, in tf32; otherwise it is exact
 * (tile.cuh). An operand defines the addresses of its elements, so that a convolution reads patches without storing them:
 *   along_terms   whether neighbouring terms are adjacent in memory, instead of neighbouring rows
 *   chunked       whether 16 bytes along that axis are always contiguous and aligned, and either all inside or all zero
 *   place(row)    what all terms of a row share;  at(place, term)  the address of an element, or 0 for a zero
 */
#ifndef RECTIFLOW_PRODUCT_CUH
#define RECTIFLOW_PRODUCT_CUH

#include "output.cuh"

/* Row-major [rows, terms]. */
struct row_major {
  static constexpr bool along_terms = true;
  const real *elements;
  int terms;
  bool chunked;

  typedef const real *row_place;
  __device__ __forceinline__ row_place place(int row) const { return elements + (size_t)row * (size_t)terms; }
  __device__ __forceinline__ const real *at(row_place row, int term) const { return row + term; }
};

/* Row-major [terms, rows]. */
struct column_major {
  static constexpr bool along_terms = false;
  const real *elements;
  int rows;
  bool chunked;

  typedef const real *row_place;
  __device__ __forceinline__ row_place place(int row) const { return elements + row; }
  __device__ __forceinline__ const real *at(row_place row, int term) const { return row + (size_t)term * (size_t)rows; }
};

/* The first row and column of the tile that block number `block` computes, for a C of `columns` columns. */
DEVICE int first_row(u32 block, int columns) { return (int)(block / (u32)ceil_div(columns, TILE)) * TILE; }
DEVICE int first_column(u32 block, int columns) { return (int)(block % (u32)ceil_div(columns, TILE)) * TILE; }

#ifdef TENSOR_CORES
#include "tensor_tile.cuh"
#else
#include "tile.cuh"
#endif

#endif
