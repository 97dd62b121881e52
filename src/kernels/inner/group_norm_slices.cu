/* Group normalisation of [N, pixels, C] as in group_norm.cu, for parts of x whose channels are multiples of 8. A block computes a slice
 * of a sample: whole groups, all pixels. A thread has eight neighbouring channels of every rows-th pixel, which it loads and
 * stores 16 bytes at a time (32 in f32), and draws a dropout mask's words once for all eight. Shared memory holds the slice of x, and in
 * backward that of d(loss) / d(h), so that each is computed once. group_norm_chunks.cu is for slices that do not fit.
 */
#include "norm_pixels.cuh"

/* Pixels that a thread loads before it uses the first. */
#define AHEAD 4

/* Blocks that shall fit on a multiprocessor. */
#ifdef STORAGE_BF16
#define BLOCKS 3
#else
#define BLOCKS 2
#endif

/* ---------------------------------------------------------------- forward */

template <int KIND> DEVICE void forward(const sliced &g, float *stats, real *y, float eps) {
  extern __shared__ __align__(16) unsigned char memory[];
  int sample = (int)(blockIdx.y + blockIdx.z * gridDim.y);
  if (sample >= g.n) return;
  share s = share_of(g, sample, (int)blockIdx.x);
  int pixels = g.h * g.w;
  packed *tile = (packed *)memory + s.vector, *end = (packed *)memory + pixels * s.vectors;
  meeting shared = meeting_at(end, g);
  const real *x = (s.second ? g.x1 : g.x0) + (size_t)sample * (size_t)pixels * (size_t)s.pitch + s.place;
  moments<KIND> own;
  start(own, load(x));
  if (s.works) {
    size_t step = (size_t)s.rows * (size_t)s.pitch;
    const real *from = x + (size_t)s.row * (size_t)s.pitch;
    packed *to = tile + s.row * s.vectors;
    int left = pixels - s.row, ahead = s.rows * s.vectors;
#pragma unroll 1
    for (; left > (AHEAD - 1) * s.rows; left -= AHEAD * s.rows, from += AHEAD * step, to += AHEAD * ahead) {
      packed e[AHEAD];
#pragma unroll
      for (int k = 0; k < AHEAD; k++) e[k] = load(from + k * step);
#pragma unroll
      for (int k = 0; k < AHEAD; k++) to[k * ahead] = e[k], add(own, e[k]);
    }
#pragma unroll 1
    for (; left > 0; left -= s.rows, from += step, to += ahead) {
      packed e = load(from);
      *to = e, add(own, e);
    }
  }
  int groups = g.slice / g.width, group = (int)threadIdx.x;
  add_moments(shared, s, own);
  __syncthreads();
  statistic of = {};
  if (group < groups) of = statistic_of(moments_of<KIND>(shared, g, group, pixels), g.inverse, eps);
#ifndef STORAGE_BF16
  if (group < groups) shared.two[group] = of.mean;
  __syncthreads();
  clear(own);
#pragma unroll
  for (int i = 0; i < LUMPS<KIND>; i++) own.about[i] = shared.two[group_at(g, s.local + i * LUMP<KIND>)];
  for (int pixel = s.row; s.works && pixel < pixels; pixel += s.rows) add(own, tile[pixel * s.vectors]);
  add_moments(shared, s, own);
  __syncthreads();
  if (group < groups) of = statistic_of(moments_of<KIND>(shared, g, group, pixels), g.inverse, eps);
#endif
  if (group < groups) {
    shared.two[group] = of.mean, shared.three[group] = of.rest, shared.four[group] = of.rstd;
    size_t each = (size_t)g.n * (size_t)g.groups, to = (size_t)sample * (size_t)g.groups + (size_t)((int)blockIdx.x * groups + group);
    stats[to] = of.mean, stats[each + to] = of.rstd, stats[2 * each + to] = of.rest;
  }
  __syncthreads();
  if (!s.works) return;
  affine<KIND> a = affine_of<KIND>(shared, g, s);
  int resample = KIND >= PLAIN ? 0 : g.resample;
  float v[EIGHT];
  real *to = y + s.channel;
  if (resample == 0) {
    to += ((size_t)sample * (size_t)pixels + (size_t)s.row) * (size_t)g.c;
    size_t step = (size_t)s.rows * (size_t)g.c;
    const packed *from = tile + s.row * s.vectors;
    int pixel = s.row, ahead = s.rows * s.vectors;
    auto give = [&](int at) {
      unpack(*from, v);
      activate<KIND>(g, s, a, at, v);
      store(to, pack(v));
      from += ahead, to += step;
    };
#pragma unroll 1
    for (; pixel + s.rows < pixels; pixel += 2 * s.rows) give(pixel), give(pixel + s.rows);
#pragma unroll 1
    for (; pixel < pixels; pixel += s.rows) give(pixel);
  } else if (resample == RESAMPLE_UP) {
    to += (size_t)sample * (size_t)(4 * pixels) * (size_t)g.c;
    walk place(s.row, s.rows, g.w);
    for (int pixel = s.row; pixel < pixels; pixel += s.rows, place.next()) {
      unpack(tile[pixel * s.vectors], v);
      activate<KIND>(g, s, a, pixel, v);
      store_four(to, g, place, pack(v));
    }
  } else {
    int w = g.w / 2, small = g.h / 2 * w;
    to += (size_t)sample * (size_t)small * (size_t)g.c;
    walk place(s.row, s.rows, w);
    for (int pixel = s.row; pixel < small; pixel += s.rows, place.next()) {
      float total[EIGHT] = {};
      for (int q = 0; q < 4; q++) {
        int from = (2 * place.row + q / 2) * g.w + 2 * place.column + q % 2;
        unpack(tile[from * s.vectors], v);
        activate<KIND>(g, s, a, from, v);
#pragma unroll
        for (int i = 0; i < EIGHT; i++) total[i] += 0.25f * v[i];
      }
      store(to + (size_t)pixel * (size_t)g.c, pack(total));
    }
  }
}

