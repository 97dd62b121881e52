/* Group normalisation of [N, pixels, C], fused with what may follow it:
 *   h = (x - mean) / sqrt(var + eps) * weight + bias;  y = resample(dropout(silu(h)))
 * x may be two parts, treated as their concatenation along channels. A task is one sample and a few groups, whose pixels are
 * read three times while they are in the cache. Statistics take two passes, with sums over BLOCK pixels in f32 and over blocks in
 * f64. The rounding error of a sum of nearly equal numbers is large compared to their deviation, so the second pass computes a
 * correction of the mean (`rest`) from the differences, which is folded into the bias of each channel.
 */
#include "philox.h"
#include "pool.h"

enum { BAND = 512, BLOCK = 128, MOST_STRIP = 16, MOST_CHANNELS = 512, LEAST_CHANNELS = 64, LEAST_TASKS = 4, MOST_GROUPS = 64,
       RESAMPLE_UP = 1, RESAMPLE_DOWN = 2 };

struct norm {
  const float *x[2], *weight, *bias, *dy;
  float *y, *dx[2], *mean, *rstd, *rest; /* [N, groups]; the mean is mean + rest */
  float *weight_sums, *bias_sums; /* [N, C]: their sums over N are the gradients of weight and bias */
  int32_t n, h, w, part[2], c, groups, width, per_task, tasks_per_sample, resample, silu;
  float eps;
  struct draw draw;
  int32_t threshold;
  float keep_scale;
};

static struct norm norm_of(const int32_t *t) {
  struct norm g = {.n = t[0], .h = t[1], .w = t[2], .part = {t[3], t[4]}, .groups = t[5], .resample = t[6], .silu = t[7]};
  g.c = g.part[0] + g.part[1];
  g.width = g.c / g.groups;
  /* The hardware prefetcher follows whole rows only, so a task takes fewer channels only if there are few samples. */
  int32_t channels = MOST_CHANNELS;
  while (channels > LEAST_CHANNELS && g.n * ceil_div(g.c, channels) < LEAST_TASKS) channels /= 2;
  int32_t most = min32(MOST_GROUPS, ceil_div(g.groups, ceil_div(g.c, channels)));
  g.per_task = most;
  /* Choose a number of groups whose channels fill whole vectors of any length, if there is one. */
  while (g.per_task > 1 && g.per_task * g.width % 16) g.per_task--;
  if (g.per_task * g.width % 16) g.per_task = most;
  g.tasks_per_sample = ceil_div(g.groups, g.per_task);
  return g;
}

static void place_statistics(struct norm *g, float *stats) {
  size_t each = (size_t)g->n * (size_t)g->groups;
  g->mean = stats, g->rstd = stats + each, g->rest = stats + 2 * each;
}

/* A run of channels of one task that is within one part and fits the buffers. */
struct band { int32_t first, count, part, offset; };

INLINE struct band band_at(const struct norm *g, int32_t channel, int32_t last) {
  int32_t part = channel >= g->part[0], offset = part ? channel - g->part[0] : channel;
  int32_t end = part ? last : min32(last, g->part[0]);
  return (struct band){channel, min32(BAND, end - channel), part, offset};
}

INLINE size_t band_offset(const struct norm *g, const struct band *b, int32_t sample, int32_t pixel) {
  return ((size_t)sample * (size_t)(g->h * g->w) + (size_t)pixel) * (size_t)g->part[b->part] + (size_t)b->offset;
}

/* Iterates over the groups of consecutive channels without a division for each channel. */
struct walk { int32_t group, left, width; };
INLINE struct walk walk_from(const struct norm *g, int32_t channel) {
  int32_t group = channel / g->width;
  return (struct walk){group, (group + 1) * g->width - channel, g->width};
}
INLINE void step(struct walk *w) {
  if (--w->left == 0) w->group++, w->left = w->width;
}

/* s[i] = sum of x over pixels [begin, end), or of x - centre, and then q[i] is the sum of its squares; accumulated in registers */
INLINE void strip_sums(int32_t vectors, int32_t squares, const float *x, size_t pixel, int32_t pixels, const float *centre, float *s,
                       float *q) {
  vec sum[MOST_STRIP] = {}, square[MOST_STRIP] = {}, middle[MOST_STRIP];
  UNROLLED for (int32_t v = 0; v < vectors; v++) middle[v] = load(centre + v * LANES);
  for (int32_t p = 0; p < pixels; p++, x += pixel)
    UNROLLED for (int32_t v = 0; v < vectors; v++) {
      vec d = load(x + v * LANES);
      if (squares) d -= middle[v], square[v] += d * d;
      sum[v] += d;
    }
  UNROLLED for (int32_t v = 0; v < vectors; v++) store(s + v * LANES, sum[v]);
  if (squares) UNROLLED for (int32_t v = 0; v < vectors; v++) store(q + v * LANES, square[v]);
}

