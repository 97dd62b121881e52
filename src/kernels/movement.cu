/* Copies between strided windows: permute, slice, pad, concat and broadcast all use this loop. One thread per element.
 * table: rank, dims[rank], source strides[rank], target strides[rank], in elements; strides may be negative.
 */
#include "common.cuh"

/* n elements of `size` bytes: 1, 2, 4 or 16 */
KERNEL movement_copy(const void *source, void *target, const int *table, int n, int size) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  int rank = table[0];
  const int *dims = table + 1, *from = dims + rank, *to = from + rank;
  long long s = 0, t = 0;
  for (int axis = rank - 1; axis >= 0; axis--) {
    long long index = i % (u32)dims[axis];
    s += index * from[axis];
    t += index * to[axis];
    i /= (u32)dims[axis];
  }
  if (size == 16) ((uint4 *)target)[t] = ((const uint4 *)source)[s];
  else if (size == 4) ((u32 *)target)[t] = ((const u32 *)source)[s];
  else if (size == 2) ((u16 *)target)[t] = ((const u16 *)source)[s];
  else ((u8 *)target)[t] = ((const u8 *)source)[s];
}

/* y [rows][left + right]: each row is a row of a [rows][left], then one of b [rows][right]; n elements of `size` bytes: 1, 2, 4 or 16 */
KERNEL movement_beside(const void *a, const void *b, void *y, int n, int left, int right, int size) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  u32 width = (u32)(left + right), row = i / width, column = i % width;
  const void *from = column < (u32)left ? a : b;
  size_t s = column < (u32)left ? (size_t)row * (size_t)left + column : (size_t)row * (size_t)right + (column - (u32)left);
  if (size == 16) ((uint4 *)y)[i] = ((const uint4 *)from)[s];
  else if (size == 4) ((u32 *)y)[i] = ((const u32 *)from)[s];
  else if (size == 2) ((u16 *)y)[i] = ((const u16 *)from)[s];
  else ((u8 *)y)[i] = ((const u8 *)from)[s];
}

KERNEL movement_fill(float *y, float value, int n) {
  u32 i = thread_number();
  if (i < (u32)n) y[i] = value;
}

/* y[k] = x[index[k]], rows of `width`; the indices have been checked */
KERNEL movement_gather(const float *x, const int *index, float *y, int n, int width) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  u32 k = i / (u32)width, c = i % (u32)width;
  y[i] = x[(size_t)index[k] * (size_t)width + c];
}

/* dx[index[k]] += dy[k]. A thread owns a column and visits the rows in order, so that the order of additions is fixed. */
KERNEL movement_scatter_add(const float *dy, const int *index, float *dx, int count, int width) {
  u32 c = thread_number();
  if (c >= (u32)width) return;
  for (int k = 0; k < count; k++) dx[(size_t)index[k] * (size_t)width + c] += dy[(size_t)k * (size_t)width + c];
}

KERNEL movement_one_hot(const int *index, float *y, int n, int depth) {
  u32 i = thread_number();
  if (i < (u32)n) y[i] = index[i / (u32)depth] == (int)(i % (u32)depth);
}
