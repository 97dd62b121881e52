/* What a norm computes at a pixel, forward and backward. */
#ifndef RECTIFLOW_NORM_PIXELS_CUH
#define RECTIFLOW_NORM_PIXELS_CUH

#include "norm_slices.cuh"

/* Which of eight elements are dropped: those whose 16-bit number is below the threshold. */
struct dropped {
  u32 words[4], limit;
};
DEVICE dropped dropped_at(const sliced &g, const share &s, int pixel) {
  dropped of;
  of.limit = g.limit;
  philox_of_keys(g.keys, g.stream, (u32)pixel * (u32)(g.c / EIGHT) + (u32)(s.channel / EIGHT), g.first + (u64)s.sample, of.words);
  return of;
}
DEVICE float kept(const dropped &of, int i, float v) { return (i % 2 ? of.words[i / 2] : of.words[i / 2] << 16) < of.limit ? 0.0f : v; }

/* h = (x - mean) * scale + offset, for a thread's channels */
template <int KIND> struct affine {
  float mean[LUMPS<KIND>], scale[EIGHT], offset[EIGHT];
};

template <int KIND> DEVICE bool is_masked(const sliced &g) { return KIND == MASKED || (KIND == FLAGS && g.threshold); }
template <int KIND> DEVICE bool has_silu(const sliced &g) { return KIND >= PLAIN || g.silu; }

/* That of a norm whose statistics are in m: mean in two, rest in three, rstd in four. */
template <int KIND> DEVICE affine<KIND> affine_of(const meeting &m, const sliced &g, const share &s) {
  affine<KIND> a;
  load_eight(g.weight + s.channel, a.scale), load_eight(g.bias + s.channel, a.offset);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) {
    int lump = i / LUMP<KIND>, group = group_at(g, s.local + lump * LUMP<KIND>);
    a.mean[lump] = m.two[group];
    a.scale[i] *= m.four[group];
    a.offset[i] -= m.three[group] * a.scale[i];
  }
  return a;
}

/* The same in backward, from the statistics in memory. */
template <int KIND> struct known_affine : affine<KIND> {
  float rstd[LUMPS<KIND>], shift[LUMPS<KIND>]; /* x^ = (x - mean) rstd - shift */
};
template <int KIND> DEVICE known_affine<KIND> known_affine_of(const sliced &g, const share &s) {
  known_affine<KIND> a;
  load_eight(g.weight + s.channel, a.scale), load_eight(g.bias + s.channel, a.offset);
#pragma unroll
  for (int i = 0; i < LUMPS<KIND>; i++) {
    size_t group = (size_t)s.sample * (size_t)g.groups + (size_t)group_at(g, s.channel + i * LUMP<KIND>);
    a.mean[i] = g.mean[group], a.rstd[i] = g.rstd[group], a.shift[i] = g.rest[group] * a.rstd[i];
  }
#pragma unroll
  for (int i = 0; i < EIGHT; i++) {
    a.offset[i] -= a.shift[i / LUMP<KIND>] * a.scale[i];
    a.scale[i] *= a.rstd[i / LUMP<KIND>];
  }
  return a;
}

/* dropout(silu(h)) of the thread's channels at a pixel, where v is x */
template <int KIND> DEVICE void activate(const sliced &g, const share &s, const affine<KIND> &a, int pixel, float (&v)[EIGHT]) {
  bool masked = is_masked<KIND>(g);
  float scale = masked ? g.keep_scale : 1.0f, inverse = masked ? g.keep : 1.0f;
#pragma unroll
  for (int i = 0; i < EIGHT; i++) {
    v[i] = (v[i] - a.mean[i / LUMP<KIND>]) * a.scale[i] + a.offset[i];
    v[i] *= has_silu<KIND>(g) ? gate(v[i], scale, inverse) : scale;
  }
  if (!masked) return;
  dropped mask = dropped_at(g, s, pixel);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) v[i] = kept(mask, i, v[i]);
}

/* d(loss) / d(h) at a pixel, and x - mean, from x in `centred` and the gradient of dropout(silu(h)) in d */
template <int KIND>
DEVICE void upstream(const sliced &g, const share &s, const affine<KIND> &a, int pixel, float (&centred)[EIGHT], float (&d)[EIGHT]) {
  bool masked = is_masked<KIND>(g);
  float scale = masked ? g.keep_scale : 1.0f, inverse = masked ? g.keep : 1.0f;
#pragma unroll
  for (int i = 0; i < EIGHT; i++) {
    centred[i] -= a.mean[i / LUMP<KIND>];
    if (!has_silu<KIND>(g)) {
      d[i] *= scale;
      continue;
    }
    float h = centred[i] * a.scale[i] + a.offset[i], slope = gate(h, scale, inverse);
    d[i] *= slope * (1.0f + h * (1.0f - slope * inverse));
  }
  if (!masked) return;
  dropped mask = dropped_at(g, s, pixel);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) d[i] = kept(mask, i, d[i]);
}

/* The pixels of resample(v) for each sample. */
DEVICE size_t resampled_pixels(const sliced &g) {
  size_t pixels = (size_t)(g.h * g.w);
  return g.resample == RESAMPLE_UP ? 4 * pixels : g.resample == RESAMPLE_DOWN ? pixels / 4 : pixels;
}

