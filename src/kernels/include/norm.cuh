/* What the kernels of group normalisation share: sizes, operands, and gradients that x has already received. */
#ifndef RECTIFLOW_NORM_CUH
#define RECTIFLOW_NORM_CUH

#include "philox.cuh"
#include "storage.cuh"

enum { RESAMPLE_UP = 1, RESAMPLE_DOWN = 2 };

struct normalisation {
  const real *x0, *x1;
  const float *weight, *bias, *mean, *rstd, *rest; /* [N, groups]; the mean is mean + rest */
  int n, h, w, part0, part1, c, groups, width, resample, silu;
  draw words;
  int threshold;
  float keep_scale;
};

/* table: N, H, W, C of both parts, groups, resample, silu */
DEVICE normalisation norm_of(const real *x0, const real *x1, const float *weight, const float *bias, const float *stats,
                    const int *t) {
  size_t each = (size_t)t[0] * (size_t)t[5];
  normalisation g = {x0, x1, weight, bias, stats, stats + each, stats + 2 * each, t[0], t[1], t[2], t[3], t[4], t[3] + t[4], t[5]};
  g.width = g.c / g.groups;
  g.resample = t[6];
  g.silu = t[7];
  return g;
}

/* The statistics of a group from its first moments around a mean in f32: the rest of the mean, and 1 / sqrt(variance + eps). If
 * squares overflow f32, the result is NaN, not the zeros that a division by infinity would give. */
DEVICE double variance_of(double squared, double rest) {
  double variance = squared - rest * rest;
  if (!(variance < (double)infinity())) return (double)infinity() - (double)infinity();
  return variance < 0 ? 0 : variance;
}
DEVICE float rstd_of(double squared, double rest, float eps) { return (float)(1.0 / sqrt(variance_of(squared, rest) + (double)eps)); }

/* A gradient that x has already received. */
struct earlier {
  const real *x;
  float factor;
  u32 pitch;
};

#define OTHER 4
DEVICE earlier earlier_of(const u32 *words) {
  return {address_in<const real>(words), __uint_as_float(words[2]), words[3]};
}

#endif
