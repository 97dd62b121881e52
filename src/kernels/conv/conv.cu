/* Convolution of [N, H, W, Cin] with weights [Cout, kh, kw, Cin] and its gradients, as matrix products over patches that are
 * read where they are (implicit GEMM).
 */
#include "tile.cuh"

/* table: N, H, W, Cin, H', W', Cout, kh, kw, stride and padding, vertical first */
struct conv {
  int n, h, w, in, out_h, out_w, out, kh, kw, stride_y, stride_x, pad_y, pad_x;
};

DEVICE conv conv_of(const int *t) {
  return {t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12]};
}

/* Element (pixel of the output, tap and input channel) of the patches. */
DEVICE float patch(const conv &g, const float *x, int pixel, int term) {
  int channel = term % g.in, tap = term / g.in;
  int column = pixel % g.out_w, row = pixel / g.out_w % g.out_h, sample = pixel / g.out_w / g.out_h;
  int y = row * g.stride_y - g.pad_y + tap / g.kw, z = column * g.stride_x - g.pad_x + tap % g.kw;
  if (y < 0 || y >= g.h || z < 0 || z >= g.w) return 0.0f;
  return x[(((size_t)sample * g.h + y) * g.w + z) * g.in + channel];
}

/* The piece of C that the calling block makes. */
DEVICE int first_row(int columns) { return (int)(blockIdx.x / (u32)ceil_div(columns, TILE)) * TILE; }
DEVICE int first_column(int columns) { return (int)(blockIdx.x % (u32)ceil_div(columns, TILE)) * TILE; }

/* y = scale (conv(x, w) + bias + add + residual); bias [Cout], add [N, Cout] and residual may be 0 */
KERNEL __launch_bounds__(TILE_THREADS) conv_forward(const float *x, const float *w, float *y, const float *bias,
                                                    const float *add, const float *residual, const int *table, float scale) {
  __shared__ tiles shared;
  conv g = conv_of(table);
  int terms = g.kh * g.kw * g.in;
  tile_product(
      shared, first_row(g.out), first_column(g.out), g.n * g.out_h * g.out_w, g.out, 0, terms,
      [&](int pixel, int term) { return patch(g, x, pixel, term); },
      [&](int term, int channel) { return w[(size_t)channel * terms + term]; },
      [&](int pixel, int channel, float sum) {
        size_t at = (size_t)pixel * g.out + channel;
        if (bias) sum += bias[channel];
        if (add) sum += add[(size_t)(pixel / (g.out_h * g.out_w)) * g.out + channel];
        if (residual) sum += residual[at];
        y[at] = scale * sum;
      });
}

/* dx = scale times the sum over taps and output channels of dy w */
KERNEL __launch_bounds__(TILE_THREADS) conv_input_gradient(const float *dy, const float *w, float *dx, const int *table,
                                                           float scale) {
  __shared__ tiles shared;
  conv g = conv_of(table);
  tile_product(
      shared, first_row(g.in), first_column(g.in), g.n * g.h * g.w, g.in, 0, g.kh * g.kw * g.out,
      [&](int pixel, int term) {
        int channel = term % g.out, tap = term / g.out;
        int column = pixel % g.w, row = pixel / g.w % g.h, sample = pixel / g.w / g.h;
        /* The output pixels whose patch holds this one at that tap: one in `stride`. */
        int y = row + g.pad_y - tap / g.kw, z = column + g.pad_x - tap % g.kw;
        if (y < 0 || z < 0 || y % g.stride_y || z % g.stride_x) return 0.0f;
        y /= g.stride_y, z /= g.stride_x;
        if (y >= g.out_h || z >= g.out_w) return 0.0f;
        return dy[(((size_t)sample * g.out_h + y) * g.out_w + z) * g.out + channel];
      },
      [&](int term, int channel) {
        return w[((size_t)(term % g.out) * (g.kh * g.kw) + term / g.out) * g.in + channel];
      },
      [&](int pixel, int channel, float sum) { dx[(size_t)pixel * g.in + channel] = scale * sum; });
}

/* partials [parts][Cout, kh, kw, Cin]: each of one run of `run` output pixels */
KERNEL __launch_bounds__(TILE_THREADS) conv_weight_gradient(const float *x, const float *dy, float *partials,
                                                            const int *table, int run) {
  __shared__ tiles shared;
  conv g = conv_of(table);
  int terms = g.kh * g.kw * g.in, pixels = g.n * g.out_h * g.out_w, begin = (int)blockIdx.y * run;
  float *to = partials + (size_t)blockIdx.y * g.out * terms;
  tile_product(
      shared, first_row(terms), first_column(terms), g.out, terms, begin, min(pixels, begin + run),
      [&](int channel, int pixel) { return dy[(size_t)pixel * g.out + channel]; },
      [&](int pixel, int term) { return patch(g, x, pixel, term); },
      [&](int channel, int term, float sum) { to[(size_t)channel * terms + term] = sum; });
}
