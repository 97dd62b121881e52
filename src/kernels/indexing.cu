/* Elements chosen by index along one axis. x is [outer, rows, inner]; element (o, k, i) of a choice, k < count, is x[o][index][i].
 * With `each`, every element of the choice has its own index, index[o][k][i]; otherwise index[k] serves all o and i.
 * The indices have been checked.
 */
#include "storage.cuh"

DEVICE void copy_element(const void *x, size_t from, void *y, size_t to, int size) {
  if (size == 4) ((u32 *)y)[to] = ((const u32 *)x)[from];
  else if (size == 2) ((u16 *)y)[to] = ((const u16 *)x)[from];
  else ((u8 *)y)[to] = ((const u8 *)x)[from];
}

/* The place in x of element `at` of the choice. */
DEVICE size_t place_of(const int *index, u32 at, int rows, int inner, int count, int each) {
  u32 i = at % (u32)inner, k = at / (u32)inner % (u32)count, o = at / (u32)inner / (u32)count;
  int row = index[each ? at : k];
  return ((size_t)o * (size_t)rows + (size_t)row) * (size_t)inner + i;
}

/* y[o][k][i] = x[o][index][i]; n elements of `size` bytes: 1, 2 or 4 */
KERNEL indexing_take(const void *x, const int *index, void *y, int n, int rows, int inner, int count, int each, int size) {
  u32 at = thread_number();
  if (at < (u32)n) copy_element(x, place_of(index, at, rows, inner, count, each), y, at, size);
}

/* The same for a choice with an index for each element, but 0 where element (o, k, i) does not own the place that it chooses. */
KERNEL indexing_take_owned(const real *x, const int *index, const int *owner, real *y, int n, int rows, int inner, int count) {
  u32 at = thread_number();
  if (at >= (u32)n) return;
  size_t place = place_of(index, at, rows, inner, count, 1);
  y[at] = owner[place] == (int)(at / (u32)inner % (u32)count) ? (float)x[place] : 0.0f;
}

/* y[o][index][i] += values[o][k][i]. A thread owns one of n columns (o, i) and visits k in order, so that the order of additions is
 * fixed. */
KERNEL indexing_add(const real *values, const int *index, float *y, int n, int rows, int inner, int count, int each) {
  u32 column = thread_number();
  if (column >= (u32)n) return;
  size_t o = column / (u32)inner, i = column % (u32)inner;
  for (int k = 0; k < count; k++) {
    size_t at = (o * (size_t)count + (size_t)k) * (size_t)inner + i;
    int row = index[each ? at : (size_t)k];
    y[(o * (size_t)rows + (size_t)row) * (size_t)inner + i] += values[at];
  }
}

KERNEL indexing_no_owners(int *owners, int n) {
  u32 i = thread_number();
  if (i < (u32)n) owners[i] = -1;
}

/* owners[o][r][i], -1 before, becomes the last k of a choice with an index for each of its n elements that chooses the place */
KERNEL indexing_owners(const int *index, int *owners, int n, int rows, int inner, int count) {
  u32 at = thread_number();
  if (at < (u32)n) atomicMax(owners + place_of(index, at, rows, inner, count, 1), (int)(at / (u32)inner % (u32)count));
}

/* y[o][r][i] = values[o][owner][i] where the place has an owner, else x[o][r][i]; n elements of `size` bytes: 1, 2 or 4 */
KERNEL indexing_put(const void *x, const void *values, const int *owner, void *y, int n, int rows, int inner, int count, int size) {
  u32 at = thread_number();
  if (at >= (u32)n) return;
  int k = owner[at];
  size_t o = at / (u32)inner / (u32)rows, i = at % (u32)inner;
  if (k < 0) copy_element(x, at, y, at, size);
  else copy_element(values, (o * (size_t)count + (size_t)k) * (size_t)inner + i, y, at, size);
}

/* y = x where the place has no owner, else 0 */
KERNEL indexing_keep(const real *x, const int *owner, real *y, int n) {
  u32 at = thread_number();
  if (at < (u32)n) y[at] = owner[at] < 0 ? (float)x[at] : 0.0f;
}
