/* The operand of weight gradients: patches of x, with output pixels as terms. */
#ifndef RECTIFLOW_PATCHES_CUH
#define RECTIFLOW_PATCHES_CUH

#include "product.cuh"
#include "table.cuh"

/* Pixels whose channels are in one array, or the first in one and the rest in another. */
struct image {
  const real *first, *second;
  int part0, part1; /* channels of each; part1 is 0 for one array */

  __device__ __forceinline__ const real *at(size_t pixel, int channel) const {
    if (channel < part0) return first + pixel * (size_t)part0 + channel;
    return second + pixel * (size_t)part1 + (channel - part0);
  }
  /* Some address that may be read. */
  __device__ __forceinline__ operator const real *() const { return first; }
};

/* Patches of an image: rows are taps and input channels, terms are output pixels. */
struct patches_by_pixel {
  static constexpr bool along_terms = false;
  image elements;
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
    return elements.at((size_t)sample * (size_t)(g.h * g.w) + (size_t)(y * g.w + x), tap.channel);
  }
};

#endif
