/* Bilinear resizing of [N, H, W, C] to [N, H', W', C] as in resize.c. There is one thread per element of y in the forward pass,
 * and per element of x in the adjoint, which is gathered from the outputs that x contributes to.
 */
#include "common.cuh"

struct taps {
  int first, second;
  float fraction;
};

DEVICE taps taps_of(int o, int extent, int out_extent) {
  double position = ((double)o + 0.5) * ((double)extent / (double)out_extent) - 0.5;
  if (position < 0.0) position = 0.0;
  int first = min((int)position, extent - 1);
  return {first, min(first + 1, extent - 1), (float)(position - (double)first)};
}

/* The weight of input i in an output. */
DEVICE float share_of(const taps &t, int i) {
  return (t.first == i ? 1.0f - t.fraction : 0.0f) + (t.second == i ? t.fraction : 0.0f);
}

/* The first output whose second tap is i or greater; taps never decrease with o. */
DEVICE int first_output(int i, int extent, int out_extent) {
  int low = 0, high = out_extent;
  while (low < high) {
    int middle = (low + high) / 2;
    if (taps_of(middle, extent, out_extent).second < i) low = middle + 1;
    else high = middle;
  }
  return low;
}

/* y of n elements; table: N, H, W, C, H', W' */
KERNEL resize_bilinear(const float *x, float *y, const int *table, int n) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  int h = table[1], w = table[2], c = table[3], out_h = table[4], out_w = table[5];
  u32 pixel = i / (u32)c, line = pixel / (u32)out_w;
  taps v = taps_of((int)(line % (u32)out_h), h, out_h), u = taps_of((int)(pixel % (u32)out_w), w, out_w);
  const float *image = x + (size_t)(line / (u32)out_h) * (size_t)h * (size_t)w * (size_t)c + i % (u32)c;
  const float *upper = image + (size_t)v.first * (size_t)w * (size_t)c, *lower = image + (size_t)v.second * (size_t)w * (size_t)c;
  size_t left = (size_t)u.first * (size_t)c, right = (size_t)u.second * (size_t)c;
  float a = upper[left] * (1.0f - u.fraction) + upper[right] * u.fraction;
  float b = lower[left] * (1.0f - u.fraction) + lower[right] * u.fraction;
  y[i] = a * (1.0f - v.fraction) + b * v.fraction;
}

/* dx of n elements, with the table of resize_bilinear */
KERNEL resize_bilinear_gradient(const float *dy, float *dx, const int *table, int n) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  int h = table[1], w = table[2], c = table[3], out_h = table[4], out_w = table[5];
  u32 pixel = i / (u32)c, line = pixel / (u32)w;
  int row = (int)(line % (u32)h), column = (int)(pixel % (u32)w), left = first_output(column, w, out_w);
  const float *image = dy + (size_t)(line / (u32)h) * (size_t)out_h * (size_t)out_w * (size_t)c + i % (u32)c;
  float sum = 0.0f;
  for (int o = first_output(row, h, out_h); o < out_h; o++) {
    taps v = taps_of(o, h, out_h);
    if (v.first > row) break;
    float vertical = share_of(v, row);
    for (int p = left; p < out_w; p++) {
      taps u = taps_of(p, w, out_w);
      if (u.first > column) break;
      sum += vertical * share_of(u, column) * image[((size_t)o * (size_t)out_w + (size_t)p) * (size_t)c];
    }
  }
  dx[i] = sum;
}
