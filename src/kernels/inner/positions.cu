/* The positions of elements that are not zero, in two passes over parts of equal length: the first counts, the second writes. An
 * element of `size` bytes (1, 2 or 4) is not zero if a bit of `mask` is set in it. One thread per part.
 */
#include "warp.cuh"

DEVICE bool is_set(const void *x, int i, int size, u32 mask) {
  u32 bits = size == 4 ? ((const u32 *)x)[i] : size == 2 ? ((const u16 *)x)[i] : ((const u8 *)x)[i];
  return (bits & mask) != 0;
}

/* The end of a part, without overflow. */
DEVICE int end_of(int begin, int n, int part) { return begin + min(part, n - begin); }

KERNEL positions_count(const void *x, int *counts, int n, int size, int mask, int part, int parts) {
  u32 which = thread_number();
  if (which >= (u32)parts) return;
  int begin = (int)which * part, end = end_of(begin, n, part), count = 0;
  for (int i = begin; i < end; i++) count += is_set(x, i, size, (u32)mask);
  counts[which] = count;
}

/* Replaces each count by the sum of those before it, and writes the sum of all; one warp, whose lanes own counts that are adjacent. */
KERNEL positions_offsets(int *counts, int *total, int parts) {
  __shared__ int sums[WARP];
  int lane = lane_number(), each = ceil_div(parts, WARP), begin = min(parts, lane * each), end = min(parts, begin + each), sum = 0;
  for (int i = begin; i < end; i++) sum += counts[i];
  sums[lane] = sum;
  __syncthreads();
  int before = 0;
  for (int i = 0; i < lane; i++) before += sums[i];
  for (int i = begin; i < end; i++) {
    int count = counts[i];
    counts[i] = before;
    before += count;
  }
  if (lane == WARP - 1) total[0] = before;
}

KERNEL positions_write(const void *x, const int *offsets, int *positions, int n, int size, int mask, int part, int parts) {
  u32 which = thread_number();
  if (which >= (u32)parts) return;
  int begin = (int)which * part, end = end_of(begin, n, part);
  int *to = positions + offsets[which];
  for (int i = begin; i < end; i++)
    if (is_set(x, i, size, (u32)mask)) *to++ = i;
}

/* y[k * row + axis * column] = the coordinate of positions[k] along each axis; table: rank, dims[rank] */
KERNEL positions_coordinates(const int *positions, int *y, const int *table, int count, int row, int column) {
  u32 k = thread_number();
  if (k >= (u32)count) return;
  int rest = positions[k];
  for (int axis = table[0] - 1; axis >= 0; axis--) {
    y[(size_t)k * (size_t)row + (size_t)axis * (size_t)column] = rest % table[1 + axis];
    rest /= table[1 + axis];
  }
}