/* The widest strips come first, for the prefetcher. With squares, a vector takes three registers instead of one. */
#define STRIPS(vectors)                                             \
  for (; i + (vectors) * LANES <= b->count; i += (vectors) * LANES) \
    strip_sums(vectors, squares, x + i, row, count, centre + i, s + i, q + i);

/* Adds the sums of x over all pixels to sums[group - first_group]; with squares, those of x - mean, and of its squares to squared. */
INLINE void band_sums(int32_t squares, const struct norm *g, const struct band *b, int32_t sample, int32_t first_group,
                      const float *mean, double *sums, double *squared) {
  int32_t pixels = g->h * g->w;
  size_t row = (size_t)g->part[b->part];
  float centre[BAND + LANES] = {0}, s[BAND + LANES], q[BAND + LANES] = {0};
  if (squares) {
    struct walk w = walk_from(g, b->first);
    for (int32_t i = 0; i < b->count; i++, step(&w)) centre[i] = mean[w.group];
  }
  for (int32_t begin = 0; begin < pixels; begin += BLOCK) {
    const float *x = g->x[b->part] + band_offset(g, b, sample, begin);
    int32_t count = min32(BLOCK, pixels - begin), i = 0;
#if LANES == 16
    if (!squares) {
      STRIPS(16)
      STRIPS(12)
    }
    STRIPS(8)
#else
    if (!squares) STRIPS(8)
#endif
    STRIPS(4)
    STRIPS(1)
    for (; i < b->count; i++) {
      s[i] = q[i] = 0.0f;
      for (int32_t p = 0; p < count; p++) {
        float d = x[(size_t)p * row + (size_t)i] - centre[i];
        s[i] += d, q[i] += d * d;
      }
    }
    struct walk w = walk_from(g, b->first);
    for (int32_t j = 0; j < b->count; j++, step(&w)) {
      sums[w.group - first_group] += (double)s[j];
      if (squares) squared[w.group - first_group] += (double)q[j];
    }
  }
}

/* Per channel: mean, rstd, weight * rstd, and the bias corrected for the rest of the mean */
struct coefficients { float mean[BAND + LANES], rstd[BAND + LANES], scale[BAND + LANES], bias[BAND + LANES]; };

static void band_coefficients(const struct norm *g, const struct band *b, int32_t sample, struct coefficients *k) {
  size_t of_sample = (size_t)sample * (size_t)g->groups;
  const float *mean = g->mean + of_sample, *rstd = g->rstd + of_sample, *rest = g->rest + of_sample;
  struct walk w = walk_from(g, b->first);
  for (int32_t i = 0; i < b->count; i++, step(&w)) {
    int32_t channel = b->first + i;
    k->mean[i] = mean[w.group];
    k->rstd[i] = rstd[w.group];
    k->scale[i] = rstd[w.group] * g->weight[channel];
    k->bias[i] = g->bias[channel] - rest[w.group] * k->scale[i];
  }
}

INLINE void activate_channels(int32_t silu, int32_t masked, const float *x, int32_t count, const struct coefficients *k,
                              const float *mask, float *v) {
  for (int32_t i = 0; i < count; i += LANES) {
    int32_t left = count - i;
    vec h = ((left >= LANES ? load(x + i) : load_partial(x + i, left)) - load(k->mean + i)) * load(k->scale + i) + load(k->bias + i);
    if (silu) h *= vec_sigmoid(h);
    if (masked) h *= load(mask + i);
    if (left >= LANES) store(v + i, h);
    else store_partial(v + i, h, left);
  }
}

/* v = dropout(silu((x - mean) scale + bias)) */
static void activate(const struct norm *g, const struct band *b, int32_t sample, int32_t pixel, const struct coefficients *k,
                     float *v) {
  const float *x = g->x[b->part] + band_offset(g, b, sample, pixel);
  float mask[BAND + LANES];
  if (g->threshold)
    dropout_mask(&g->draw, (uint64_t)sample, pixel * g->c + b->first, b->count, g->threshold, g->keep_scale, mask);
  if (g->silu && g->threshold) activate_channels(1, 1, x, b->count, k, mask, v);
  else if (g->silu) activate_channels(1, 0, x, b->count, k, mask, v);
  else if (g->threshold) activate_channels(0, 1, x, b->count, k, mask, v);
  else activate_channels(0, 0, x, b->count, k, mask, v);
}

