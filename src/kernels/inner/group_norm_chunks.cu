/* Group normalisation as in group_norm_slices.cu for images whose slice of a sample does not fit into shared memory. The pixels of a sample
 * are divided into chunks, one per block, so that few large images keep a whole card busy. A first kernel writes sums for each
 * chunk; the blocks of a second one add up those of all chunks, in order, and then compute their own chunk.
 */
#include "norm_pixels.cuh"

#define AHEAD 4 /* loads of a thread before the first use */
/* Blocks that shall fit on a multiprocessor in backward. */
#ifdef STORAGE_BF16
#define BLOCKS 2
#else
#define BLOCKS 1
#endif

/* The chunk of the calling block: pixels [first, last). A row of the grid has all slices and chunks of a sample. */
struct chunk_of {
  share s;
  int index, first, last;
  bool none; /* beyond the last sample */
};
DEVICE chunk_of chunk_at(const sliced &g, int chunk, int chunks) {
  chunk_of c;
  int sample = (int)(blockIdx.y + blockIdx.z * gridDim.y);
  c.none = sample >= g.n;
  c.index = (int)blockIdx.x % chunks;
  c.s = share_of(g, sample, (int)blockIdx.x / chunks);
  c.first = c.index * chunk, c.last = min(c.first + chunk, g.h * g.w);
  return c;
}

DEVICE const real *input(const sliced &g, const share &s, int pixel) {
  return (s.second ? g.x1 : g.x0) + ((size_t)s.sample * (size_t)(g.h * g.w) + (size_t)pixel) * (size_t)s.pitch + s.place;
}

/* ---------------------------------------------------------------- forward */

/* Mean of a group in a chunk, and the sum of the squares of the differences from it: [chunks][N, groups]. */
struct spread {
  double mean, squares;
};

DEVICE void add_pixels(moments<FLAGS> &own, const sliced &g, const chunk_of &c) {
  if (!c.s.works) return;
  int pixel = c.first + c.s.row;
#pragma unroll 1
  for (; pixel + (AHEAD - 1) * c.s.rows < c.last; pixel += AHEAD * c.s.rows) {
    packed e[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++) e[k] = load(input(g, c.s, pixel + k * c.s.rows));
#pragma unroll
    for (int k = 0; k < AHEAD; k++) add(own, e[k]);
  }
#pragma unroll 1
  for (; pixel < c.last; pixel += c.s.rows) add(own, load(input(g, c.s, pixel)));
}

KERNEL __launch_bounds__(THREADS, 2) group_norm_chunks_moments(const real *x0, const real *x1, const __grid_constant__ words<SIZES> sizes,
                                                               spread *spreads, int chunk, int chunks) {
  extern __shared__ __align__(16) unsigned char memory[];
  sliced g = sliced_of(x0, x1, 0, 0, 0, sizes.of);
  chunk_of c = chunk_at(g, chunk, chunks);
  if (c.none) return;
  meeting shared = meeting_at(memory, g);
  int groups = g.slice / g.width, group = (int)threadIdx.x, count = c.last - c.first;
  double terms = (double)count * (double)g.width;
  moments<FLAGS> own;
  start(own, load(input(g, c.s, c.first)));
  add_pixels(own, g, c);
  add_moments(shared, c.s, own);
  __syncthreads();
  group_sums of = {};
  if (group < groups) of = moments_of<FLAGS>(shared, g, group, count);
#ifndef STORAGE_BF16
  if (group < groups) shared.two[group] = (float)(of.about + of.level / terms);
  __syncthreads();
  clear(own);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) own.about[i] = shared.two[group_at(g, c.s.local + i)];
  add_pixels(own, g, c);
  add_moments(shared, c.s, own);
  __syncthreads();
  if (group < groups) of = moments_of<FLAGS>(shared, g, group, count);
