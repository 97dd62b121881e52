/* Group normalisation of [N, pixels, C] as in group_norm.cu, for parts of x whose channels are multiples of 8. A block computes a slice
 * of a sample: whole groups, all pixels. A thread has eight neighbouring channels of every rows-th pixel, which it loads and
 * stores 16 bytes at a time (32 in f32), and draws a dropout mask's words once for all eight. Shared memory holds the slice of x, and in
 * backward that of d(loss) / d(h), so that each is computed once.
 */
#include "norm_slices.cuh"

#define AHEAD 4 /* loads of a thread before the first use */

/* ---------------------------------------------------------------- forward */

/* dropout(silu(h)) of the thread's channels at a pixel, where v is x */
template <int KIND>
DEVICE void activate(const normalisation &g, const share &s, const float (&mean)[LUMPS<KIND>], const float (&scale)[EIGHT], const float (&shift)[EIGHT],
                     int pixel, float (&v)[EIGHT]) {
  float kept[EIGHT];
  bool masked = KIND == MASKED || (KIND < PLAIN && g.threshold);
  if (masked) masks(g, (u32)pixel * (u32)(g.c / EIGHT) + (u32)(s.channel / EIGHT), s.sample, kept);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) {
    v[i] = (v[i] - mean[i / LUMP<KIND>]) * scale[i] + shift[i];
    if (KIND >= PLAIN || g.silu) v[i] *= sigmoid(v[i]);
    if (masked) v[i] *= kept[i];
  }
}

template <int KIND>
DEVICE void forward(const normalisation &g, float *stats, real *y, int slice, float eps) {
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ meeting shared;
  share s = share_of(g, slice);
  int pixels = g.h * g.w, groups = slice / g.width, group0 = s.channel0 / g.width;
  const real *x = (s.second ? g.x1 : g.x0) + (size_t)s.sample * (size_t)pixels * (size_t)s.pitch + s.place;
  packed *tile = (packed *)memory + s.vector;
  auto input = [&](int pixel) -> packed { return KIND == UNSTAGED ? load(x + (size_t)pixel * (size_t)s.pitch) : tile[pixel * s.vectors]; };
  float sum[EIGHT] = {}, squares[EIGHT] = {}, mean[LUMPS<KIND>], v[EIGHT];
  if (s.works) {
    auto take = [&](int pixel, packed e) {
      if (KIND != UNSTAGED) tile[pixel * s.vectors] = e;
      unpack(e, v);
#pragma unroll
      for (int i = 0; i < EIGHT; i++) sum[i] += v[i];
    };
    int pixel = s.row;
#pragma unroll 1
    for (; pixel + (AHEAD - 1) * s.rows < pixels; pixel += AHEAD * s.rows) {
      packed e[AHEAD];
#pragma unroll
      for (int k = 0; k < AHEAD; k++) e[k] = load(x + (size_t)(pixel + k * s.rows) * (size_t)s.pitch);
#pragma unroll
      for (int k = 0; k < AHEAD; k++) take(pixel + k * s.rows, e[k]);
    }
#pragma unroll 1
    for (; pixel < pixels; pixel += s.rows) take(pixel, load(x + (size_t)pixel * (size_t)s.pitch));
  }
  add_up_lumps<KIND>(shared, s, 0, sum);
  __syncthreads();
  if ((int)threadIdx.x < groups) shared.mean[threadIdx.x] = (float)group_mean<KIND>(shared, g, 0, (int)threadIdx.x);
  __syncthreads();
#pragma unroll
  for (int i = 0; i < LUMPS<KIND>; i++) mean[i] = shared.mean[(s.local + i * LUMP<KIND>) / g.width];
#pragma unroll
  for (int i = 0; i < EIGHT; i++) sum[i] = 0.0f;
  if (s.works) {
#pragma unroll 4
    for (int pixel = s.row; pixel < pixels; pixel += s.rows) {
      unpack(input(pixel), v);
#pragma unroll
      for (int i = 0; i < EIGHT; i++) {
        float d = v[i] - mean[i / LUMP<KIND>];
        sum[i] += d;
        squares[i] += d * d;
      }
    }
  }
  add_up_lumps<KIND>(shared, s, 0, sum);
  add_up_lumps<KIND>(shared, s, 1, squares);
  __syncthreads();
  if ((int)threadIdx.x < groups) {
    int group = (int)threadIdx.x;
    double rest = group_mean<KIND>(shared, g, 0, group);
    float rstd = rstd_of(group_mean<KIND>(shared, g, 1, group), rest, eps);
    shared.rest[group] = (float)rest, shared.rstd[group] = rstd;
    size_t each = (size_t)g.n * (size_t)g.groups, to = (size_t)s.sample * (size_t)g.groups + (size_t)(group0 + group);
    stats[to] = shared.mean[group], stats[each + to] = rstd, stats[2 * each + to] = (float)rest;
  }
  __syncthreads();
  if (!s.works) return;
  float scale[EIGHT], shift[EIGHT];
#pragma unroll
  for (int i = 0; i < EIGHT; i++) {
    int group = (s.local + i) / g.width;
    scale[i] = shared.rstd[group] * g.weight[s.channel + i];
    shift[i] = g.bias[s.channel + i] - shared.rest[group] * scale[i];
  }
  int resample = KIND >= PLAIN ? 0 : g.resample;
  real *to = y + s.channel;
  if (resample == 0) {
    to += (size_t)s.sample * (size_t)pixels * (size_t)g.c;
#pragma unroll 2
    for (int pixel = s.row; pixel < pixels; pixel += s.rows) {
      unpack(input(pixel), v);
      activate<KIND>(g, s, mean, scale, shift, pixel, v);
      store(to + (size_t)pixel * (size_t)g.c, pack(v));
    }
  } else if (resample == RESAMPLE_UP) {
    to += (size_t)s.sample * (size_t)(4 * pixels) * (size_t)g.c;
    walk place(s.row, s.rows, g.w);
    for (int pixel = s.row; pixel < pixels; pixel += s.rows, place.next()) {
      unpack(input(pixel), v);
      activate<KIND>(g, s, mean, scale, shift, pixel, v);
      packed result = pack(v);
      real *corner = to + ((size_t)(2 * place.row) * (size_t)(2 * g.w) + (size_t)(2 * place.column)) * (size_t)g.c;
      real *below = corner + (size_t)(2 * g.w) * (size_t)g.c;
      store(corner, result), store(corner + g.c, result), store(below, result), store(below + g.c, result);
    }
  } else {
    int w = g.w / 2, small = g.h / 2 * w;
    to += (size_t)s.sample * (size_t)small * (size_t)g.c;
    walk place(s.row, s.rows, w);
    for (int pixel = s.row; pixel < small; pixel += s.rows, place.next()) {
      float total[EIGHT] = {};
      for (int q = 0; q < 4; q++) {
        int from = (2 * place.row + q / 2) * g.w + 2 * place.column + q % 2;
        unpack(input(from), v);
        activate<KIND>(g, s, mean, scale, shift, from, v);
#pragma unroll
        for (int i = 0; i < EIGHT; i++) total[i] += v[i];
      }
#pragma unroll
      for (int i = 0; i < EIGHT; i++) total[i] *= 0.25f;
      store(to + (size_t)pixel * (size_t)g.c, pack(total));
    }
  }
}

