/* unfold, as in unfold.c. One thread per element of the result. */
#include "common.cuh"

struct windows {
  int n, h, w, c, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
};

DEVICE windows windows_of(const int *t) {
  return {t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12], t[13]};
}

/* n elements of y */
KERNEL unfold_windows(const float *x, float *y, const int *table, int n) {
  u32 at = thread_number();
  if (at >= (u32)n) return;
  windows u = windows_of(table);
  u32 rest = at;
  int channel = (int)(rest % (u32)u.c);
  rest /= (u32)u.c;
  int j = (int)(rest % (u32)u.kernel_w);
  rest /= (u32)u.kernel_w;
  int i = (int)(rest % (u32)u.kernel_h);
  rest /= (u32)u.kernel_h;
  int column = (int)(rest % (u32)u.out_w);
  rest /= (u32)u.out_w;
  int row = (int)(rest % (u32)u.out_h) * u.stride_h - u.padding_h + i * u.dilation_h;
  int image = (int)(rest / (u32)u.out_h), place = column * u.stride_w - u.padding_w + j * u.dilation_w;
  bool inside = row >= 0 && row < u.h && place >= 0 && place < u.w;
  y[at] = inside ? x[(((size_t)image * (size_t)u.h + row) * (size_t)u.w + place) * (size_t)u.c + channel] : 0.0f;
}

/* n elements of dx; each is the sum over the windows that contain it, in the order of the windows' rows and columns */
KERNEL unfold_gradient(const float *dy, float *dx, const int *table, int n) {
  u32 at = thread_number();
  if (at >= (u32)n) return;
  windows u = windows_of(table);
  u32 pixel = at / (u32)u.c;
  int channel = (int)(at % (u32)u.c), column = (int)(pixel % (u32)u.w);
  int line = (int)(pixel / (u32)u.w % (u32)u.h), image = (int)(pixel / (u32)u.w / (u32)u.h);
  size_t window = (size_t)u.kernel_h * (size_t)u.kernel_w * (size_t)u.c;
  float sum = 0.0f;
  for (int i = 0; i < u.kernel_h; i++) {
    int top = line + u.padding_h - i * u.dilation_h;
    if (top < 0 || top % u.stride_h != 0 || top / u.stride_h >= u.out_h) continue;
    const float *rows = dy + ((size_t)image * (size_t)u.out_h + top / u.stride_h) * (size_t)u.out_w * window;
    for (int j = 0; j < u.kernel_w; j++) {
      int left = column + u.padding_w - j * u.dilation_w;
      if (left < 0 || left % u.stride_w != 0 || left / u.stride_w >= u.out_w) continue;
      sum += rows[(size_t)(left / u.stride_w) * window + (size_t)(i * u.kernel_w + j) * (size_t)u.c + channel];
    }
  }
  dx[at] = sum;
}
