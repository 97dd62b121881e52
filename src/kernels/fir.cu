/* FIR resampling of [N, H, W, C] as in fir.c, with one thread per output element:
 *   y[o] = sum_j taps[j] z[o down - before + j],   z[i up] = x[i], z = 0 between and outside
 */
#include "storage.cuh"

/* What one output position reads along an axis: inputs first, first + 1, ... with taps tap, tap + up, ... */
struct reach {
  int first, tap, count;
};

DEVICE reach reach_of(int o, int extent, int length, int up, int down, int before) {
  int start = o * down - before;
  int first = start > 0 ? ceil_div(start, up) : 0;
  int tap = first * up - start;
  int under = tap < length ? ceil_div(length - tap, up) : 0;
  return {first, tap, max(0, min(under, extent - first))};
}

/* table: N, H, W, C, H', W', number of taps, up, down, before */
KERNEL fir_resample(const real *x, const float *taps, real *y, const int *table, int n) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  int h = table[1], w = table[2], c = table[3], out_h = table[4], out_w = table[5];
  int length = table[6], up = table[7], down = table[8], before = table[9];
  u32 k = i % (u32)c, column = i / (u32)c % (u32)out_w, row = i / (u32)c / (u32)out_w;
  reach v = reach_of((int)(row % (u32)out_h), h, length, up, down, before);
  reach u = reach_of((int)column, w, length, up, down, before);
  const real *image = x + (size_t)(row / (u32)out_h) * (size_t)h * (size_t)w * (size_t)c + k;
  float sum = 0.0f;
  for (int a = 0; a < v.count; a++) {
    float line = 0.0f;
    for (int b = 0; b < u.count; b++)
      line += taps[u.tap + b * up] * image[((size_t)(v.first + a) * (size_t)w + (size_t)(u.first + b)) * (size_t)c];
    sum += taps[v.tap + a * up] * line;
  }
  y[i] = sum;
}