#define FORWARD(name, kind)                                                                                                       \
  KERNEL __launch_bounds__(THREADS, 3) group_norm_slices_forward##name(                                                           \
      const real *x0, const real *x1, const float *weight, const float *bias, float *stats, real *y, const int *table, int slice, \
      float eps, const u32 *origin, int seed_low, int seed_high, int sample_low, int sample_high, int stream, int threshold,      \
      float keep_scale) {                                                                                                         \
    normalisation g = norm_of(x0, x1, weight, bias, stats, table);                                                                \
    g.words = draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream);                                              \
    g.threshold = threshold, g.keep_scale = keep_scale;                                                                           \
    forward<kind>(g, stats, y, slice, eps);                                                                                       \
  }

/* Computes mean, rstd and the rest of the mean of the groups, then y. */
FORWARD(, FLAGS)
FORWARD(_unstaged, UNSTAGED)
FORWARD(_plain, PLAIN)
FORWARD(_masked, MASKED)

/* ---------------------------------------------------------------- backward */

/* The coefficients of a thread's channels. */
template <int KIND> struct coefficients {
  float mean[LUMPS<KIND>], rstd[LUMPS<KIND>], shift[LUMPS<KIND>], weight[EIGHT], bias[EIGHT];
};

/* d(loss) / d(h) at a pixel, the adjoint of resampling, dropout and SiLU, and the normalised x, from x */
template <int KIND>
DEVICE void upstream(const normalisation &g, const share &s, const coefficients<KIND> &k, const real *dy, int pixel, const walk &place,
                     const float (&x)[EIGHT], float (&d)[EIGHT], float (&normal)[EIGHT]) {
  size_t c = (size_t)g.c;
  int resample = KIND >= PLAIN ? 0 : g.resample;
  if (resample == RESAMPLE_UP) {
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
  } else if (resample == RESAMPLE_DOWN) {
    unpack(load(dy + (size_t)(place.row / 2 * (g.w / 2) + place.column / 2) * c), d);
#pragma unroll
    for (int i = 0; i < EIGHT; i++) d[i] *= 0.25f;
  } else {
    unpack(load(dy + (size_t)pixel * c), d);
  }
  if (KIND == MASKED || (KIND < PLAIN && g.threshold)) {
    float kept[EIGHT];
    masks(g, (u32)pixel * (u32)(g.c / EIGHT) + (u32)(s.channel / EIGHT), s.sample, kept);
#pragma unroll
    for (int i = 0; i < EIGHT; i++) d[i] *= kept[i];
  }
#pragma unroll
  for (int i = 0; i < EIGHT; i++) {
    int lump = i / LUMP<KIND>;
    normal[i] = (x[i] - k.mean[lump]) * k.rstd[lump] - k.shift[lump];
    if (KIND < PLAIN && !g.silu) continue;
    float h = normal[i] * k.weight[i] + k.bias[i], slope = sigmoid(h);
    d[i] *= slope * (1.0f + h * (1.0f - slope));
  }
}

