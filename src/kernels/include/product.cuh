/* The matrix product behind matmul and convolution: C [rows, columns] = sum over terms of left(row, term) right(column, term).
 * -DTENSOR_CORES: on tensor cores (tensor_tile.cuh), of bf16 or, where storage is f32, rounded to tf32; else exact (tile.cuh).
 * An operand says where its elements lie, so that a convolution reads its patches without writing them out:
 *   along_terms   whether elements of neighbouring terms lie side by side, or those of neighbouring rows
 *   chunked       whether 16 bytes along that axis are always in one piece, aligned, and zero or not together
 *   place(row)    what all terms of a row share;  at(place, term)  the element, or 0 for a zero
 */
#ifndef RECTIFLOW_PRODUCT_CUH
#define RECTIFLOW_PRODUCT_CUH

#include "storage.cuh"

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

/* The piece of C that the calling block makes of `columns`, counting blocks from `block`. */
DEVICE int first_row(u32 block, int columns) { return (int)(block / (u32)ceil_div(columns, TILE)) * TILE; }
DEVICE int first_column(u32 block, int columns) { return (int)(block % (u32)ceil_div(columns, TILE)) * TILE; }

#ifdef TENSOR_CORES
#include "tensor_tile.cuh"
#else
#include "tile.cuh"
#endif

#endif
