/* unfold: y[n, oh, ow, i, j, c] = x[n, oh stride - padding + i dilation, ow stride - padding + j dilation, c], 0 outside x.
 * The gradient is gathered: a task is one row of x and visits every window that contains it, so that no two tasks add to the
 * same element.
 */
#include "pool.h"

struct windows {
  const float *from;
  float *to;
  int32_t n, h, w, c, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
};

/* table: N, H, W, C, H', W', kernel, stride, padding and dilation, vertical first */
INLINE struct windows windows_of(const float *from, float *to, const int32_t *t) {
  return (struct windows){from, to, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12], t[13]};
}

/* A task is one row of windows. */
static void windows_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct windows *u = context;
  int32_t image = task / u->out_h, top = task % u->out_h * u->stride_h - u->padding_h;
  float *y = u->to + (size_t)task * (size_t)u->out_w * (size_t)u->kernel_h * (size_t)u->kernel_w * (size_t)u->c;
  for (int32_t column = 0; column < u->out_w; column++) {
    int32_t left = column * u->stride_w - u->padding_w;
    for (int32_t i = 0; i < u->kernel_h; i++) {
      int32_t row = top + i * u->dilation_h;
      for (int32_t j = 0; j < u->kernel_w; j++, y += u->c) {
        int32_t place = left + j * u->dilation_w;
        if (row >= 0 && row < u->h && place >= 0 && place < u->w) {
          const float *x = u->from + (((size_t)image * (size_t)u->h + (size_t)row) * (size_t)u->w + (size_t)place) * (size_t)u->c;
          for (int32_t k = 0; k < u->c; k++) y[k] = x[k];
        } else {
          for (int32_t k = 0; k < u->c; k++) y[k] = 0.0f;
        }
      }
    }
  }
}

KERNEL void unfold_windows(const float *x, float *y, const int32_t *table) {
  struct windows u = windows_of(x, y, table);
  pool_run(windows_task, &u, u.n * u.out_h);
}

static void gradient_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct windows *u = context;
  int32_t image = task / u->h, line = task % u->h;
  size_t window = (size_t)u->kernel_h * (size_t)u->kernel_w * (size_t)u->c;
  float *dx = u->to + (size_t)task * (size_t)u->w * (size_t)u->c;
  for (int32_t k = 0; k < u->w * u->c; k++) dx[k] = 0.0f;
  for (int32_t i = 0; i < u->kernel_h; i++) {
    int32_t top = line + u->padding_h - i * u->dilation_h;
    if (top < 0 || top % u->stride_h != 0 || top / u->stride_h >= u->out_h) continue;
    const float *rows = u->from + ((size_t)image * (size_t)u->out_h + (size_t)(top / u->stride_h)) * (size_t)u->out_w * window;
    for (int32_t column = 0; column < u->out_w; column++)
      for (int32_t j = 0; j < u->kernel_w; j++) {
        int32_t place = column * u->stride_w - u->padding_w + j * u->dilation_w;
        if (place < 0 || place >= u->w) continue;
        const float *dy = rows + (size_t)column * window + (size_t)(i * u->kernel_w + j) * (size_t)u->c;
        float *target = dx + (size_t)place * (size_t)u->c;
        for (int32_t k = 0; k < u->c; k++) target[k] += dy[k];
      }
  }
}

KERNEL void unfold_gradient(const float *dy, float *dx, const int32_t *table) {
  struct windows u = windows_of(dy, dx, table);
  pool_run(gradient_task, &u, u.n * u.h);
}
