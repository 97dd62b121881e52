/* The operand of weight gradients: patches of x, with output pixels as terms. */
#ifndef RECTIFLOW_PATCHES_CUH
#define RECTIFLOW_PATCHES_CUH

#include "product.cuh"
#include "table.cuh"

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
