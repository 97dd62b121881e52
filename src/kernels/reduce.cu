/* Reductions over the middle axis of [outer, reduce, inner]: sum, max, min, argmax, argmin.
 * Sums add runs of at most RUN terms, and then the sums of runs in double. The shape alone determines the runs.
 */
#include "storage.cuh"
#include "warp.cuh"

/* inner == 1: partial[row][run]; one warp per sum */
KERNEL reduce_sum_rows(const real *x, float *partial, int rows, int reduce, int runs) {
  u32 which = warp_number();
  if (which >= (u32)rows * (u32)runs) return;
  int begin = (int)(which % (u32)runs) * RUN, end = min(reduce, begin + RUN);
  const real *row = x + (size_t)(which / (u32)runs) * (size_t)reduce;
  float sum = 0.0f;
  for (int k = begin + lane_number(); k < end; k += WARP) sum += row[k];
  sum = warp_sum(sum);
  if (lane_number() == 0) partial[which] = sum;
}

enum { STRETCH = 32 };

/* inner > 1: partial[outer][run][inner]; one thread per sum, which adds STRETCH terms at a time in f32 and their sums in double */
KERNEL reduce_sum_columns(const real *x, float *partial, int n, int reduce, int inner, int runs) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  u32 column = i % (u32)inner, run = i / (u32)inner % (u32)runs, o = i / (u32)inner / (u32)runs;
  int begin = (int)run * RUN, end = min(reduce, begin + RUN);
  double total = 0;
  for (int k = begin; k < end;) {
    float sum = 0.0f;
    for (int stretch = min(end, k + STRETCH); k < stretch; k++)
      sum += x[((size_t)o * (size_t)reduce + (size_t)k) * (size_t)inner + column];
    total += sum;
  }
  partial[i] = (float)total;
}

/* y[o][i] = scale * sum over the runs of partial[o][run][i] */
KERNEL reduce_sum_runs(const float *partial, real *y, int n, int inner, int runs, float scale) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  const float *first = partial + (size_t)(i / (u32)inner) * (size_t)runs * (size_t)inner + i % (u32)inner;
  double sum = 0;
  for (int run = 0; run < runs; run++) sum += first[(size_t)run * (size_t)inner];
  y[i] = (float)(sum * scale);
}

/* The extreme of row [o][:][i] and its first index; a NaN counts as the extreme. `beats` compares two numbers. `lanes` threads
 * compute one result: a warp where the elements are neighbours, else one; its first lane stores it. */
#define EXTREME(name, beats)                                                                                      \
  DEVICE bool name##_takes(float next, float best) { return next beats best || (next != next && best == best); } \
  DEVICE float name##_of(const float *x, u32 i, int reduce, int inner, int lanes, int *index) {                   \
    const float *row = x + (size_t)(i / (u32)inner) * (size_t)reduce * (size_t)inner + i % (u32)inner;            \
    int place = lanes == WARP && lane_number() < reduce ? lane_number() : 0;                                      \
    float best = row[(size_t)place * (size_t)inner];                                                              \
    for (int k = place + lanes; k < reduce; k += lanes) {                                                         \
      float next = row[(size_t)k * (size_t)inner];                                                                \
      if (name##_takes(next, best)) best = next, place = k;                                                       \
    }                                                                                                             \
    for (int distance = lanes / 2; distance > 0; distance /= 2) {                                                 \
      float next = __shfl_xor_sync(ALL_LANES, best, distance);                                                    \
      int other = __shfl_xor_sync(ALL_LANES, place, distance);                                                    \
      if (name##_takes(next, best) || (!name##_takes(best, next) && other < place)) best = next, place = other;   \
    }                                                                                                             \
    *index = place;                                                                                               \
    return best;                                                                                                  \
  }                                                                                                               \
  KERNEL reduce_##name##imum(const float *x, float *y, int n, int reduce, int inner, int lanes) {                 \
    u32 i = thread_number() / (u32)lanes;                                                                         \
    if (i >= (u32)n) return;                                                                                      \
    int place;                                                                                                    \
    float value = name##_of(x, i, reduce, inner, lanes, &place);                                                  \
    if (lanes == 1 || lane_number() == 0) y[i] = value;                                                           \
  }                                                                                                               \
  KERNEL reduce_arg##name(const float *x, int *index, int n, int reduce, int inner, int lanes) {                  \
    u32 i = thread_number() / (u32)lanes;                                                                         \
    if (i >= (u32)n) return;                                                                                      \
    int place;                                                                                                    \
    name##_of(x, i, reduce, inner, lanes, &place);                                                                \
    if (lanes == 1 || lane_number() == 0) index[i] = place;                                                       \
  }

EXTREME(max, >)
EXTREME(min, <)
