/* What group_norm_slices.cu and group_norm_chunks.cu share: eight channels of a pixel, the work of a thread, sums over a block, and
 * statistics. norm_pixels.cuh has the arithmetic of a pixel. */
#ifndef RECTIFLOW_NORM_SLICES_CUH
#define RECTIFLOW_NORM_SLICES_CUH

#include "norm.cuh"
#include "warp.cuh"

#define THREADS 256
#define EIGHT 8

/* ---------------------------------------------------------------- eight channels */
#ifdef STORAGE_BF16
typedef uint4 packed;
DEVICE packed load(const real *x) { return *(const uint4 *)x; }
DEVICE void store(real *x, packed v) { *(uint4 *)x = v; }
DEVICE void unpack(packed from, float (&v)[EIGHT]) {
  const u32 w[4] = {from.x, from.y, from.z, from.w};
#pragma unroll
  for (int i = 0; i < 4; i++) v[2 * i] = __uint_as_float(w[i] << 16), v[2 * i + 1] = __uint_as_float(w[i] & 0xFFFF0000u);
}
DEVICE packed pack(const float (&v)[EIGHT]) {
  packed to;
  to.x = bf16_pair(v[0], v[1]), to.y = bf16_pair(v[2], v[3]), to.z = bf16_pair(v[4], v[5]), to.w = bf16_pair(v[6], v[7]);
  return to;
}
DEVICE packed sum_of(packed a, packed b) {
  packed to;
  to.x = bf16_pair_sum(a.x, b.x), to.y = bf16_pair_sum(a.y, b.y), to.z = bf16_pair_sum(a.z, b.z), to.w = bf16_pair_sum(a.w, b.w);
  return to;
}
/* scale / (1 + exp(-h)), where inverse = 1 / scale. The result is rounded to bf16, which hides the error of the fast functions. */
DEVICE float gate(float h, float, float inverse) {
  return fast_reciprocal(__fmaf_rn(fast_exp2(-1.44269504f * h), inverse, inverse));
}
DEVICE float inverse_of(float x) { return fast_reciprocal(x); }
#else
struct packed {
  float4 low, high;
};
DEVICE packed load(const real *x) { return {*(const float4 *)x, *(const float4 *)(x + 4)}; }
DEVICE void store(real *x, packed v) { *(float4 *)x = v.low, *(float4 *)(x + 4) = v.high; }
DEVICE void unpack(packed from, float (&v)[EIGHT]) {
  v[0] = from.low.x, v[1] = from.low.y, v[2] = from.low.z, v[3] = from.low.w;
  v[4] = from.high.x, v[5] = from.high.y, v[6] = from.high.z, v[7] = from.high.w;
}
DEVICE packed pack(const float (&v)[EIGHT]) { return {make_float4(v[0], v[1], v[2], v[3]), make_float4(v[4], v[5], v[6], v[7])}; }
DEVICE packed sum_of(packed a, packed b) {
  float v[EIGHT], w[EIGHT];
  unpack(a, v), unpack(b, w);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) v[i] += w[i];
  return pack(v);
}
DEVICE float gate(float h, float scale, float) { return scale / (1.0f + expf(-h)); }
DEVICE float inverse_of(float x) { return 1.0f / x; }
#endif

struct alignas(16) eight_floats {
  float4 low, high;
};
DEVICE eight_floats staged_of(const float (&v)[EIGHT]) {
  return {make_float4(v[0], v[1], v[2], v[3]), make_float4(v[4], v[5], v[6], v[7])};
}
DEVICE void unpack(const eight_floats &from, float (&v)[EIGHT]) {
  v[0] = from.low.x, v[1] = from.low.y, v[2] = from.low.z, v[3] = from.low.w;
  v[4] = from.high.x, v[5] = from.high.y, v[6] = from.high.z, v[7] = from.high.w;
}
DEVICE void load_eight(const float *from, float (&v)[EIGHT]) { unpack(*(const eight_floats *)from, v); }

/* ---------------------------------------------------------------- sizes */

/* KIND: what is known of a norm when it is compiled. FLAGS: nothing. The others do not resample, have SiLU, and groups of a multiple of 4
 * channels; MASKED with dropout. */
enum { FLAGS, PLAIN, MASKED };

/* Channels that surely belong to one group, and how many of these lumps eight channels have. */
template <int KIND> constexpr int LUMP = KIND >= PLAIN ? 4 : 1;
template <int KIND> constexpr int LUMPS = EIGHT / LUMP<KIND>;