#define FORWARD(name, kind)                                                                                                        \
  KERNEL __launch_bounds__(THREADS, BLOCKS) group_norm_slices_forward##name(                                                       \
      const real *x0, const real *x1, const float *weight, const float *bias, float *stats, real *y,                               \
      const __grid_constant__ words<SIZES> sizes, float eps, const u32 *origin, const __grid_constant__ words<ROUND_KEYS> keys,    \
      int sample_low, int sample_high, int stream, int threshold, float keep_scale) {                                              \
    sliced g = sliced_of(x0, x1, weight, bias, stats, sizes.of);                                                                   \
    set_mask(g, origin, keys.of, sample_low, sample_high, stream, threshold, keep_scale);                                          \
    forward<kind>(g, stats, y, eps);                                                                                               \
  }

/* Computes mean, rstd and the rest of the mean of the groups, then y. */
FORWARD(, FLAGS)
FORWARD(_plain, PLAIN)
FORWARD(_masked, MASKED)

/* ---------------------------------------------------------------- backward */

/* The gradient of a thread's pixels, and those that x has already received there. */
struct pixels_of {
  const real *x;
  real *dx;
  size_t step;
  const eight_floats *d;
  int ahead, left, rows;
};
struct received {
  const real *x;
  size_t step;
  float factor;
};
DEVICE received received_at(const earlier &from, const share &s, size_t position) {
  return {from.x + position * from.pitch + s.place, (size_t)s.rows * from.pitch, from.factor};
}

/* Stores dx and adds it up. */
template <int KIND, int JOINED>
DEVICE void finish(pixels_of p, const affine<KIND> &a, const adjoint<KIND> &b, received one, received two, float (&written)[EIGHT]) {
  auto give = [&](packed e, packed first, packed second) {
    float v[EIGHT], d[EIGHT];
    unpack(e, v), unpack(*p.d, d);
#pragma unroll
    for (int i = 0; i < EIGHT; i++) v[i] -= a.mean[i / LUMP<KIND>];
    packed result = joined<JOINED>(gradient_of(b, v, d), first, one.factor, second, two.factor);
    store(p.dx, result);
    unpack(result, v);
#pragma unroll
    for (int i = 0; i < EIGHT; i++) written[i] += v[i];
    p.dx += p.step, p.d += p.ahead;
  };
  auto next = [](const real *&x, size_t step) {
    packed of = load(x);
    x += step;
    return of;
  };
#pragma unroll 1
  for (; KIND >= PLAIN && p.left > p.rows; p.left -= 2 * p.rows) {
    packed e[2], first[2] = {}, second[2] = {};
#pragma unroll
    for (int k = 0; k < 2; k++) {
      e[k] = next(p.x, p.step);
      if (JOINED > 0) first[k] = next(one.x, one.step);
      if (JOINED > 1) second[k] = next(two.x, two.step);
    }
#pragma unroll
    for (int k = 0; k < 2; k++) give(e[k], first[k], second[k]);
  }
#pragma unroll 1
  for (; p.left > 0; p.left -= p.rows) {
    packed e = next(p.x, p.step), first = {}, second = {};
    if (JOINED > 0) first = next(one.x, one.step);
    if (JOINED > 1) second = next(two.x, two.step);
    give(e, first, second);
  }
}

