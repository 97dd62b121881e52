/* Convolution of [N, H, W, Cin] with weights [Cout, kh, kw, Cin], and its gradients, as matrix products over patches that are
 * read in place (implicit GEMM).
 */
#include "patches.cuh"

/* A pixel of an image, or the first pixel of the patch of an output pixel, which may be outside the image. */
struct spot {
  size_t image; /* first pixel of the sample */
  int y, x;
};

/* Patches of an image: rows are output pixels, terms are taps and input channels. */
struct patches {
  static constexpr bool along_terms = true;
  image elements;
  conv g;
  bool chunked;

  typedef spot row_place;
  __device__ __forceinline__ spot place(int pixel) const {
    int column = pixel % g.out_w, line = pixel / g.out_w, row = line % g.out_h;
    return {(size_t)(line / g.out_h) * (size_t)(g.h * g.w), row * g.stride_y - g.pad_y, column * g.stride_x - g.pad_x};
  }
  __device__ __forceinline__ const real *at(const spot &from, int term) const {
    int tap = term / g.in, channel = term % g.in, y = from.y + tap / g.kw, x = from.x + tap % g.kw;
    if (y < 0 || y >= g.h || x < 0 || x >= g.w) return 0;
    return elements.at(from.image + (size_t)(y * g.w + x), channel);
  }
};

/* The elements of dy that an input pixel contributes to: rows are input pixels, terms are taps and output channels. */
struct upstream {
  static constexpr bool along_terms = true;
  const real *elements;
  conv g;
  bool chunked;

  typedef spot row_place;
  __device__ __forceinline__ spot place(int pixel) const {
    int column = pixel % g.w, line = pixel / g.w;
    return {(size_t)(line / g.h) * (size_t)(g.out_h * g.out_w), line % g.h + g.pad_y, column + g.pad_x};
  }
  __device__ __forceinline__ const real *at(const spot &from, int term) const {
    int tap = term / g.out, channel = term % g.out;
    /* The output pixel whose patch has this pixel at that tap, if there is one: one in `stride` positions. */
    int y = from.y - tap / g.kw, x = from.x - tap % g.kw;
    if (y < 0 || x < 0 || y % g.stride_y || x % g.stride_x) return 0;
    y /= g.stride_y, x /= g.stride_x;
    if (y >= g.out_h || x >= g.out_w) return 0;
    return elements + (from.image + (size_t)(y * g.out_w + x)) * (size_t)g.out + channel;
  }
};

/* Weights for the input gradient: rows are input channels, terms are taps and output channels. */
struct weights_by_input {
  static constexpr bool along_terms = false;
  const real *elements;
  conv g;
  bool chunked;

  typedef int row_place;
  __device__ __forceinline__ int place(int channel) const { return channel; }
  __device__ __forceinline__ const real *at(int channel, int term) const {
    int tap = term / g.out, out = term % g.out;
    return elements + ((size_t)out * (size_t)(g.kh * g.kw) + (size_t)tap) * (size_t)g.in + channel;
  }
};

/* The kernel argument `chunked`: 1 for the left operand of the product, 2 for the right. */

/* In tf32 on sm_80, tiles of 128 need more registers than two blocks leave each other. */
constexpr int FORWARD_BLOCKS = TILE == 128 && sizeof(real) == 4 && __CUDA_ARCH__ < 900 ? 1 : 0;

/* y = scale (conv(x, w) + bias + add + residual); bias [Cout], add [N, Cout] and residual may be 0. The last channels of the image, from
 * number part0 on, are those of `second`. */
KERNEL __launch_bounds__(TILE_THREADS, FORWARD_BLOCKS) conv_forward(const real *x, const real *w, real *y, const float *bias, const real *add,
                                                    const real *residual, const int *table, float scale, int chunked,
                                                    const real *second, int part0) {
  SHARED_TILES(shared);
  conv g = conv_of(table);
  int terms = g.kh * g.kw * g.in, pixels = g.out_h * g.out_w;
  tile_product(shared, first_row(blockIdx.x, g.out), first_column(blockIdx.x, g.out), g.n * pixels, g.out, 0, terms,
               patches{{x, second, part0, g.in - part0}, g, (chunked & 1) != 0}, row_major{w, terms, (chunked & 2) != 0},
               {y, g.out, false, bias, add, pixels, residual, scale});
}

/* dx = scale times the sum over taps and output channels of dy w */
KERNEL __launch_bounds__(TILE_THREADS) conv_input_gradient(const real *dy, const real *w, real *dx, const int *table, float scale,
                                                           int chunked) {
  SHARED_TILES(shared);
  conv g = conv_of(table);
  tile_product(shared, first_row(blockIdx.x, g.in), first_column(blockIdx.x, g.in), g.n * g.h * g.w, g.in, 0,
               g.kh * g.kw * g.out, upstream{dy, g, (chunked & 1) != 0}, weights_by_input{w, g, (chunked & 2) != 0},
               {dx, g.in, false, 0, 0, 1, 0, scale});
}

/* partials [parts][Cout, kh, kw, Cin]: each part sums one run of `run` output pixels */
KERNEL __launch_bounds__(TILE_THREADS, 1) conv_weight_gradient(const real *x, const real *dy, float *partials, const int *table,
                                                            int run, int chunked, const real *second, int part0) {
  SHARED_TILES(shared);
  conv g = conv_of(table);
  int terms = g.kh * g.kw * g.in, pixels = g.n * g.out_h * g.out_w, begin = (int)blockIdx.y * run;
  float *to = partials + (size_t)blockIdx.y * (size_t)g.out * (size_t)terms;
  tile_product(shared, first_row(blockIdx.x, terms), first_column(blockIdx.x, terms), g.out, terms, begin,
               min(pixels, begin + run), column_major{dy, g.out, (chunked & 1) != 0}, patches_by_pixel{{x, second, part0, g.in - part0}, g, (chunked & 2) != 0},
               {to, terms, true});
}