#endif
  if (group >= groups) return;
  double level = of.level / terms;
  size_t to = ((size_t)c.index * (size_t)g.n + (size_t)c.s.sample) * (size_t)g.groups + (size_t)(c.s.channel0 / g.width + group);
  spreads[to] = {of.about + level, of.squares - level * of.level};
}

/* The statistics of the slice's groups from those of all chunks, one warp for each group. */
DEVICE void join_chunks(const meeting &m, const sliced &g, const chunk_of &c, const spread *spreads, int chunk, int chunks, float eps,
                        float *stats) {
  int groups = g.slice / g.width, pixels = g.h * g.w;
#pragma unroll 1
  for (int group = (int)threadIdx.x / WARP; group < groups; group += (int)blockDim.x / WARP) {
    size_t each = (size_t)g.n * (size_t)g.groups, at = (size_t)c.s.sample * (size_t)g.groups + (size_t)(c.s.channel0 / g.width + group);
    group_sums of = {spreads[at].mean, 0, 0};
    for (int i = lane_number(); i < chunks; i += WARP) {
      spread one = spreads[(size_t)i * each + at];
      double terms = (double)min(chunk, pixels - i * chunk) * (double)g.width, offset = one.mean - of.about;
      of.level += terms * offset, of.squares += one.squares + terms * offset * offset;
    }
    of.level = warp_sum(of.level), of.squares = warp_sum(of.squares);
    if (lane_number() != 0) continue;
    statistic result = statistic_of(of, g.inverse, eps);
    m.two[group] = result.mean, m.three[group] = result.rest, m.four[group] = result.rstd;
    if (c.index == 0) stats[at] = result.mean, stats[each + at] = result.rstd, stats[2 * each + at] = result.rest;
  }
}

KERNEL __launch_bounds__(THREADS, 2) group_norm_chunks_forward(
    const real *x0, const real *x1, const float *weight, const float *bias, float *stats, real *y, const __grid_constant__ words<SIZES> sizes,
    float eps, const u32 *origin, const __grid_constant__ words<ROUND_KEYS> keys, int sample_low, int sample_high, int stream,
    int threshold, float keep_scale, const spread *spreads, int chunk, int chunks) {
  extern __shared__ __align__(16) unsigned char memory[];
  sliced g = sliced_of(x0, x1, weight, bias, stats, sizes.of);
  set_mask(g, origin, keys.of, sample_low, sample_high, stream, threshold, keep_scale);
  chunk_of c = chunk_at(g, chunk, chunks);
  if (c.none) return;
  const share &s = c.s;
  meeting shared = meeting_at(memory, g);
  join_chunks(shared, g, c, spreads, chunk, chunks, eps, stats);
  __syncthreads();
  if (!s.works) return;
  affine<FLAGS> a = affine_of<FLAGS>(shared, g, s);
  real *to = y + (size_t)s.sample * resampled_pixels(g) * (size_t)g.c + s.channel;
  float v[EIGHT];
  if (g.resample == RESAMPLE_DOWN) {
    int w = g.w / 2;
    walk place(c.first / 4 + s.row, s.rows, w);
    for (int pixel = c.first / 4 + s.row; pixel < c.last / 4; pixel += s.rows, place.next()) {
      float total[EIGHT] = {};
      for (int q = 0; q < 4; q++) {
        int from = (2 * place.row + q / 2) * g.w + 2 * place.column + q % 2;
        unpack(load(input(g, s, from)), v);
        activate<FLAGS>(g, s, a, from, v);
#pragma unroll
        for (int i = 0; i < EIGHT; i++) total[i] += 0.25f * v[i];
      }
      store(to + (size_t)pixel * (size_t)g.c, pack(total));
    }
    return;
  }
  walk place(c.first + s.row, s.rows, g.w);
  for (int pixel = c.first + s.row; pixel < c.last; pixel += AHEAD * s.rows) {
    packed e[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++) e[k] = load(input(g, s, min(pixel + k * s.rows, c.last - 1)));
#pragma unroll
    for (int k = 0; k < AHEAD; k++, place.next()) {
      int at = pixel + k * s.rows;
      if (at >= c.last) continue;
      unpack(e[k], v);
      activate<FLAGS>(g, s, a, at, v);
      if (g.resample == RESAMPLE_UP) store_four(to, g, place, pack(v));
      else store(to + (size_t)at * (size_t)g.c, pack(v));
    }
  }
}