template <int KIND>
DEVICE void backward(const sliced &g, const real *dy, float *sums, real *dx0, real *dx1, const u32 *others, float *pixel_sums0,
                     float *pixel_sums1, real *rounded_sums0, real *rounded_sums1) {
  extern __shared__ __align__(16) unsigned char memory[];
  int sample = (int)(blockIdx.y + blockIdx.z * gridDim.y);
  if (sample >= g.n) return;
  share s = share_of(g, sample, (int)blockIdx.x);
  int pixels = g.h * g.w;
  eight_floats *tile = (eight_floats *)memory + s.vector; /* the slice of d(loss) / d(h), in f32 */
  meeting shared = meeting_at((eight_floats *)memory + pixels * s.vectors, g);
  bool resamples = KIND < PLAIN && g.resample != 0;
  const real *x = (s.second ? g.x1 : g.x0) + ((size_t)sample * (size_t)pixels + (size_t)s.row) * (size_t)s.pitch + s.place;
  dy += (size_t)sample * (resamples ? resampled_pixels(g) : (size_t)pixels) * (size_t)g.c + s.channel;
  size_t step = (size_t)s.rows * (size_t)s.pitch;
  known_affine<KIND> a = known_affine_of<KIND>(g, s);
  /* Sums of d (x - mean) and of d. */
  float total[2 * EIGHT] = {};
  if (s.works) {
    walk place(s.row, s.rows, g.w);
    const real *from = x, *above = dy + (size_t)s.row * (size_t)g.c;
    size_t step_above = (size_t)s.rows * (size_t)g.c;
    eight_floats *to = tile + s.row * s.vectors;
    int pixel = s.row, ahead = s.rows * s.vectors;
    auto take = [&](packed e, packed f, int at, eight_floats *into) {
      float v[EIGHT], d[EIGHT];
      unpack(e, v);
      if (resamples) resampled(g, dy, place, d), place.next();
      else unpack(f, d);
      upstream<KIND>(g, s, a, at, v, d);
      *into = staged_of(d);
#pragma unroll
      for (int i = 0; i < EIGHT; i++) total[i] += d[i] * v[i], total[EIGHT + i] += d[i];
    };
#pragma unroll 1
    for (; KIND >= PLAIN && pixel + s.rows < pixels; pixel += 2 * s.rows, to += 2 * ahead) {
      packed e[2], f[2];
#pragma unroll
      for (int k = 0; k < 2; k++, from += step, above += step_above) e[k] = load(from), f[k] = load(above);
#pragma unroll
      for (int k = 0; k < 2; k++) take(e[k], f[k], pixel + k * s.rows, to + k * ahead);
    }
#pragma unroll 1
    for (; pixel < pixels; pixel += s.rows, from += step, above += step_above, to += ahead)
      take(load(from), resamples ? packed() : load(above), pixel, to);
  }
  normalise(a, total);
  add_rows(shared, s, total);
  __syncthreads();
  adjoint<KIND> b = adjoint_of<KIND>(shared, g, s, a, sums, true);
  const u32 *first_other = others + (s.second ? 2 * OTHER : 0);
  earlier one = earlier_of(first_other), two = earlier_of(first_other + OTHER);
  float written[EIGHT] = {}; /* sums of dx */
  if (s.works) {
    size_t position = (size_t)sample * (size_t)pixels + (size_t)s.row;
    real *to = (s.second ? dx1 : dx0) + position * (size_t)s.pitch + s.place;
    pixels_of own = {x, to, step, tile + s.row * s.vectors, s.rows * s.vectors, pixels - s.row, s.rows};
    if (!one.x) finish<KIND, 0>(own, a, b, {}, {}, written);
    else if (!two.x) finish<KIND, 1>(own, a, b, received_at(one, s, position), {}, written);
    else finish<KIND, 2>(own, a, b, received_at(one, s, position), received_at(two, s, position), written);
  }
  if (!pixel_sums0) return; /* the same for all threads: either both sums are stored or neither is */
  __syncthreads();
  add_rows<EIGHT, 1>(shared, s, written);
  __syncthreads();
#pragma unroll 1
  for (int i = (int)threadIdx.x; i < g.slice; i += (int)blockDim.x) {
    int channel = s.channel0 + i;
    bool second = channel >= g.part0;
    size_t to = (size_t)sample * (size_t)(second ? g.part1 : g.part0) + (size_t)(second ? channel - g.part0 : channel);
    float whole = warps_total(shared, g.slice, i);
    (second ? pixel_sums1 : pixel_sums0)[to] = whole;
    (second ? rounded_sums1 : rounded_sums0)[to] = whole;
  }
}

#define BACKWARD(name, kind)                                                                                                        \
  KERNEL __launch_bounds__(THREADS, 2) group_norm_slices_backward##name(                                                       \
      const real *x0, const real *x1, const float *weight, const float *bias, const float *stats, const real *dy, float *sums,      \
      real *dx0, real *dx1, const __grid_constant__ words<16> others, float *pixel_sums0, float *pixel_sums1, real *rounded_sums0,  \
      real *rounded_sums1, const __grid_constant__ words<SIZES> sizes, const u32 *origin,                                           \
      const __grid_constant__ words<ROUND_KEYS> keys, int sample_low, int sample_high, int stream, int threshold, float keep_scale) { \
    sliced g = sliced_of(x0, x1, weight, bias, stats, sizes.of);                                                                    \
    set_mask(g, origin, keys.of, sample_low, sample_high, stream, threshold, keep_scale);                                           \
    backward<kind>(g, dy, sums, dx0, dx1, others.of, pixel_sums0, pixel_sums1, rounded_sums0, rounded_sums1);                       \
  }

/* dx, sums and sums over pixels as in group_norm_backward */
BACKWARD(, FLAGS)
BACKWARD(_plain, PLAIN)
BACKWARD(_masked, MASKED)
