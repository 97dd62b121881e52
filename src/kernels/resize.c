/* Bilinear resizing of [N, H, W, C] to [N, H', W', C] with half-pixel centres and without antialiasing, one axis at a time:
 *   position(o) = max((o + 1/2) H / H' - 1/2, 0), y[o] = (1 - f) x[i] + f x[min(i + 1, H - 1)],
 *   i = floor(position), f = position - i
 * The adjoint is gathered: a task is one row of x and visits every row of y that it contributes to.
 * Below, the same with any number of taps: one (nearest neighbour) or four (cubic).
 */
#include "pool.h"

struct resizing {
  const float *source;
  float *target;
  int32_t h, w, c, out_h, out_w; /* h, w: of x, in both directions */
};

struct taps {
  int32_t first, second;
  float fraction;
};

INLINE struct taps taps_of(int32_t o, int32_t extent, int32_t out_extent) {
  double position = ((double)o + 0.5) * ((double)extent / (double)out_extent) - 0.5;
  if (position < 0.0) position = 0.0;
  int32_t first = min32((int32_t)position, extent - 1);
  return (struct taps){first, min32(first + 1, extent - 1), (float)(position - (double)first)};
}

/* The weight of input i in an output. */
INLINE float share_of(struct taps t, int32_t i) {
  return (t.first == i ? 1.0f - t.fraction : 0.0f) + (t.second == i ? t.fraction : 0.0f);
}

/* The first output whose second tap is i or greater; taps never decrease with o. */
INLINE int32_t first_output(int32_t i, int32_t extent, int32_t out_extent) {
  int32_t low = 0, high = out_extent;
  while (low < high) {
    int32_t middle = (low + high) / 2;
    if (taps_of(middle, extent, out_extent).second < i) low = middle + 1;
    else high = middle;
  }
  return low;
}

static void resize_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct resizing *r = context;
  int32_t c = r->c;
  size_t line = (size_t)r->w * (size_t)c;
  struct taps v = taps_of(task % r->out_h, r->h, r->out_h);
  const float *image = r->source + (size_t)(task / r->out_h) * (size_t)r->h * line;
  const float *upper = image + (size_t)v.first * line, *lower = image + (size_t)v.second * line;
  float *y = r->target + (size_t)task * (size_t)r->out_w * (size_t)c;
  for (int32_t o = 0; o < r->out_w; o++, y += c) {
    struct taps u = taps_of(o, r->w, r->out_w);
    size_t left = (size_t)u.first * (size_t)c, right = (size_t)u.second * (size_t)c;
    for (int32_t k = 0; k < c; k++) {
      float a = upper[left + (size_t)k] * (1.0f - u.fraction) + upper[right + (size_t)k] * u.fraction;
      float b = lower[left + (size_t)k] * (1.0f - u.fraction) + lower[right + (size_t)k] * u.fraction;
      y[k] = a * (1.0f - v.fraction) + b * v.fraction;
    }
  }
}

/* table: N, H, W, C, H', W' */
KERNEL void resize_bilinear(const float *x, float *y, const int32_t *table) {
  const int32_t *t = table;
  struct resizing r = {x, y, t[1], t[2], t[3], t[4], t[5]};
  pool_run(resize_task, &r, t[0] * r.out_h);
}

static void gradient_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct resizing *r = context;
  int32_t c = r->c, row = task % r->h;
  size_t line = (size_t)r->out_w * (size_t)c;
  float *dx = r->target + (size_t)task * (size_t)r->w * (size_t)c;
  for (int32_t k = 0; k < r->w * c; k++) dx[k] = 0.0f;
  for (int32_t o = first_output(row, r->h, r->out_h); o < r->out_h; o++) {
    struct taps v = taps_of(o, r->h, r->out_h);
    if (v.first > row) break;
    const float *dy = r->source + ((size_t)(task / r->h) * (size_t)r->out_h + (size_t)o) * line;
    float vertical = share_of(v, row);
    for (int32_t p = 0; p < r->out_w; p++, dy += c) {
      struct taps u = taps_of(p, r->w, r->out_w);
      float *left = dx + (size_t)u.first * (size_t)c, *right = dx + (size_t)u.second * (size_t)c;
      for (int32_t k = 0; k < c; k++) {
        left[k] += vertical * (1.0f - u.fraction) * dy[k];
        right[k] += vertical * u.fraction * dy[k];
      }
    }
  }
}

/* dx [N, H, W, C] from dy [N, H', W', C], with the table of resize_bilinear */
KERNEL void resize_bilinear_gradient(const float *dy, float *dx, const int32_t *table) {
  const int32_t *t = table;
  struct resizing r = {dy, dx, t[1], t[2], t[3], t[4], t[5]};
  pool_run(gradient_task, &r, t[0] * r.h);
}

/* ---------------------------------------------------------------- any number of taps */

enum { MOST_TAPS = 4 };

/* What an output reads: inputs first, first + 1, ... with these weights, where those outside the image repeat its border. */
struct reading {
  int32_t first;
  float weights[MOST_TAPS];
};