/* ---------------------------------------------------------------- backward */

/* x - mean and d(loss) / d(h) at a pixel; dy: that of the thread's channels at the sample's first pixel */
DEVICE void slopes_at(const sliced &g, const share &s, const affine<FLAGS> &a, const real *dy, int pixel, const walk &place,
                      float (&v)[EIGHT], float (&d)[EIGHT]) {
  packed x = load(input(g, s, pixel));
  if (g.resample) resampled(g, dy, place, d);
  else unpack(load(dy + (size_t)pixel * (size_t)g.c), d);
  unpack(x, v);
  upstream<FLAGS>(g, s, a, pixel, v, d);
}

DEVICE const real *gradient_at(const sliced &g, const share &s, const real *dy) {
  return dy + (size_t)s.sample * resampled_pixels(g) * (size_t)g.c + s.channel;
}

/* partial [chunks][2][N, C]: sums of d x^ and of d over the pixels of each chunk */
KERNEL __launch_bounds__(THREADS, BLOCKS) group_norm_chunks_sums(
    const real *x0, const real *x1, const float *weight, const float *bias, const float *stats, const real *dy,
    const __grid_constant__ words<SIZES> sizes, const u32 *origin, const __grid_constant__ words<ROUND_KEYS> keys, int sample_low,
    int sample_high, int stream, int threshold, float keep_scale, float *partial, int chunk, int chunks) {
  extern __shared__ __align__(16) unsigned char memory[];
  sliced g = sliced_of(x0, x1, weight, bias, stats, sizes.of);
  set_mask(g, origin, keys.of, sample_low, sample_high, stream, threshold, keep_scale);
  chunk_of c = chunk_at(g, chunk, chunks);
  if (c.none) return;
  const share &s = c.s;
  meeting shared = meeting_at(memory, g);
  known_affine<FLAGS> a = known_affine_of<FLAGS>(g, s);
  float total[2 * EIGHT] = {};
  if (s.works) {
    const real *from = gradient_at(g, s, dy);
    walk place(c.first + s.row, s.rows, g.w);
#pragma unroll 2
    for (int pixel = c.first + s.row; pixel < c.last; pixel += s.rows, place.next()) {
      float v[EIGHT], d[EIGHT];
      slopes_at(g, s, a, from, pixel, place, v, d);
#pragma unroll
      for (int i = 0; i < EIGHT; i++) total[i] += d[i] * v[i], total[EIGHT + i] += d[i];
    }
  }
  normalise(a, total);
  add_rows(shared, s, total);
  __syncthreads();
  size_t each = (size_t)g.n * (size_t)g.c;
  float *to = partial + (size_t)c.index * 2 * each + (size_t)s.sample * (size_t)g.c + (size_t)s.channel0;
  for (int i = (int)threadIdx.x; i < g.slice; i += (int)blockDim.x)
    to[i] = warps_total(shared, 2 * g.slice, i), to[each + (size_t)i] = warps_total(shared, 2 * g.slice, g.slice + i);
}