static void write_band(const struct norm *g, const struct band *b, int32_t sample, const struct coefficients *k) {
  int32_t pixels = g->h * g->w;
  size_t c = (size_t)g->c;
  if (g->resample == RESAMPLE_DOWN) {
    int32_t h = g->h / 2, w = g->w / 2;
    for (int32_t p = 0; p < h * w; p++) {
      float v[BAND], sum[BAND];
      int32_t corner = p / w * 2 * g->w + p % w * 2;
      for (int32_t q = 0; q < 4; q++) {
        activate(g, b, sample, corner + q / 2 * g->w + q % 2, k, q ? v : sum);
        if (q)
          for (int32_t i = 0; i < b->count; i++) sum[i] += v[i];
      }
      float *y = g->y + ((size_t)sample * (size_t)(h * w) + (size_t)p) * c + (size_t)b->first;
      for (int32_t i = 0; i < b->count; i++) y[i] = 0.25f * sum[i];
    }
  } else if (g->resample == RESAMPLE_UP) {
    float *image = g->y + (size_t)sample * (size_t)(4 * pixels) * c + (size_t)b->first;
    for (int32_t p = 0; p < pixels; p++) {
      float v[BAND];
      activate(g, b, sample, p, k, v);
      size_t corner = (size_t)(p / g->w * 2) * (size_t)(2 * g->w) + (size_t)(p % g->w * 2);
      for (int32_t q = 0; q < 4; q++) {
        float *y = image + (corner + (size_t)(q / 2) * (size_t)(2 * g->w) + (size_t)(q % 2)) * c;
        for (int32_t i = 0; i < b->count; i++) y[i] = v[i];
      }
    }
  } else {
    for (int32_t p = 0; p < pixels; p++)
      activate(g, b, sample, p, k, g->y + ((size_t)sample * (size_t)pixels + (size_t)p) * c + (size_t)b->first);
  }
}

static void forward_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct norm *g = context;
  int32_t sample = task / g->tasks_per_sample, first_group = task % g->tasks_per_sample * g->per_task;
  int32_t last_group = min32(g->groups, first_group + g->per_task);
  int32_t first = first_group * g->width, last = last_group * g->width;
  size_t of_sample = (size_t)sample * (size_t)g->groups;
  float *mean = g->mean + of_sample, *rstd = g->rstd + of_sample, *rest = g->rest + of_sample;
  double scale = 1.0 / ((double)g->width * g->h * g->w);
  for (int32_t pass = 0; pass < 2; pass++) {
    double sums[MOST_GROUPS] = {0}, squared[MOST_GROUPS] = {0};
    for (int32_t channel = first; channel < last;) {
      struct band b = band_at(g, channel, last);
      if (pass) band_sums(1, g, &b, sample, first_group, mean, sums, squared);
      else band_sums(0, g, &b, sample, first_group, 0, sums, squared);
      channel += b.count;
    }
    for (int32_t group = first_group; group < last_group; group++) {
      double value = sums[group - first_group] * scale, variance = squared[group - first_group] * scale - value * value;
      /* If squares overflow f32, the result is NaN, not the zeros that a division by infinity would give. */
      if (!(variance < __builtin_inf())) variance = __builtin_nan("");
      else if (variance < 0) variance = 0;
      if (pass) rest[group] = (float)value, rstd[group] = (float)(1.0 / __builtin_sqrt(variance + (double)g->eps));
      else mean[group] = (float)value;
    }
  }
  for (int32_t channel = first; channel < last;) {
    struct band b = band_at(g, channel, last);
    struct coefficients k;
    band_coefficients(g, &b, sample, &k);
    write_band(g, &b, sample, &k);
    channel += b.count;
  }
}

/* stats: mean [N, groups], then rstd, then the rest of the mean; table: N, H, W, C of both parts, groups, resample, silu */
KERNEL void group_norm_forward(const float *x0, const float *x1, const float *weight, const float *bias, float *y, float *stats,
                               const int32_t *table, float eps, const uint32_t *origin, int32_t seed_low, int32_t seed_high,
                               int32_t sample_low, int32_t sample_high, int32_t stream, int32_t threshold, float keep_scale) {
  struct norm g = norm_of(table);
  g.x[0] = x0, g.x[1] = x1, g.weight = weight, g.bias = bias, g.y = y, g.eps = eps;
  place_statistics(&g, stats);
  g.draw = draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream);
  g.threshold = threshold, g.keep_scale = keep_scale;
  pool_run(forward_task, &g, g.n * g.tasks_per_sample);
}

