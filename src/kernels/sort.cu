/* Stable sorting along the middle axis of [outer, n, inner], copies by the indices it gives, binary search, and counts of whole
 * numbers. An element is sorted by one number of 64 bits: a key that orders as the value does, then its index, so that equal
 * values keep their order. NaN is greater than all numbers, and -0 equals 0. Rows are padded to a power of two and sorted by a
 * bitonic network (Batcher 1968), whose result does not depend on the order of threads, because the numbers are distinct.
 */
#include "common.cuh"

#define TILE 1024

enum { DESCENDING = 1, WHOLE = 2 };

/* Unsigned numbers in the order of the values: f32, or i32 with WHOLE. */
DEVICE u32 key_of(u32 bits, int flags) {
  u32 key;
  if (flags & WHOLE) key = bits ^ 0x80000000u;
  else if ((bits & 0x7FFFFFFFu) > 0x7F800000u) key = 0xFFFFFFFFu;
  else if ((bits & 0x7FFFFFFFu) == 0) key = 0x80000000u;
  else key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return flags & DESCENDING ? ~key : key;
}

/* keys[row][padded] of the rows [outer, :, inner]; what pads them is the largest number. */
KERNEL sort_keys(const u32 *x, u64 *keys, int count, int n, int inner, int padded, int flags) {
  u32 i = thread_number();
  if (i >= (u32)count) return;
  u32 row = i / (u32)padded, k = i % (u32)padded;
  const u32 *from = x + (size_t)(row / (u32)inner) * (size_t)n * (size_t)inner + row % (u32)inner;
  keys[i] = k < (u32)n ? (u64)key_of(from[(size_t)k * (size_t)inner], flags) << 32 | k : ~0ull;
}

/* Whether the pair that begins at element `low` is sorted in ascending order, in the stage of `size` elements. */
DEVICE bool ascends(u32 low, int padded, int size) { return ((low & (u32)(padded - 1)) & (u32)size) == 0; }

/* The stages of `first` to `last` elements, as far as they stay within a tile of TILE elements. TILE / 2 threads. */
KERNEL sort_tiles(u64 *keys, int count, int padded, int first, int last) {
  __shared__ u64 tile[TILE];
  u32 begin = blockIdx.x * TILE;
  for (u32 i = threadIdx.x; i < TILE; i += TILE / 2) tile[i] = begin + i < (u32)count ? keys[begin + i] : ~0ull;
  for (int size = first; size <= last; size *= 2)
    for (int apart = min(size, TILE) / 2; apart > 0; apart /= 2) {
      __syncthreads();
      u32 low = threadIdx.x / (u32)apart * 2u * (u32)apart + threadIdx.x % (u32)apart, high = low + (u32)apart;
      u64 a = tile[low], b = tile[high];
      if ((a > b) == ascends(begin + low, padded, size)) tile[low] = b, tile[high] = a;
    }
  __syncthreads();
  for (u32 i = threadIdx.x; i < TILE; i += TILE / 2)
    if (begin + i < (u32)count) keys[begin + i] = tile[i];
}

/* One step of the stage of `size` elements, between elements that are `apart`. */
KERNEL sort_step(u64 *keys, int pairs, int padded, int size, int apart) {
  u32 i = thread_number();
  if (i >= (u32)pairs) return;
  u32 low = i / (u32)apart * 2u * (u32)apart + i % (u32)apart, high = low + (u32)apart;
  u64 a = keys[low], b = keys[high];
  if ((a > b) == ascends(low, padded, size)) keys[low] = b, keys[high] = a;
}

/* The first `keep` elements of each row, and their indices in the row; values may be 0 */
KERNEL sort_unpack(const u32 *x, const u64 *keys, u32 *values, int *indices, int count, int n, int inner, int keep, int padded) {
  u32 i = thread_number();
  if (i >= (u32)count) return;
  u32 column = i % (u32)inner, k = i / (u32)inner % (u32)keep, o = i / (u32)inner / (u32)keep;
  u32 index = (u32)keys[((size_t)o * (size_t)inner + column) * (size_t)padded + k];
  indices[i] = (int)index;
  if (values) values[i] = x[((size_t)o * (size_t)n + index) * (size_t)inner + column];
}

/* ---------------------------------------------------------------- copies by index along the middle axis */

/* Where the copy of element i of [outer, keep, inner] is in [outer, n, inner]. */
DEVICE size_t chosen(const int *indices, u32 i, int n, int inner, int keep) {
  size_t o = i / (u32)inner / (u32)keep;
  return (o * (size_t)n + (size_t)indices[i]) * (size_t)inner + i % (u32)inner;
}

/* y[o][k][i] = x[o][indices[o][k][i]][i] */
KERNEL sort_gather(const float *x, const int *indices, float *y, int count, int n, int inner, int keep) {
  u32 i = thread_number();
  if (i < (u32)count) y[i] = x[chosen(indices, i, n, inner, keep)];
}

/* dx[o][indices[o][k][i]][i] = dy[o][k][i]; the indices of a column are distinct, and dx is 0 before */
KERNEL sort_scatter(const float *dy, const int *indices, float *dx, int count, int n, int inner, int keep) {
  u32 i = thread_number();
  if (i < (u32)count) dx[chosen(indices, i, n, inner, keep)] = dy[i];
}

/* ---------------------------------------------------------------- binary search, and counts of whole numbers */

/* out[o][c] = the number of elements of the sorted row o that are less than values[o][c], or with `right` not greater.
 * With `shared` there is one row for all. */
KERNEL sort_search(const u32 *sorted, const u32 *values, int *out, int total, int n, int count, int shared, int right, int flags) {
  u32 i = thread_number();
  if (i >= (u32)total) return;
  const u32 *row = sorted + (shared ? 0 : (size_t)(i / (u32)count) * (size_t)n);
  u32 key = key_of(values[i], flags);
  int low = 0, high = n;
  while (low < high) {
    int middle = low + (high - low) / 2;
    u32 other = key_of(row[middle], flags);
    if (other < key || (right && other == key)) low = middle + 1;
    else high = middle;
  }
  out[i] = low;
}

/* counts[k] = the number of elements that equal k, for k in [0, length); others are not counted. counts is 0 before. */
KERNEL sort_count(const int *x, int *counts, int n, int length) {
  u32 i = thread_number();
  if (i < (u32)n && x[i] >= 0 && x[i] < length) atomicAdd(counts + x[i], 1);
}
