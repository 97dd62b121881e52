/* The parts of group_norm_slices.cu: eight channels of a pixel, the work of a thread, and sums over a block. */
#ifndef RECTIFLOW_NORM_SLICES_CUH
#define RECTIFLOW_NORM_SLICES_CUH

#include "norm.cuh"
#include "warp.cuh"

#define THREADS 256
#define MOST_WARPS (THREADS / WARP)
#define MOST_CHANNELS 64 /* of a slice: see norm_slices.ts */
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
/* The result is rounded to bf16, which hides the error of the fast functions. */
DEVICE float sigmoid(float x) { return fast_reciprocal(1.0f + fast_exp2(-1.44269504f * x)); }
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
DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
#endif

struct alignas(16) eight_floats {
  float4 low, high;
};

/* 0 for dropped elements, else the scale of kept ones: eight 16-bit numbers that are below the threshold or not. */
DEVICE void masks(const normalisation &g, u32 block, int sample, float (&v)[EIGHT]) {
  u32 words[4], most = ((u32)g.threshold << 16) - 1;
  philox(g.words, block, (u64)sample, words);
#pragma unroll
  for (int i = 0; i < 4; i++) {
    v[2 * i] = words[i] << 16 <= most ? 0.0f : g.keep_scale;
    v[2 * i + 1] = words[i] <= most ? 0.0f : g.keep_scale;
  }
}

/* ---------------------------------------------------------------- the work of a thread */

/* KIND: what is known of a norm when it is compiled. FLAGS: nothing, UNSTAGED: nothing, and the slice does not fit. The others do not
 * resample, have SiLU, and groups of a multiple of 4 channels; MASKED with dropout. */
enum { FLAGS, UNSTAGED, PLAIN, MASKED };

/* Channels that surely belong to one group, and how many of these lumps eight channels have. */
template <int KIND> constexpr int LUMP = KIND >= PLAIN ? 4 : 1;
template <int KIND> constexpr int LUMPS = EIGHT / LUMP<KIND>;

struct share {
  int sample, channel0, channels; /* of the slice */
  int vectors, vector, row, rows; /* vectors: eights of the slice; a thread has one of them, in every rows-th pixel from row on */
  int local, channel;             /* the first channel of the thread in the slice, and among all */
  bool second, works;             /* whether it is in the second part of x; whether the thread has work */
  int pitch, place;               /* channels of the part, and the channel in it */
};

/* Vectors are rounded up to a power of two, so that the lanes of a warp with the same vector are a power of two apart. */
DEVICE int spread_of(int channels) {
  int spread = 1;
  while (spread * EIGHT < channels) spread *= 2;
  return spread;
}

DEVICE share share_of(const normalisation &g, int slice) {
  share s;
  int slices = g.c / slice, spread = spread_of(slice);
  s.sample = (int)blockIdx.x / slices, s.channel0 = (int)blockIdx.x % slices * slice, s.channels = slice;
  s.vectors = slice / EIGHT, s.vector = (int)threadIdx.x % spread, s.row = (int)threadIdx.x / spread, s.rows = (int)blockDim.x / spread;
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

struct meeting {
  float values[2][MOST_WARPS][MOST_CHANNELS];
  double totals[2][MOST_CHANNELS];
  float mean[MOST_CHANNELS], rest[MOST_CHANNELS], rstd[MOST_CHANNELS], slope[MOST_CHANNELS], level[MOST_CHANNELS]; /* by group or channel */
};

/* totals[which][vector * N + i] = sum of values[i] over the rows, in a fixed order. All threads must call it, with 0 if they have no
 * work, and __syncthreads before they read. */
template <int N> DEVICE void add_up(meeting &m, const share &s, int which, float (&values)[N]) {
  int spread = spread_of(s.channels), lane = lane_number(), warps = (int)blockDim.x / WARP;
#pragma unroll 1
  for (int distance = WARP / 2; distance >= spread; distance /= 2)
#pragma unroll
    for (int i = 0; i < N; i++) values[i] += __shfl_xor_sync(ALL_LANES, values[i], distance);
  __syncthreads();
  if (lane < spread && s.works)
#pragma unroll
    for (int i = 0; i < N; i++) m.values[which][threadIdx.x / WARP][lane * N + i] = values[i];
  __syncthreads();
#pragma unroll 1
  for (int i = (int)threadIdx.x; i < s.vectors * N; i += (int)blockDim.x) {
    double total = 0;
#pragma unroll 1
    for (int warp = 0; warp < warps; warp++) total += (double)m.values[which][warp][i];
    m.totals[which][i] = total;
  }
}

/* The same for the sums over the channels of each lump. */
template <int KIND> DEVICE void add_up_lumps(meeting &m, const share &s, int which, const float (&v)[EIGHT]) {
  float sums[LUMPS<KIND>] = {};
#pragma unroll
  for (int i = 0; i < EIGHT; i++) sums[i / LUMP<KIND>] += v[i];
  add_up(m, s, which, sums);
}

/* Mean of a group's terms from the totals of its lumps. */
template <int KIND> DEVICE double group_mean(const meeting &m, const normalisation &g, int which, int group) {
  double total = 0;
  int each = g.width / LUMP<KIND>;
#pragma unroll 1
  for (int i = 0; i < each; i++) total += m.totals[which][group * each + i];
  return total / ((double)(g.h * g.w) * (double)g.width);
}

#endif
