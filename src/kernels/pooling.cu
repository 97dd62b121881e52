/* Pooling of [N, H, W, C] as in pooling.c. There is one thread per element of y in the forward pass, and per element of x in the
 * gradients, which are gathered from every window that contains x.
 */
#include "common.cuh"

/* table: N, H, W, C, H', W', kernel, stride and padding (vertical first), whether the mean counts the padding, whether adaptive */
struct pooling {
  int h, w, c, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, with_border, adaptive;
};

DEVICE pooling pooling_of(const int *t) { return {t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12], t[13]}; }

/* An element of [N, h, w, c]. */
struct position {
  int image, row, column, channel;
};

DEVICE position position_of(u32 i, int h, int w, int c) {
  u32 pixel = i / (u32)c, line = pixel / (u32)w;
  return {(int)(line / (u32)h), (int)(line % (u32)h), (int)(pixel % (u32)w), (int)(i % (u32)c)};
}

DEVICE size_t place(int image, int row, int column, int channel, int h, int w, int c) {
  return (((size_t)image * (size_t)h + (size_t)row) * (size_t)w + (size_t)column) * (size_t)c + (size_t)channel;
}

/* The rows and columns of a window that are inside the image. */
struct window {
  int top, bottom, left, right;
};

/* floor(i from / to) and ceil(i from / to); the products are below 2^31 (prepareAdaptive in pooling.ts) */
DEVICE int scaled_down(int i, int from, int to) { return (int)((u32)i * (u32)from / (u32)to); }
DEVICE int scaled_up(int i, int from, int to) { return (int)(((u32)i * (u32)from + (u32)to - 1) / (u32)to); }

DEVICE window window_of(const pooling &p, int row, int column) {
  if (p.adaptive)
    return {scaled_down(row, p.h, p.out_h), scaled_up(row + 1, p.h, p.out_h), scaled_down(column, p.w, p.out_w),
            scaled_up(column + 1, p.w, p.out_w)};
  int top = row * p.stride_h - p.padding_h, left = column * p.stride_w - p.padding_w;
  return {max(top, 0), min(top + p.kernel_h, p.h), max(left, 0), min(left + p.kernel_w, p.w)};
}

DEVICE float share_of(const pooling &p, const window &v) {
  int inside = (v.bottom - v.top) * (v.right - v.left);
  return 1.0f / (float)(p.with_border ? p.kernel_h * p.kernel_w : inside);
}

/* The rows and columns of windows that contain a pixel. */
struct windows {
  int row, end_row, column, end_column;
};

DEVICE int first_window(int position, int kernel, int stride, int padding) {
  int after = position + padding - kernel + 1;
  return after > 0 ? ceil_div(after, stride) : 0;
}
DEVICE int last_window(int position, int stride, int padding, int windows) {
  return min((position + padding) / stride + 1, windows);
}

DEVICE windows windows_of(const pooling &p, const position &at) {
  if (p.adaptive)
    return {scaled_down(at.row, p.out_h, p.h), scaled_up(at.row + 1, p.out_h, p.h), scaled_down(at.column, p.out_w, p.w),
            scaled_up(at.column + 1, p.out_w, p.w)};
  return {first_window(at.row, p.kernel_h, p.stride_h, p.padding_h), last_window(at.row, p.stride_h, p.padding_h, p.out_h),
          first_window(at.column, p.kernel_w, p.stride_w, p.padding_w), last_window(at.column, p.stride_w, p.padding_w, p.out_w)};
}

/* y of n elements = the maximum of its window; NaN propagates */
KERNEL pooling_max(const float *x, float *y, const int *table, int n) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  pooling p = pooling_of(table);
  position o = position_of(i, p.out_h, p.out_w, p.c);
  window v = window_of(p, o.row, o.column);
  float largest = -infinity();
  for (int row = v.top; row < v.bottom; row++)
    for (int column = v.left; column < v.right; column++) {
      float value = x[place(o.image, row, column, o.channel, p.h, p.w, p.c)];
      if (value > largest || value != value) largest = value;
    }
  y[i] = largest;
}

/* y of n elements = the mean of its window */
KERNEL pooling_mean(const float *x, float *y, const int *table, int n) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  pooling p = pooling_of(table);
  position o = position_of(i, p.out_h, p.out_w, p.c);
  window v = window_of(p, o.row, o.column);
  float sum = 0.0f;
  for (int row = v.top; row < v.bottom; row++)
    for (int column = v.left; column < v.right; column++) sum += x[place(o.image, row, column, o.channel, p.h, p.w, p.c)];
  y[i] = sum * share_of(p, v);
}

/* Whether x equals the maximum `largest` of a window, or both are NaN. */
DEVICE bool wins(float x, float largest) { return x == largest || (x != x && largest != largest); }

/* Whether no earlier pixel of the window wins too: on ties, the first one gets the gradient. */
DEVICE bool first_of(const pooling &p, const float *x, const position &at, const window &v, float largest) {
  for (int row = v.top; row <= at.row; row++) {
    int end = row < at.row ? v.right : at.column;
    for (int column = v.left; column < end; column++)
      if (wins(x[place(at.image, row, column, at.channel, p.h, p.w, p.c)], largest)) return false;
  }
  return true;
}

/* out of n elements = the element of `tangent` where x is the first of its window that equals the maximum y */
KERNEL pooling_max_tangent(const float *x, const float *y, const float *tangent, float *out, const int *table, int n) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  pooling p = pooling_of(table);
  position o = position_of(i, p.out_h, p.out_w, p.c);
  window v = window_of(p, o.row, o.column);
  float largest = y[i], result = 0.0f;
  bool found = false;
  for (int row = v.top; row < v.bottom && !found; row++)
    for (int column = v.left; column < v.right && !found; column++) {
      size_t from = place(o.image, row, column, o.channel, p.h, p.w, p.c);
      if (wins(x[from], largest)) result = tangent[from], found = true;
    }
  out[i] = result;
}

/* dx of n elements = sum of dy over the windows whose maximum x is */
KERNEL pooling_max_gradient(const float *x, const float *y, const float *dy, float *dx, const int *table, int n) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  pooling p = pooling_of(table);
  position at = position_of(i, p.h, p.w, p.c);
  windows over = windows_of(p, at);
  float sum = 0.0f;
  for (int row = over.row; row < over.end_row; row++)
    for (int column = over.column; column < over.end_column; column++) {
      size_t o = place(at.image, row, column, at.channel, p.out_h, p.out_w, p.c);
      if (wins(x[i], y[o]) && first_of(p, x, at, window_of(p, row, column), y[o])) sum += dy[o];
    }
  dx[i] = sum;
}

/* dx of n elements = sum of dy / count over the windows that contain x */
KERNEL pooling_mean_gradient(const float *dy, float *dx, const int *table, int n) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  pooling p = pooling_of(table);
  position at = position_of(i, p.h, p.w, p.c);
  windows over = windows_of(p, at);
  float sum = 0.0f;
  for (int row = over.row; row < over.end_row; row++)
    for (int column = over.column; column < over.end_column; column++)
      sum += dy[place(at.image, row, column, at.channel, p.out_h, p.out_w, p.c)] * share_of(p, window_of(p, row, column));
  dx[i] = sum;
}