/* One tap: floor(o H / H'). Four: Keys's cubic convolution with a = -0.75 around the half-pixel centre. */
INLINE struct reading reading_of(int32_t o, int32_t extent, int32_t out_extent, int32_t taps) {
  if (taps == 1) return (struct reading){(int32_t)((int64_t)o * extent / out_extent), {1.0f}};
  double position = ((double)o + 0.5) * ((double)extent / (double)out_extent) - 0.5, a = -0.75;
  int32_t below = (int32_t)position - (position < 0.0); /* floor: position is above -1 */
  double t = position - (double)below, s = 1.0 - t;
  return (struct reading){below - 1,
                          {(float)(((a * (t + 1.0) - 5.0 * a) * (t + 1.0) + 8.0 * a) * (t + 1.0) - 4.0 * a),
                           (float)(((a + 2.0) * t - (a + 3.0)) * t * t + 1.0), (float)(((a + 2.0) * s - (a + 3.0)) * s * s + 1.0),
                           (float)(((a * (s + 1.0) - 5.0 * a) * (s + 1.0) + 8.0 * a) * (s + 1.0) - 4.0 * a)}};
}

INLINE int32_t inside(int32_t i, int32_t extent) { return min32(max32(i, 0), extent - 1); }

/* The first output that reads input i or a later one; inputs never decrease with o. */
INLINE int32_t first_reader(int32_t i, int32_t extent, int32_t out_extent, int32_t taps) {
  int32_t low = 0, high = out_extent;
  while (low < high) {
    int32_t middle = (low + high) / 2;
    if (inside(reading_of(middle, extent, out_extent, taps).first + taps - 1, extent) < i) low = middle + 1;
    else high = middle;
  }
  return low;
}

struct tapping {
  const float *source;
  float *target;
  int32_t h, w, c, out_h, out_w, taps;
};

/* table: N, H, W, C, H', W', taps */
INLINE struct tapping tapping_of(const float *source, float *target, const int32_t *t) {
  return (struct tapping){source, target, t[1], t[2], t[3], t[4], t[5], t[6]};
}

static void taps_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct tapping *r = context;
  int32_t c = r->c, taps = r->taps;
  size_t line = (size_t)r->w * (size_t)c;
  struct reading v = reading_of(task % r->out_h, r->h, r->out_h, taps);
  const float *image = r->source + (size_t)(task / r->out_h) * (size_t)r->h * line;
  float *y = r->target + (size_t)task * (size_t)r->out_w * (size_t)c;
  for (int32_t o = 0; o < r->out_w; o++, y += c) {
    struct reading u = reading_of(o, r->w, r->out_w, taps);
    for (int32_t k = 0; k < c; k++) {
      float sum = 0.0f;
      for (int32_t i = 0; i < taps; i++) {
        const float *row = image + (size_t)inside(v.first + i, r->h) * line + (size_t)k;
        float part = u.weights[0] * row[(size_t)inside(u.first, r->w) * (size_t)c];
        for (int32_t j = 1; j < taps; j++) part += u.weights[j] * row[(size_t)inside(u.first + j, r->w) * (size_t)c];
        sum = i == 0 ? v.weights[0] * part : sum + v.weights[i] * part; /* 0 + -0 would be 0 */
      }
      y[k] = sum;
    }
  }
}

KERNEL void resize_taps(const float *x, float *y, const int32_t *table) {
  struct tapping r = tapping_of(x, y, table);
  pool_run(taps_task, &r, table[0] * r.out_h);
}

/* Rows of dy that are added before they are spread over the columns of dx. */
enum { ROWS_TOGETHER = 16 };

/* dx += rows [first, first + count) of dy, `line` apart, with these weights */
INLINE void add_rows(const struct tapping *r, float *dx, const float *dy, size_t line, const float *weights, int32_t count) {
  int32_t c = r->c, taps = r->taps;
  for (int32_t p = 0; p < r->out_w; p++, dy += c) {
    struct reading u = reading_of(p, r->w, r->out_w, taps);
    for (int32_t k = 0; k < c; k++) {
      float sum = 0.0f;
      for (int32_t i = 0; i < count; i++) sum += weights[i] * dy[(size_t)i * line + (size_t)k];
      for (int32_t j = 0; j < taps; j++) dx[(size_t)inside(u.first + j, r->w) * (size_t)c + (size_t)k] += u.weights[j] * sum;
    }
  }
}

static void taps_gradient_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct tapping *r = context;
  int32_t taps = r->taps, row = task % r->h;
  size_t line = (size_t)r->out_w * (size_t)r->c;
  const float *dy = r->source + (size_t)(task / r->h) * (size_t)r->out_h * line;
  float *dx = r->target + (size_t)task * (size_t)r->w * (size_t)r->c, weights[ROWS_TOGETHER];
  for (int32_t k = 0; k < r->w * r->c; k++) dx[k] = 0.0f;
  int32_t o = first_reader(row, r->h, r->out_h, taps), count = 0;
  for (; o < r->out_h; o++) {
    struct reading v = reading_of(o, r->h, r->out_h, taps);
    if (inside(v.first, r->h) > row) break;
    if (count == ROWS_TOGETHER) add_rows(r, dx, dy + (size_t)(o - count) * line, line, weights, count), count = 0;
    weights[count] = 0.0f;
    for (int32_t i = 0; i < taps; i++)
      if (inside(v.first + i, r->h) == row) weights[count] += v.weights[i];
    count++;
  }
  if (count > 0) add_rows(r, dx, dy + (size_t)(o - count) * line, line, weights, count);
}

/* dx [N, H, W, C] from dy [N, H', W', C], with the table of resize_taps */
KERNEL void resize_taps_gradient(const float *dy, float *dx, const int32_t *table) {
  struct tapping r = tapping_of(dy, dx, table);
  pool_run(taps_gradient_task, &r, table[0] * r.h);
}
