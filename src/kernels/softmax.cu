/* Softmax, log-softmax and cross entropy over rows of n numbers, one warp per row. m = max of the row, s = sum exp(x - m). */
#include "storage.cuh"
#include "warp.cuh"

/* Returns from threads beyond the last row; defines `at`, the first element of the row. */
#define ROW                             \
  u32 row = warp_number();              \
  if (row >= (u32)count) return;        \
  size_t at = (size_t)row * (size_t)n;

DEVICE float row_max(const float *x, int n) {
  float m = -infinity();
  for (int i = lane_number(); i < n; i += WARP) m = x[i] > m ? x[i] : m;
  return warp_max(m);
}

DEVICE float row_sum_exp(const float *x, int n, float m) {
  float sum = 0.0f;
  for (int i = lane_number(); i < n; i += WARP) sum += expf(x[i] - m);
  return warp_sum(sum);
}

/* y = softmax(factor x), rows of n */
KERNEL softmax_forward(const float *x, real *y, int count, int n, float factor) {
  ROW
  float m = -infinity(), sum = 0.0f;
  for (int i = lane_number(); i < n; i += WARP) m = factor * x[at + i] > m ? factor * x[at + i] : m;
  m = warp_max(m);
  for (int i = lane_number(); i < n; i += WARP) sum += expf(factor * x[at + i] - m);
  float scale = 1.0f / warp_sum(sum);
  for (int i = lane_number(); i < n; i += WARP) y[at + i] = expf(factor * x[at + i] - m) * scale;
}

/* dx = scale y (dy - sum(y dy)) */
KERNEL softmax_backward(const real *y, const float *dy, real *dx, int count, int n, float scale) {
  ROW
  float sum = 0.0f;
  for (int i = lane_number(); i < n; i += WARP) sum += y[at + i] * dy[at + i];
  float mean = warp_sum(sum);
  for (int i = lane_number(); i < n; i += WARP) dx[at + i] = scale * y[at + i] * (dy[at + i] - mean);
}

/* A lane has eight neighbours of a row that has at most 256 numbers, a multiple of 8, and is aligned to 16 bytes. */
constexpr int EIGHT = 8;
template <class T> struct alignas(16) eight {
  T of[EIGHT];
};
template <class T> DEVICE eight<T> eight_of(const T *from, bool there) {
  if (there) return *(const eight<T> *)from;
  return {};
}

/* Accurate to f32, or to bf16 if that is stored. */
DEVICE float stored_exp(float x) {
#ifdef STORAGE_BF16
  return fast_exp2(1.44269504f * x);
#else
  return expf(x);
#endif
}

/* softmax_forward for such rows */
KERNEL softmax_forward_short(const float *x, real *y, int count, int n, float factor) {
  ROW
  int first = lane_number() * EIGHT;
  bool there = first < n;
  eight<float> values = eight_of(x + at + first, there);
  eight<real> result;
  float m = -infinity(), sum = 0.0f;
#pragma unroll
  for (int i = 0; i < EIGHT; i++) {
    values.of[i] *= factor;
    if (there && values.of[i] > m) m = values.of[i];
  }
  m = warp_max(m);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) sum += values.of[i] = there ? stored_exp(values.of[i] - m) : 0.0f;
  float scale = 1.0f / warp_sum(sum);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) result.of[i] = values.of[i] * scale;
  if (there) *(eight<real> *)(y + at + first) = result;
}

/* softmax_backward for such rows */
KERNEL softmax_backward_short(const real *y, const float *dy, real *dx, int count, int n, float scale) {
  ROW
  int first = lane_number() * EIGHT;
  bool there = first < n;
  eight<real> values = eight_of(y + at + first, there), result;
  eight<float> slopes = eight_of(dy + at + first, there);
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < EIGHT; i++) sum += values.of[i] * slopes.of[i];
  float mean = warp_sum(sum);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) result.of[i] = scale * values.of[i] * (slopes.of[i] - mean);
  if (there) *(eight<real> *)(dx + at + first) = result;
}

/* y = log softmax(x) */
KERNEL softmax_log_forward(const float *x, float *y, int count, int n) {
  ROW
  float m = row_max(x + at, n), log_sum = logf(row_sum_exp(x + at, n, m));
  for (int i = lane_number(); i < n; i += WARP) y[at + i] = x[at + i] - m - log_sum;
}

/* dx = dy - exp(y) sum(dy) */
KERNEL softmax_log_backward(const float *y, const float *dy, float *dx, int count, int n) {
  ROW
  float sum = 0.0f;
  for (int i = lane_number(); i < n; i += WARP) sum += dy[at + i];
  float total = warp_sum(sum);
  for (int i = lane_number(); i < n; i += WARP) dx[at + i] = dy[at + i] - expf(y[at + i]) * total;
}

/* loss[row] = -log softmax(x)[label]; the labels have been checked */
KERNEL softmax_cross_entropy(const float *x, const int *labels, float *loss, int count, int n) {
  ROW
  float m = row_max(x + at, n), log_sum = logf(row_sum_exp(x + at, n, m));
  if (lane_number() == 0) loss[row] = log_sum - (x[at + labels[row]] - m);
}

/* dx = scale dloss (softmax(x) - onehot(label)); one dloss per row (stride 1) or one for all (stride 0) */
KERNEL softmax_cross_entropy_backward(const float *x, const int *labels, const float *dloss, float *dx, int count, int n,
                                      int stride, float scale) {
  ROW
  float m = row_max(x + at, n), g = dloss[(size_t)row * (size_t)stride] * scale, factor = g / row_sum_exp(x + at, n, m);
  for (int i = lane_number(); i < n; i += WARP) dx[at + i] = expf(x[at + i] - m) * factor - (i == labels[row] ? g : 0.0f);
}