/* factor times an earlier gradient, rounded as if it were stored */
DEVICE void scaled(const earlier &one, size_t position, int place, float (&v)[EIGHT]) {
  unpack(load(one.x + position * one.pitch + place), v);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) v[i] = __fmul_rn(one.factor, v[i]);
  unpack(pack(v), v);
}

template <int KIND>
DEVICE void backward(const normalisation &g, const real *dy, float *sums, real *dx0, real *dx1, const u32 *others, float *pixel_sums0,
                     float *pixel_sums1, real *rounded_sums0, real *rounded_sums1, int slice) {
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ meeting shared;
  share s = share_of(g, slice);
  int pixels = g.h * g.w;
  const real *x = (s.second ? g.x1 : g.x0) + (size_t)s.sample * (size_t)pixels * (size_t)s.pitch + s.place;
  eight_floats *tile = (eight_floats *)memory + s.vector; /* the slice of d, in f32 */
  size_t large = (size_t)pixels;
  if (KIND < PLAIN && g.resample == RESAMPLE_UP) large *= 4;
  if (KIND < PLAIN && g.resample == RESAMPLE_DOWN) large /= 4;
  dy += (size_t)s.sample * large * (size_t)g.c + s.channel;
  coefficients<KIND> k;
#pragma unroll
  for (int i = 0; i < LUMPS<KIND>; i++) {
    size_t group = (size_t)s.sample * (size_t)g.groups + (size_t)((s.channel + i * LUMP<KIND>) / g.width);
    k.mean[i] = g.mean[group], k.rstd[i] = g.rstd[group], k.shift[i] = g.rest[group] * k.rstd[i];
  }
#pragma unroll
  for (int i = 0; i < EIGHT; i++) k.weight[i] = g.weight[s.channel + i], k.bias[i] = g.bias[s.channel + i];
  float weighted[EIGHT] = {}, plain[EIGHT] = {}, v[EIGHT], d[EIGHT], normal[EIGHT];
  if (s.works) {
    walk place(s.row, s.rows, g.w);
#pragma unroll 1
    for (int pixel = s.row; pixel < pixels; pixel += s.rows, place.next()) {
      unpack(load(x + (size_t)pixel * (size_t)s.pitch), v);
      upstream<KIND>(g, s, k, dy, pixel, place, v, d, normal);
      if (KIND != UNSTAGED) tile[pixel * s.vectors] = {make_float4(d[0], d[1], d[2], d[3]), make_float4(d[4], d[5], d[6], d[7])};
#pragma unroll
      for (int i = 0; i < EIGHT; i++) weighted[i] += d[i] * normal[i], plain[i] += d[i];
    }
  }
  add_up(shared, s, 0, weighted);
  add_up(shared, s, 1, plain);
  __syncthreads();
  for (int i = (int)threadIdx.x; i < slice; i += (int)blockDim.x) {
    size_t to = (size_t)s.sample * (size_t)g.c + (size_t)(s.channel0 + i);
    sums[to] = (float)shared.totals[0][i];
    sums[(size_t)g.n * (size_t)g.c + to] = (float)shared.totals[1][i];
  }
  double terms = (double)g.width * (double)pixels;
  for (int group = (int)threadIdx.x; group < slice / g.width; group += (int)blockDim.x) {
    double slope = 0, level = 0;
#pragma unroll 1
    for (int i = group * g.width; i < (group + 1) * g.width; i++) {
      slope += shared.totals[0][i] * (double)g.weight[s.channel0 + i];
      level += shared.totals[1][i] * (double)g.weight[s.channel0 + i];
    }
    shared.slope[group] = (float)(slope / terms), shared.level[group] = (float)(level / terms);
  }
  __syncthreads();
  float slope[LUMPS<KIND>], level[LUMPS<KIND>], total[EIGHT] = {};
#pragma unroll
  for (int i = 0; i < LUMPS<KIND>; i++) {
    int group = (s.local + i * LUMP<KIND>) / g.width;
    slope[i] = shared.slope[group], level[i] = shared.level[group];
  }
  const u32 *first_other = others + (s.second ? 2 * OTHER : 0);
  earlier one = earlier_of(first_other), two = earlier_of(first_other + OTHER);
  real *dx = s.second ? dx1 : dx0;
  if (s.works) {
    walk place(s.row, s.rows, g.w);
#pragma unroll 1
    for (int pixel = s.row; pixel < pixels; pixel += s.rows, place.next()) {
      unpack(load(x + (size_t)pixel * (size_t)s.pitch), v);
      if (KIND == UNSTAGED) {
        upstream<KIND>(g, s, k, dy, pixel, place, v, d, normal);
      } else {
        eight_floats staged = tile[pixel * s.vectors];
        d[0] = staged.low.x, d[1] = staged.low.y, d[2] = staged.low.z, d[3] = staged.low.w;
        d[4] = staged.high.x, d[5] = staged.high.y, d[6] = staged.high.z, d[7] = staged.high.w;
#pragma unroll
        for (int i = 0; i < EIGHT; i++) normal[i] = (v[i] - k.mean[i / LUMP<KIND>]) * k.rstd[i / LUMP<KIND>] - k.shift[i / LUMP<KIND>];
      }
      size_t position = (size_t)s.sample * (size_t)pixels + (size_t)pixel;
#pragma unroll
      for (int i = 0; i < EIGHT; i++) {
        int lump = i / LUMP<KIND>;
        v[i] = k.rstd[lump] * (d[i] * k.weight[i] - level[lump] - normal[i] * slope[lump]);
      }
      packed result = pack(v);
      if (one.x) {
        float more[EIGHT];
        scaled(one, position, s.place, more);
        if (two.x) {
          float last[EIGHT];
          scaled(two, position, s.place, last);
#pragma unroll
          for (int i = 0; i < EIGHT; i++) more[i] += last[i];
          unpack(pack(more), more);
        }
        unpack(result, v);
#pragma unroll
        for (int i = 0; i < EIGHT; i++) v[i] += more[i];
        result = pack(v);
      }
      store(dx + position * (size_t)s.pitch + s.place, result);
      unpack(result, v);
#pragma unroll
      for (int i = 0; i < EIGHT; i++) total[i] += v[i];
    }
  }
  if (!pixel_sums0) return; /* the same for all threads: either both sums are stored or neither is */
  add_up(shared, s, 0, total);
  __syncthreads();
  for (int i = (int)threadIdx.x; i < slice; i += (int)blockDim.x) {
    int channel = s.channel0 + i;
    bool second = channel >= g.part0;
    size_t to = (size_t)s.sample * (size_t)(second ? g.part1 : g.part0) + (size_t)(second ? channel - g.part0 : channel);
    float whole = (float)shared.totals[0][i];
    (second ? pixel_sums1 : pixel_sums0)[to] = whole;
    (second ? rounded_sums1 : rounded_sums0)[to] = whole;
  }
}

#define BACKWARD(name, kind)                                                                                                        \
  KERNEL __launch_bounds__(THREADS, 2) group_norm_slices_backward##name(                                                            \
      const real *x0, const real *x1, const float *weight, const float *bias, const float *stats, const real *dy, float *sums,      \
      real *dx0, real *dx1, const __grid_constant__ words<16> others, float *pixel_sums0, float *pixel_sums1, real *rounded_sums0,  \
      real *rounded_sums1, const int *table, int slice, const u32 *origin, int seed_low, int seed_high, int sample_low,             \
      int sample_high, int stream, int threshold, float keep_scale) {                                                               \
    normalisation g = norm_of(x0, x1, weight, bias, stats, table);                                                                  \
    g.words = draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream);                                                \
    g.threshold = threshold, g.keep_scale = keep_scale;                                                                             \
    backward<kind>(g, dy, sums, dx0, dx1, others.of, pixel_sums0, pixel_sums1, rounded_sums0, rounded_sums1, slice);                \
  }

/* dx, sums and sums over pixels as in group_norm_backward */
BACKWARD(, FLAGS)
BACKWARD(_unstaged, UNSTAGED)
BACKWARD(_plain, PLAIN)
BACKWARD(_masked, MASKED)
