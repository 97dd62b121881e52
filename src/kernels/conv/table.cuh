/* The sizes of a convolution, as written by toTable in shape.ts. */
#ifndef RECTIFLOW_TABLE_CUH
#define RECTIFLOW_TABLE_CUH

#include "common.cuh"

/* table: N, H, W, Cin, H', W', Cout, kh, kw, stride and padding, vertical first */
struct conv {
  int n, h, w, in, out_h, out_w, out, kh, kw, stride_y, stride_x, pad_y, pad_x;
};

DEVICE conv conv_of(const int *t) {
  return {t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12]};
}

#endif