/* ---------------------------------------------------------------- backward */

/* d(loss) / d(dropout(silu(h))) at a pixel, by the adjoint of resampling; a pointer into dy, or to v */
static const float *upstream(const struct norm *g, const struct band *b, int32_t sample, int32_t pixel, float *v) {
  size_t c = (size_t)g->c;
  if (!g->resample) return g->dy + ((size_t)sample * (size_t)(g->h * g->w) + (size_t)pixel) * c + (size_t)b->first;
  int32_t y = pixel / g->w, x = pixel % g->w;
  if (g->resample == RESAMPLE_UP) {
    const float *image = g->dy + (size_t)sample * (size_t)(4 * g->h * g->w) * c + (size_t)b->first;
    size_t corner = (size_t)(2 * y) * (size_t)(2 * g->w) + (size_t)(2 * x);
    const float *d[4];
    for (int32_t q = 0; q < 4; q++) d[q] = image + (corner + (size_t)(q / 2) * (size_t)(2 * g->w) + (size_t)(q % 2)) * c;
    for (int32_t i = 0; i < b->count; i++) v[i] = (d[0][i] + d[1][i]) + (d[2][i] + d[3][i]);
  } else {
    int32_t w = g->w / 2;
    const float *d = g->dy + ((size_t)sample * (size_t)(g->h / 2 * w) + (size_t)(y / 2 * w + x / 2)) * c + (size_t)b->first;
    for (int32_t i = 0; i < b->count; i++) v[i] = 0.25f * d[i];
  }
  return v;
}

/* dx = dh of a pixel; adds dh and dh (x - mean) rstd to the sums. Lanes beyond the band have dy = 0 and undefined coefficients;
 * their results are not read. */
INLINE void gradient_channels(int32_t silu, int32_t masked, const float *x, const float *dy, int32_t count,
                              const struct coefficients *k, const float *mask, float *dx, float *bias_sum, float *weight_sum) {
  for (int32_t i = 0; i < count; i += LANES) {
    int32_t left = count - i;
    vec d = left >= LANES ? load(dy + i) : load_partial(dy + i, left);
    vec centred = (left >= LANES ? load(x + i) : load_partial(x + i, left)) - load(k->mean + i);
    if (masked) d *= load(mask + i);
    if (silu) {
      vec h = centred * load(k->scale + i) + load(k->bias + i), s = vec_sigmoid(h);
      d *= s * (1.0f + h * (1.0f - s));
    }
    store(bias_sum + i, load(bias_sum + i) + d);
    store(weight_sum + i, load(weight_sum + i) + d * (centred * load(k->rstd + i)));
    if (left >= LANES) store(dx + i, d);
    else store_partial(dx + i, d, left);
  }
}

/* Stores dh in dx for now; computes sums of dh and dh * (x - mean) rstd per channel, and their weighted sums over groups */
static void band_gradient(const struct norm *g, const struct band *b, int32_t sample, int32_t first_group,
                          const struct coefficients *k, double *weighted, double *centred) {
  int32_t pixels = g->h * g->w;
  double bias_total[BAND] = {0}, weight_total[BAND] = {0};
  float buffer[BAND + LANES], mask[BAND + LANES] = {0};
  for (int32_t begin = 0; begin < pixels; begin += BLOCK) {
    float bias_sum[BAND + LANES] = {0}, weight_sum[BAND + LANES] = {0};
    int32_t end = min32(pixels, begin + BLOCK);
    for (int32_t p = begin; p < end; p++) {
      const float *dy = upstream(g, b, sample, p, buffer);
      size_t at = band_offset(g, b, sample, p);
      const float *x = g->x[b->part] + at;
      float *dx = g->dx[b->part] + at;
      if (g->threshold)
        dropout_mask(&g->draw, (uint64_t)sample, p * g->c + b->first, b->count, g->threshold, g->keep_scale, mask);
      if (g->silu && g->threshold) gradient_channels(1, 1, x, dy, b->count, k, mask, dx, bias_sum, weight_sum);
      else if (g->silu) gradient_channels(1, 0, x, dy, b->count, k, mask, dx, bias_sum, weight_sum);
      else if (g->threshold) gradient_channels(0, 1, x, dy, b->count, k, mask, dx, bias_sum, weight_sum);
      else gradient_channels(0, 0, x, dy, b->count, k, mask, dx, bias_sum, weight_sum);
    }
    for (int32_t i = 0; i < b->count; i++) bias_total[i] += (double)bias_sum[i], weight_total[i] += (double)weight_sum[i];
  }
  const float *rest = g->rest + (size_t)sample * (size_t)g->groups;
  struct walk w = walk_from(g, b->first);
  for (int32_t i = 0; i < b->count; i++, step(&w)) {
    int32_t channel = b->first + i, group = w.group - first_group;
    size_t at = (size_t)sample * (size_t)g->c + (size_t)channel;
    weight_total[i] -= (double)rest[w.group] * (double)k->rstd[i] * bias_total[i];
    g->bias_sums[at] = (float)bias_total[i];
    g->weight_sums[at] = (float)weight_total[i];
    centred[group] += bias_total[i] * (double)g->weight[channel];
    weighted[group] += weight_total[i] * (double)g->weight[channel];
  }
}

