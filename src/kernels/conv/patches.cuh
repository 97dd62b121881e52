/* A convolution's table, and what weight gradients read of it: patches of x, terms first. */
#ifndef RECTIFLOW_PATCHES_CUH
#define RECTIFLOW_PATCHES_CUH

#include "product.cuh"

/* table: N, H, W, Cin, H', W', Cout, kh, kw, stride and padding, vertical first */
struct conv {
  int n, h, w, in, out_h, out_w, out, kh, kw, stride_y, stride_x, pad_y, pad_x;
};

DEVICE conv conv_of(const int *t) {
  return {t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12]};
}

/* Patches of x: rows are taps and input channels, terms are output pixels. */
struct patches_by_pixel {
  static constexpr bool along_terms = false;
  const real *elements;
  conv g;
  bool chunked;

  struct row_place {
    int y, x, channel;
  };
  __device__ __forceinline__ row_place place(int term) const {
    int tap = term / g.in;
    return {tap / g.kw - g.pad_y, tap % g.kw - g.pad_x, term % g.in};
  }
  __device__ __forceinline__ const real *at(const row_place &tap, int pixel) const {
    int column = pixel % g.out_w, line = pixel / g.out_w, row = line % g.out_h, sample = line / g.out_h;
    int y = row * g.stride_y + tap.y, x = column * g.stride_x + tap.x;
    if (y < 0 || y >= g.h || x < 0 || x >= g.w) return 0;
    return elements + ((size_t)sample * (size_t)(g.h * g.w) + (size_t)(y * g.w + x)) * (size_t)g.in + tap.channel;
  }
};

#endif