/* As group_norm_backward; written [chunks][N, C]: sums of dx over the pixels of each chunk */
KERNEL __launch_bounds__(THREADS, BLOCKS) group_norm_chunks_backward(
    const real *x0, const real *x1, const float *weight, const float *bias, const float *stats, const real *dy, float *sums, real *dx0,
    real *dx1, const __grid_constant__ words<16> others, const __grid_constant__ words<SIZES> sizes, const u32 *origin,
    const __grid_constant__ words<ROUND_KEYS> keys, int sample_low, int sample_high, int stream, int threshold, float keep_scale,
    const float *partial, float *written, int chunk, int chunks) {
  extern __shared__ __align__(16) unsigned char memory[];
  sliced g = sliced_of(x0, x1, weight, bias, stats, sizes.of);
  set_mask(g, origin, keys.of, sample_low, sample_high, stream, threshold, keep_scale);
  chunk_of c = chunk_at(g, chunk, chunks);
  if (c.none) return;
  const share &s = c.s;
  meeting shared = meeting_at(memory, g);
  known_affine<FLAGS> a = known_affine_of<FLAGS>(g, s);
  size_t each = (size_t)g.n * (size_t)g.c;
  float total[2 * EIGHT] = {}, v[EIGHT], d[EIGHT];
  if (s.works)
    for (int i = s.row; i < chunks; i += s.rows) {
      const float *from = partial + (size_t)i * 2 * each + (size_t)s.sample * (size_t)g.c + (size_t)s.channel;
      load_eight(from, v), load_eight(from + each, d);
#pragma unroll
      for (int k = 0; k < EIGHT; k++) total[k] += v[k], total[EIGHT + k] += d[k];
    }
  add_rows(shared, s, total);
  __syncthreads();
  adjoint<FLAGS> b = adjoint_of<FLAGS>(shared, g, s, a, sums, c.index == 0);
  const u32 *first_other = others.of + (s.second ? 2 * OTHER : 0);
  earlier one = earlier_of(first_other), two = earlier_of(first_other + OTHER);
  float sum[EIGHT] = {};
  if (s.works) {
    const real *from = gradient_at(g, s, dy);
    real *dx = s.second ? dx1 : dx0;
    walk place(c.first + s.row, s.rows, g.w);
#pragma unroll 2
    for (int pixel = c.first + s.row; pixel < c.last; pixel += s.rows, place.next()) {
      size_t position = (size_t)s.sample * (size_t)(g.h * g.w) + (size_t)pixel;
      packed first = {}, second = {};
      if (one.x) first = load(one.x + position * one.pitch + s.place);
      if (two.x) second = load(two.x + position * two.pitch + s.place);
      slopes_at(g, s, a, from, pixel, place, v, d);
      packed own = gradient_of(b, v, d);
      packed result = !one.x   ? own
                      : !two.x ? joined<1>(own, first, one.factor, second, two.factor)
                               : joined<2>(own, first, one.factor, second, two.factor);
      store(dx + position * (size_t)s.pitch + s.place, result);
      unpack(result, v);
#pragma unroll
      for (int i = 0; i < EIGHT; i++) sum[i] += v[i];
    }
  }
  __syncthreads();
  add_rows<EIGHT, 1>(shared, s, sum);
  __syncthreads();
  float *to = written + (size_t)c.index * each + (size_t)s.sample * (size_t)g.c + (size_t)s.channel0;
  for (int i = (int)threadIdx.x; i < g.slice; i += (int)blockDim.x) to[i] = warps_total(shared, g.slice, i);
}

/* The sums of dx over all pixels of each part [N, part], and the same rounded. */
KERNEL group_norm_chunks_written(const float *written, int n, int part0, int part1, int chunks, float *sums0, float *sums1, real *rounded0,
                                 real *rounded1) {
  u32 c = (u32)(part0 + part1), at = thread_number();
  if (at >= (u32)n * c) return;
  double total = 0;
#pragma unroll 4
  for (int i = 0; i < chunks; i++) total += (double)written[(size_t)i * (size_t)n * c + at];
  int sample = (int)(at / c), channel = (int)(at % c);
  bool second = channel >= part0;
  size_t to = second ? (size_t)sample * (size_t)part1 + (size_t)(channel - part0) : (size_t)sample * (size_t)part0 + (size_t)channel;
  (second ? sums1 : sums0)[to] = (float)total;
  (second ? rounded1 : rounded0)[to] = (float)total;
}