/* The gradient of resample(v) with respect to v at a pixel; dy: that of the thread's channels at the first pixel of the sample */
DEVICE void resampled(const sliced &g, const real *dy, const walk &place, float (&d)[EIGHT]) {
  size_t c = (size_t)g.c;
  if (g.resample == RESAMPLE_UP) {
    const real *corner = dy + ((size_t)(2 * place.row) * (size_t)(2 * g.w) + (size_t)(2 * place.column)) * c;
    const real *below = corner + (size_t)(2 * g.w) * c;
    packed four[4] = {load(corner), load(corner + c), load(below), load(below + c)};
    float a[EIGHT], b[EIGHT];
    unpack(four[0], d), unpack(four[1], a);
#pragma unroll
    for (int i = 0; i < EIGHT; i++) d[i] += a[i];
    unpack(four[2], a), unpack(four[3], b);
#pragma unroll
    for (int i = 0; i < EIGHT; i++) d[i] += a[i] + b[i];
  } else {
    unpack(load(dy + (size_t)(place.row / 2 * (g.w / 2) + place.column / 2) * c), d);
#pragma unroll
    for (int i = 0; i < EIGHT; i++) d[i] *= 0.25f;
  }
}

/* Stores the same value at the four pixels that a pixel becomes. */
DEVICE void store_four(real *to, const sliced &g, const walk &place, packed value) {
  real *corner = to + ((size_t)(2 * place.row) * (size_t)(2 * g.w) + (size_t)(2 * place.column)) * (size_t)g.c;
  real *below = corner + (size_t)(2 * g.w) * (size_t)g.c;
  store(corner, value), store(corner + g.c, value), store(below, value), store(below + g.c, value);
}

/* dx = scale d + (centred slope + level), plus the gradients that x has already received, each rounded as if it were stored. */
template <int KIND> struct adjoint {
  float scale[EIGHT], slope[LUMPS<KIND>], level[LUMPS<KIND>];
};

/* From the sums of d x^ and of d over pixels, warp by warp in m. If `keep`, they are stored in sums [2][N, C]. All threads must call it. */
template <int KIND>
DEVICE adjoint<KIND> adjoint_of(const meeting &m, const sliced &g, const share &s, const known_affine<KIND> &a, float *sums, bool keep) {
#pragma unroll 1
  for (int i = (int)threadIdx.x; i < g.slice; i += (int)blockDim.x) {
    size_t to = (size_t)s.sample * (size_t)g.c + (size_t)(s.channel0 + i);
    float slope = warps_total(m, 2 * g.slice, i), level = warps_total(m, 2 * g.slice, g.slice + i), weight = g.weight[s.channel0 + i];
    if (keep) sums[to] = slope, sums[(size_t)g.n * (size_t)g.c + to] = level;
    m.one[i] = slope * weight, m.two[i] = level * weight;
  }
  __syncthreads();
  int groups = g.slice / g.width;
#pragma unroll 1
  for (int group = (int)threadIdx.x; group < groups; group += (int)blockDim.x) {
    double slope = 0, level = 0;
    int i = group * g.width, end = i + g.width;
#pragma unroll 1
    do slope += (double)m.one[i], level += (double)m.two[i];
    while (++i < end);
    m.three[group] = (float)(slope * g.inverse), m.four[group] = (float)(level * g.inverse);
  }
  __syncthreads();
  adjoint<KIND> b;
#pragma unroll
  for (int i = 0; i < EIGHT; i++) b.scale[i] = a.scale[i];
#pragma unroll
  for (int i = 0; i < LUMPS<KIND>; i++) {
    int group = group_at(g, s.local + i * LUMP<KIND>);
    float slope = m.three[group];
    b.slope[i] = -a.rstd[i] * (a.rstd[i] * slope), b.level[i] = -a.rstd[i] * (m.four[group] - a.shift[i] * slope);
  }
  return b;
}

/* total: sums of d (x - mean) and of d over a thread's pixels, which become those of d x^ and of d */
template <int KIND> DEVICE void normalise(const known_affine<KIND> &a, float (&total)[2 * EIGHT]) {
#pragma unroll
  for (int i = 0; i < EIGHT; i++) total[i] = total[i] * a.rstd[i / LUMP<KIND>] - total[EIGHT + i] * a.shift[i / LUMP<KIND>];
}

template <int KIND> DEVICE packed gradient_of(const adjoint<KIND> &a, const float (&centred)[EIGHT], const float (&d)[EIGHT]) {
  float v[EIGHT];
#pragma unroll
  for (int i = 0; i < EIGHT; i++) v[i] = d[i] * a.scale[i] + (centred[i] * a.slope[i / LUMP<KIND>] + a.level[i / LUMP<KIND>]);
  return pack(v);
}

DEVICE packed scaled(packed from, float factor) {
  float v[EIGHT];
  unpack(from, v);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) v[i] = __fmul_rn(factor, v[i]);
  return pack(v);
}
template <int JOINED> DEVICE packed joined(packed own, packed first, float factor, packed second, float second_factor) {
  if (JOINED == 0) return own;
  packed more = scaled(first, factor);
  if (JOINED == 2) more = sum_of(more, scaled(second, second_factor));
  return sum_of(own, more);
}

#endif