struct sliced : normalisation {
  int slice, shift;  /* channels of a slice; log2 of the threads that share a pixel */
  u32 magic;         /* see group_at */
  double inverse;    /* 1 / the terms of a group */
  const u32 *keys;    /* of a dropout mask: see philox_of_keys */
  u64 first;          /* the first sample of the tensor is this one of the run */
  u32 stream, limit;  /* elements whose 16 bits are below the upper half of `limit` are dropped */
  float keep;         /* 1 / keep_scale */
};

/* sizes: N, H, W, C of both parts, groups, resample, silu; slice, shift, channels of a group, magic, and the two words of `inverse` */
#define SIZES 14

DEVICE sliced sliced_of(const real *x0, const real *x1, const float *weight, const float *bias, const float *stats, const u32 *t) {
  sliced g;
  size_t each = (size_t)t[0] * (size_t)t[5];
  g.x0 = x0, g.x1 = x1, g.weight = weight, g.bias = bias;
  g.mean = stats, g.rstd = stats + each, g.rest = stats + 2 * each;
  g.n = (int)t[0], g.h = (int)t[1], g.w = (int)t[2], g.part0 = (int)t[3], g.part1 = (int)t[4], g.c = g.part0 + g.part1;
  g.groups = (int)t[5], g.resample = (int)t[6], g.silu = (int)t[7];
  g.slice = (int)t[8], g.shift = (int)t[9], g.width = (int)t[10], g.magic = t[11];
  g.inverse = __longlong_as_double((long long)((u64)t[13] << 32 | t[12]));
  return g;
}

/* origin, stream, threshold: see draw_of and random_dropout */
DEVICE void set_mask(sliced &g, const u32 *origin, const u32 *keys, int sample_low, int sample_high, int stream, int threshold,
                     float keep_scale) {
  draw of = draw_of(origin, 0, 0, sample_low, sample_high, stream);
  g.keys = keys, g.first = of.first, g.stream = of.stream, g.limit = (u32)threshold << 16;
  g.threshold = threshold, g.keep_scale = keep_scale, g.keep = inverse_of(keep_scale);
}

/* channel / width, because magic = 2^31 / width + 1, rounded down, and channel * width < 2^31. */
DEVICE int group_at(const sliced &g, int channel) { return (int)__umulhi(2 * (u32)channel, g.magic); }

/* ---------------------------------------------------------------- the work of a thread */

struct share {
  int sample, channel0;              /* of the slice */
  int spread, vectors, vector;       /* eights of the slice, rounded up to a power of two and not; the thread's one */
  int row, rows;                     /* the thread has every rows-th pixel from row on */
  int local, channel, pitch, place;  /* the thread's first channel in the slice and among all; channels of its part, and the channel there */
  bool second, works;                /* whether that is the second part of x; whether the thread has work */
};

DEVICE share share_of(const sliced &g, int sample, int index) {
  share s;
  s.sample = sample, s.channel0 = index * g.slice;
  s.spread = 1 << g.shift, s.vectors = g.slice / EIGHT, s.vector = (int)threadIdx.x & (s.spread - 1);
  s.row = (int)threadIdx.x >> g.shift, s.rows = (int)blockDim.x >> g.shift;
  s.works = s.vector < s.vectors;
  s.local = min(s.vector, s.vectors - 1) * EIGHT;
  s.channel = s.channel0 + s.local;
  s.second = s.channel >= g.part0;
  s.pitch = s.second ? g.part1 : g.part0;
  s.place = s.second ? s.channel - g.part0 : s.channel;
  return s;
}

/* Where a thread is in an image of `width` columns, without a division per pixel. */
struct walk {
  int row, column, rows, columns, width;
  __device__ __forceinline__ walk(int pixel, int step, int w) : row(pixel / w), column(pixel % w), rows(step / w), columns(step % w), width(w) {}
  __device__ __forceinline__ void next() {
    row += rows, column += columns;
    if (column >= width) column -= width, row++;
  }
};

/* ---------------------------------------------------------------- sums over a block */

/* A block's sums in shared memory, by warp and value, and four numbers for each channel of the slice; meetingBytes of
 * group_norm_slices.ts is its size. */
struct meeting {
  float *values, *one, *two, *three, *four;
};

DEVICE meeting meeting_at(void *memory, const sliced &g) {
  float *from = (float *)memory;
  return {from + 4 * g.slice, from, from + g.slice, from + 2 * g.slice, from + 3 * g.slice};
}

/* Adds up v over the rows of the threads, warp by warp. v are the sums of the thread's channels, or lumps of channels, of one kind after the
 * other; a warp's values are those of all threads of one kind after the other. All threads must call it, with 0 if they have no work, and
 * __syncthreads before warps_total. */
