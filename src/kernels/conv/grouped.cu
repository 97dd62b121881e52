/* Convolutions of [N, H, W, Cin] with weights [Cout, kh, kw, Cin / groups] that have groups or a dilation, as direct sums: one thread
 * per element of the output or of the input gradient, one warp per element of the weight gradient and RUN output pixels.
 */
#include "storage.cuh"
#include "table.cuh"
#include "warp.cuh"

/* The sizes that table.cuh leaves out, and channels of a group. */
struct grouping {
  int dilation_y, dilation_x, groups, in, out;
};

DEVICE grouping grouping_of(const int *t, const conv &g) { return {t[13], t[14], t[15], g.in / t[15], g.out / t[15]}; }

/* An element of [N, h, w, channels]. */
struct position {
  int sample, row, column, channel;
};

DEVICE position position_of(u32 i, int h, int w, int channels) {
  u32 pixel = i / (u32)channels, line = pixel / (u32)w;
  return {(int)(line / (u32)h), (int)(line % (u32)h), (int)(pixel % (u32)w), (int)(i % (u32)channels)};
}

DEVICE size_t place(int sample, int row, int column, int h, int w, int channels) {
  return (((size_t)sample * (size_t)h + (size_t)row) * (size_t)w + (size_t)column) * (size_t)channels;
}

/* y of n elements = scale (conv(x, w) + bias + add + residual); bias [Cout], add [N, Cout] and residual may be 0 */
KERNEL conv_grouped_forward(const real *x, const real *w, real *y, const float *bias, const real *add, const real *residual,
                            const int *table, float scale, int n) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  conv g = conv_of(table);
  grouping d = grouping_of(table, g);
  position o = position_of(i, g.out_h, g.out_w, g.out);
  const real *weights = w + (size_t)o.channel * (size_t)(g.kh * g.kw) * (size_t)d.in;
  float sum = 0.0f;
  for (int ky = 0; ky < g.kh; ky++) {
    int row = o.row * g.stride_y - g.pad_y + ky * d.dilation_y;
    if (row < 0 || row >= g.h) continue;
    for (int kx = 0; kx < g.kw; kx++) {
      int column = o.column * g.stride_x - g.pad_x + kx * d.dilation_x;
      if (column < 0 || column >= g.w) continue;
      const real *from = x + place(o.sample, row, column, g.h, g.w, g.in) + (size_t)(o.channel / d.out * d.in);
      const real *tap = weights + (size_t)(ky * g.kw + kx) * (size_t)d.in;
      for (int c = 0; c < d.in; c++) sum += (float)from[c] * (float)tap[c];
    }
  }
  if (bias) sum += bias[o.channel];
  if (add) sum += add[(size_t)o.sample * (size_t)g.out + (size_t)o.channel];
  if (residual) sum += residual[i];
  y[i] = scale * sum;
}

/* dx of n elements = scale times the sum over taps and output channels of the group of dy w */
KERNEL conv_grouped_input_gradient(const real *dy, const real *w, real *dx, const int *table, float scale, int n) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  conv g = conv_of(table);
  grouping d = grouping_of(table, g);
  position at = position_of(i, g.h, g.w, g.in);
  int first = at.channel / d.in * d.out, taps = g.kh * g.kw;
  float sum = 0.0f;
  for (int ky = 0; ky < g.kh; ky++) {
    int row = at.row + g.pad_y - ky * d.dilation_y;
    if (row < 0 || row % g.stride_y || row / g.stride_y >= g.out_h) continue;
    for (int kx = 0; kx < g.kw; kx++) {
      int column = at.column + g.pad_x - kx * d.dilation_x;
      if (column < 0 || column % g.stride_x || column / g.stride_x >= g.out_w) continue;
      const real *from = dy + place(at.sample, row / g.stride_y, column / g.stride_x, g.out_h, g.out_w, g.out) + (size_t)first;
      const real *tap = w + ((size_t)first * (size_t)taps + (size_t)(ky * g.kw + kx)) * (size_t)d.in + (size_t)(at.channel % d.in);
      for (int o = 0; o < d.out; o++) sum += (float)from[o] * (float)tap[(size_t)o * (size_t)taps * (size_t)d.in];
    }
  }
  dx[i] = scale * sum;
}

/* partials [parts][Cout, kh, kw, Cin / groups] of n elements: each part sums RUN output pixels; one warp per element */
KERNEL conv_grouped_weight_gradient(const real *x, const real *dy, float *partials, const int *table, int n) {
  u32 i = warp_number();
  if (i >= (u32)n) return;
  conv g = conv_of(table);
  grouping d = grouping_of(table, g);
  int taps = g.kh * g.kw, pixels = g.n * g.out_h * g.out_w;
  u32 size = (u32)g.out * (u32)taps * (u32)d.in, part = i / size, element = i % size;
  int channel = (int)(element % (u32)d.in), tap = (int)(element / (u32)d.in) % taps, o = (int)(element / (u32)d.in) / taps;
  int begin = (int)part * RUN, end = pixels - begin < RUN ? pixels : begin + RUN, input = o / d.out * d.in + channel;
  float sum = 0.0f;
  for (int pixel = begin + lane_number(); pixel < end; pixel += WARP) {
    position p = position_of((u32)pixel, g.out_h, g.out_w, 1);
    int row = p.row * g.stride_y - g.pad_y + tap / g.kw * d.dilation_y;
    int column = p.column * g.stride_x - g.pad_x + tap % g.kw * d.dilation_x;
    if (row < 0 || row >= g.h || column < 0 || column >= g.w) continue;
    sum += (float)dy[(size_t)pixel * (size_t)g.out + (size_t)o] * (float)x[place(p.sample, row, column, g.h, g.w, g.in) + (size_t)input];
  }
  sum = warp_sum(sum);
  if (lane_number() == 0) partials[i] = sum;
}
