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

/* ---------------------------------------------------------------- any number of taps, up to 4 */

/* What an output reads: inputs first, first + 1, ... with these weights, where those outside the image repeat its border. */
struct reading {
  int first;
  float weights[4];
};

/* One tap: floor(o H / H'). Four: Keys's cubic convolution with a = -0.75 around the half-pixel centre. */
DEVICE reading reading_of(int o, int extent, int out_extent, int taps) {
  if (taps == 1) return {(int)((u64)o * (u64)extent / (u64)out_extent), {1.0f}};
  double position = ((double)o + 0.5) * ((double)extent / (double)out_extent) - 0.5, a = -0.75;
  int below = (int)position - (position < 0.0 ? 1 : 0); /* floor: position is above -1 */
  double t = position - (double)below, s = 1.0 - t;
  return {below - 1,
          {(float)(((a * (t + 1.0) - 5.0 * a) * (t + 1.0) + 8.0 * a) * (t + 1.0) - 4.0 * a),
           (float)(((a + 2.0) * t - (a + 3.0)) * t * t + 1.0), (float)(((a + 2.0) * s - (a + 3.0)) * s * s + 1.0),
           (float)(((a * (s + 1.0) - 5.0 * a) * (s + 1.0) + 8.0 * a) * (s + 1.0) - 4.0 * a)}};
}

DEVICE int inside(int i, int extent) { return min(max(i, 0), extent - 1); }

/* The first output that reads input i or a later one; inputs never decrease with o. */
DEVICE int first_reader(int i, int extent, int out_extent, int taps) {
  int low = 0, high = out_extent;
  while (low < high) {
    int middle = (low + high) / 2;
    if (inside(reading_of(middle, extent, out_extent, taps).first + taps - 1, extent) < i) low = middle + 1;
    else high = middle;
  }
  return low;
}

/* The weight of input i in an output. */
DEVICE float weight_of(const reading &r, int i, int extent, int taps) {
  float sum = 0.0f;
#pragma unroll
  for (int j = 0; j < 4; j++)
    if (j < taps && inside(r.first + j, extent) == i) sum += r.weights[j];
  return sum;
}

/* y of n elements; table: N, H, W, C, H', W', taps */
KERNEL resize_taps(const float *x, float *y, const int *table, int n) {
  u32 e = thread_number();
  if (e >= (u32)n) return;
  int h = table[1], w = table[2], c = table[3], out_h = table[4], out_w = table[5], taps = table[6];
  u32 pixel = e / (u32)c, line = pixel / (u32)out_w;
  reading v = reading_of((int)(line % (u32)out_h), h, out_h, taps), u = reading_of((int)(pixel % (u32)out_w), w, out_w, taps);
  const float *image = x + (size_t)(line / (u32)out_h) * (size_t)h * (size_t)w * (size_t)c + e % (u32)c;
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if (i >= taps) continue;
    const float *row = image + (size_t)inside(v.first + i, h) * (size_t)w * (size_t)c;
    float part = u.weights[0] * row[(size_t)inside(u.first, w) * (size_t)c];
#pragma unroll
    for (int j = 1; j < 4; j++)
      if (j < taps) part += u.weights[j] * row[(size_t)inside(u.first + j, w) * (size_t)c];
    sum = i == 0 ? v.weights[0] * part : sum + v.weights[i] * part; /* 0 + -0 would be 0 */
  }
  y[e] = sum;
}

/* dx of n elements, with the table of resize_taps */
KERNEL resize_taps_gradient(const float *dy, float *dx, const int *table, int n) {
  u32 e = thread_number();
  if (e >= (u32)n) return;
  int h = table[1], w = table[2], c = table[3], out_h = table[4], out_w = table[5], taps = table[6];
  u32 pixel = e / (u32)c, line = pixel / (u32)w;
  int row = (int)(line % (u32)h), column = (int)(pixel % (u32)w), left = first_reader(column, w, out_w, taps);
  const float *image = dy + (size_t)(line / (u32)h) * (size_t)out_h * (size_t)out_w * (size_t)c + e % (u32)c;
  float sum = 0.0f;
  for (int o = first_reader(row, h, out_h, taps); o < out_h; o++) {
    reading v = reading_of(o, h, out_h, taps);
    if (inside(v.first, h) > row) break;
    float vertical = weight_of(v, row, h, taps);
    for (int p = left; p < out_w; p++) {
      reading u = reading_of(p, w, out_w, taps);
      if (inside(u.first, w) > column) break;
      sum += vertical * weight_of(u, column, w, taps) * image[((size_t)o * (size_t)out_w + (size_t)p) * (size_t)c];
    }
  }
  dx[e] = sum;
}
