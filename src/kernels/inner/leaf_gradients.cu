/* Deferred gradients of leaves, many in one launch. A table passed by value has an entry of WORDS words for each; word FIRST of an
 * entry is its first block.
 *   leaf_gradients_add      target, target; terms, terms; n, count, FIRST, scale:  target [n] += scale sum of terms [count][n],
 *                           or if the highest bit of count is set target [n] = that sum
 *   leaf_gradients_rows     target, target; x, x; rows, columns, FIRST, run:       target [runs][columns] = sums of runs of rows
 */
#include "several.cuh"
#include "storage.cuh"

#define WORDS 8
#define FIRST 6
#define TABLE 960

/* The entry of the calling block. */
DEVICE const u32 *entry_of(const words<TABLE> &table, int entries) {
  int low = 0, high = entries - 1;
  while (low < high) {
    int middle = (low + high + 1) / 2;
    if (table.of[middle * WORDS + FIRST] <= blockIdx.x) low = middle;
    else high = middle - 1;
  }
  return table.of + low * WORDS;
}

#define WRITTEN 0x80000000u
#define FOUR 4

/* A block has FOUR elements for each of its threads: neighbours, if they are aligned. */
KERNEL leaf_gradients_add(const __grid_constant__ words<TABLE> table, int entries) {
  const u32 *e = entry_of(table, entries);
  float *target = address_in<float>(e);
  const float *terms = address_in<const float>(e + 2);
  u32 n = e[4], count = e[5] & ~WRITTEN, first = (blockIdx.x - e[FIRST]) * blockDim.x * FOUR;
  bool written = e[5] & WRITTEN;
  double scale = __uint_as_float(e[7]);
  if (n % FOUR == 0 && aligned<FOUR>(target) && aligned<FOUR>(terms)) {
    u32 i = first + threadIdx.x * FOUR;
    if (i >= n) return;
    double sum[FOUR] = {};
#pragma unroll 4
    for (u32 k = 0; k < count; k++) {
      several<float, FOUR> more = at_once<FOUR>(terms + (size_t)k * n + i);
#pragma unroll
      for (int j = 0; j < FOUR; j++) sum[j] += (double)more.of[j];
    }
    several<float, FOUR> all = {};
    if (!written) all = at_once<FOUR>(target + i);
#pragma unroll
    for (int j = 0; j < FOUR; j++) all.of[j] += (float)(sum[j] * scale);
    at_once<FOUR>(target + i) = all;
    return;
  }
#pragma unroll 1
  for (u32 i = first + threadIdx.x; i < min(n, first + blockDim.x * FOUR); i += blockDim.x) {
    double sum = 0;
#pragma unroll 1
    for (u32 k = 0; k < count; k++) sum += (double)terms[(size_t)k * n + i];
    target[i] = (written ? 0.0f : target[i]) + (float)(sum * scale);
  }
}

KERNEL leaf_gradients_rows(const __grid_constant__ words<TABLE> table, int entries) {
  const u32 *e = entry_of(table, entries);
  float *target = address_in<float>(e);
  const real *x = address_in<const real>(e + 2);
  u32 rows = e[4], columns = e[5], run = e[7], i = (blockIdx.x - e[FIRST]) * blockDim.x + threadIdx.x;
  u32 column = i % columns, begin = i / columns * run;
  if (begin >= rows) return;
  u32 end = min(rows, begin + run);
  float sum = 0.0f;
  for (u32 row = begin; row < end; row++) sum += x[(size_t)row * columns + column];
  target[i] = sum;
}