template <int N, int KINDS = 2> DEVICE void add_rows(const meeting &m, const share &s, float (&v)[N]) {
  constexpr int EACH = N / KINDS;
#pragma unroll 1
  for (int distance = WARP / 2; distance >= s.spread; distance /= 2)
#pragma unroll
    for (int i = 0; i < N; i++) v[i] += __shfl_xor_sync(ALL_LANES, v[i], distance);
  if (lane_number() >= s.spread || !s.works) return;
  float *to = m.values + ((int)threadIdx.x / WARP * KINDS * s.vectors + s.vector) * EACH;
#pragma unroll
  for (int i = 0; i < N; i++) to[i / EACH * s.vectors * EACH + i % EACH] = v[i];
}

/* Sum of one of `count` values over the warps, in a fixed order. */
DEVICE float warps_total(const meeting &m, int count, int index) {
#ifdef STORAGE_BF16
  float total = 0.0f;
#else
  double total = 0;
#endif
  int left = (int)blockDim.x / WARP; /* at least 1 */
#pragma unroll 1
  do total += m.values[index], index += count;
  while (--left > 0);
  return (float)total;
}

/* ---------------------------------------------------------------- statistics
 * The rounding error of a sum of nearly equal numbers is large compared to their deviation, so sums are those of differences from a
 * number near them. In bf16 that is the mean of a lump at the first pixel: the relative error of a variance is then at most
 * 2^-24 times the number of its terms. In f32 a second pass takes the differences from the mean that the first one found. */

template <int KIND> struct moments {
  float about[LUMPS<KIND>], v[2 * LUMPS<KIND>]; /* sums of x - about, and of its square, over pixels and the channels of each lump */
};

template <int KIND> DEVICE void clear(moments<KIND> &m) {
#pragma unroll
  for (int i = 0; i < 2 * LUMPS<KIND>; i++) m.v[i] = 0.0f;
}

template <int KIND> DEVICE void start(moments<KIND> &m, packed first) {
  float x[EIGHT];
  unpack(first, x);
  clear(m);
#pragma unroll
  for (int lump = 0; lump < LUMPS<KIND>; lump++) {
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < LUMP<KIND>; i++) total += x[lump * LUMP<KIND> + i];
    m.about[lump] = total * (1.0f / LUMP<KIND>);
  }
}

template <int KIND> DEVICE void add(moments<KIND> &m, packed from) {
  float x[EIGHT];
  unpack(from, x);
#pragma unroll
  for (int i = 0; i < EIGHT; i++) {
    int lump = i / LUMP<KIND>;
    float d = x[i] - m.about[lump];
    m.v[lump] += d;
    m.v[LUMPS<KIND> + lump] += d * d;
  }
}

/* Adds the moments of all threads: m.one is what each lump's are about. All threads must call it, then __syncthreads. */
template <int KIND> DEVICE void add_moments(const meeting &m, const share &s, moments<KIND> &own) {
  add_rows(m, s, own.v);
  if (s.row == 0 && s.works)
#pragma unroll
    for (int i = 0; i < LUMPS<KIND>; i++) m.one[s.vector * LUMPS<KIND> + i] = own.about[i];
}

/* The moments of one of the slice's groups about the number `about`, in which `pixels` were added up. */
struct group_sums {
  double about, level, squares;
};
template <int KIND> DEVICE group_sums moments_of(const meeting &m, const sliced &g, int group, int pixels) {
  int each = g.width / LUMP<KIND>, lumps = g.slice / LUMP<KIND>;
  group_sums of = {(double)m.one[group * each], 0, 0};
  double terms = (double)(pixels * LUMP<KIND>);
#pragma unroll 1
  for (int lump = group * each; lump < (group + 1) * each; lump++) {
    double sum = (double)warps_total(m, 2 * lumps, lump), offset = (double)m.one[lump] - of.about;
    of.squares += (double)warps_total(m, 2 * lumps, lumps + lump) + offset * (2.0 * sum + terms * offset);
    of.level += sum + terms * offset;
  }
  return of;
}

/* Mean, rest of the mean and rstd of a group. */
struct statistic {
  float mean, rest, rstd;
};
DEVICE statistic statistic_of(const group_sums &sums, double inverse, float eps) {
  statistic of;
  double level = sums.level * inverse, mean = sums.about + level;
  of.mean = (float)mean, of.rest = (float)(mean - (double)of.mean);
#ifdef STORAGE_BF16
  of.rstd = rsqrtf((float)(variance_of(sums.squares * inverse, level) + (double)eps));
#else
  of.rstd = rstd_of(sums.squares * inverse, level, eps);
#endif
  return of;
}

#endif