static void backward_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct norm *g = context;
  int32_t sample = task / g->tasks_per_sample, first_group = task % g->tasks_per_sample * g->per_task;
  int32_t last_group = min32(g->groups, first_group + g->per_task);
  int32_t first = first_group * g->width, last = last_group * g->width, pixels = g->h * g->w;
  double weighted[MOST_GROUPS] = {0}, centred[MOST_GROUPS] = {0}, scale = 1.0 / ((double)g->width * pixels);
  for (int32_t channel = first; channel < last;) {
    struct band b = band_at(g, channel, last);
    struct coefficients k;
    band_coefficients(g, &b, sample, &k);
    band_gradient(g, &b, sample, first_group, &k, weighted, centred);
    channel += b.count;
  }
  /* dx = rstd (weight dh - mean(weight dh) - x^ mean(weight dh x^)), x^ = (x - mean) rstd */
  for (int32_t channel = first; channel < last;) {
    struct band b = band_at(g, channel, last);
    struct coefficients k;
    band_coefficients(g, &b, sample, &k);
    float level[BAND + LANES] = {0}, slope[BAND + LANES] = {0};
    const float *rest = g->rest + (size_t)sample * (size_t)g->groups;
    struct walk w = walk_from(g, b.first);
    for (int32_t i = 0; i < b.count; i++, step(&w)) {
      int32_t group = w.group - first_group;
      double rstd = (double)k.rstd[i], of_group = weighted[group] * scale * rstd * rstd;
      slope[i] = (float)of_group;
      level[i] = (float)(centred[group] * scale * rstd - (double)rest[w.group] * of_group);
    }
    for (int32_t p = 0; p < pixels; p++) {
      size_t at = band_offset(g, &b, sample, p);
      const float *x = g->x[b.part] + at;
      float *dx = g->dx[b.part] + at;
      int32_t i = 0;
      for (; i + LANES <= b.count; i += LANES) {
        vec d = load(dx + i) * load(k.scale + i) - load(level + i);
        store(dx + i, d - (load(x + i) - load(k.mean + i)) * load(slope + i));
      }
      for (; i < b.count; i++) dx[i] = dx[i] * k.scale[i] - level[i] - (x[i] - k.mean[i]) * slope[i];
    }
    channel += b.count;
  }
}

/* dx0, dx1 like x0, x1; sums: weight gradients [N, C], then bias gradients [N, C], to be summed over N */
KERNEL void group_norm_backward(const float *x0, const float *x1, const float *weight, const float *bias, const float *stats,
                                const float *dy, float *dx0, float *dx1, float *sums, const int32_t *table,
                                const uint32_t *origin, int32_t seed_low, int32_t seed_high, int32_t sample_low,
                                int32_t sample_high, int32_t stream, int32_t threshold, float keep_scale) {
  struct norm g = norm_of(table);
  g.x[0] = x0, g.x[1] = x1, g.weight = weight, g.bias = bias, g.dy = dy, g.dx[0] = dx0, g.dx[1] = dx1;
  place_statistics(&g, (float *)stats);
  g.weight_sums = sums, g.bias_sums = sums + (size_t)g.n * (size_t)g.c;
  g.draw = draw_of(origin, seed_low, seed_high, sample_low, sample_high, stream);
  g.threshold = threshold, g.keep_scale = keep_scale;
  pool_run(backward_task, &g, g.n * g.tasks_per_sample);
}
