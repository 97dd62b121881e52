/* Pooling of [N, H, W, C] over windows kernel_h x kernel_w, one every stride pixels of the padded image, or adaptive, over the H'
 * x W' windows that divide the image; these overlap by a pixel where their number does not divide the image:
 *   max   y[o] = the maximum of x over the window; padding is never selected
 *   mean  y[o] = sum of x over the window / count, count = its pixels, with or without padding
 * A gradient is gathered: a task is one row of x and visits every window that contains it, so that no two tasks add to the
 * same element. On ties, the first maximum of the window (row by row) gets the gradient; if y is NaN, the first NaN does.
 */
#include "pool.h"

struct pooling {
  const float *x, *y, *grad;
  float *out;
  int32_t h, w, c, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, with_border;
  int32_t adaptive; /* then kernel, stride and padding are not used */
};

/* table: N, H, W, C, H', W', kernel, stride and padding (vertical first), whether the mean counts the padding, whether adaptive */
INLINE struct pooling pooling_of(const int32_t *t) {
  return (struct pooling){.h = t[1], .w = t[2], .c = t[3], .out_h = t[4], .out_w = t[5], .kernel_h = t[6], .kernel_w = t[7],
                          .stride_h = t[8], .stride_w = t[9], .padding_h = t[10], .padding_w = t[11], .with_border = t[12],
                          .adaptive = t[13]};
}

/* The rows and columns of a window that are inside the image. */
struct window {
  int32_t top, bottom, left, right;
};

/* floor(i from / to) and ceil(i from / to); the products are below 2^31 (prepareAdaptive in pooling.ts) */
INLINE int32_t scaled_down(int32_t i, int32_t from, int32_t to) { return (int32_t)((uint32_t)i * (uint32_t)from / (uint32_t)to); }
INLINE int32_t scaled_up(int32_t i, int32_t from, int32_t to) {
  return (int32_t)(((uint32_t)i * (uint32_t)from + (uint32_t)to - 1) / (uint32_t)to);
}

INLINE struct window window_of(const struct pooling *p, int32_t row, int32_t column) {
  if (p->adaptive)
    return (struct window){scaled_down(row, p->h, p->out_h), scaled_up(row + 1, p->h, p->out_h),
                           scaled_down(column, p->w, p->out_w), scaled_up(column + 1, p->w, p->out_w)};
  int32_t top = row * p->stride_h - p->padding_h, left = column * p->stride_w - p->padding_w;
  return (struct window){max32(top, 0), min32(top + p->kernel_h, p->h), max32(left, 0), min32(left + p->kernel_w, p->w)};
}

INLINE float share_of(const struct pooling *p, struct window v) {
  int32_t inside = (v.bottom - v.top) * (v.right - v.left);
  return 1.0f / (float)(p->with_border ? p->kernel_h * p->kernel_w : inside);
}

/* Rows of windows first, first + 1, ... last - 1 contain a line of the image. */
INLINE int32_t first_row(const struct pooling *p, int32_t line) {
  if (p->adaptive) return scaled_down(line, p->out_h, p->h);
  int32_t after = line + p->padding_h - p->kernel_h + 1;
  return after > 0 ? ceil_div(after, p->stride_h) : 0;
}
INLINE int32_t last_row(const struct pooling *p, int32_t line) {
  if (p->adaptive) return scaled_up(line + 1, p->out_h, p->h);
  return min32((line + p->padding_h) / p->stride_h + 1, p->out_h);
}

INLINE vec load_lanes(const float *p, int32_t lanes) { return lanes == LANES ? load(p) : load_partial(p, lanes); }
INLINE void store_lanes(float *p, vec v, int32_t lanes) {
  if (lanes == LANES) store(p, v);
  else store_partial(p, v, lanes);
}

INLINE size_t place(int32_t image, int32_t h, int32_t w, int32_t c, int32_t row, int32_t column) {
  return (((size_t)image * (size_t)h + (size_t)row) * (size_t)w + (size_t)column) * (size_t)c;
}

/* ---------------------------------------------------------------- forward: a task is one row of y */

INLINE void pool_row(const struct pooling *p, int32_t task, int32_t largest) {
  int32_t image = task / p->out_h, row = task % p->out_h;
  float *y = p->out + place(image, p->out_h, p->out_w, p->c, row, 0);
  for (int32_t column = 0; column < p->out_w; column++, y += p->c) {
    struct window v = window_of(p, row, column);
    float share = share_of(p, v);
    for (int32_t k = 0; k < p->c; k += LANES) {
      int32_t lanes = min32(LANES, p->c - k);
      vec result = largest ? splat(-__builtin_inff()) : (vec){};
      for (int32_t i = v.top; i < v.bottom; i++) {
        const float *x = p->x + place(image, p->h, p->w, p->c, i, v.left) + k;
        for (int32_t j = v.left; j < v.right; j++, x += p->c) {
          vec value = load_lanes(x, lanes);
          /* NaN propagates. */
          if (largest) result = select((value > result) | (value != value), value, result);
          else result += value;
        }
      }
      store_lanes(y + k, largest ? result : result * share, lanes);
    }
  }
}

static void max_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  pool_row(context, task, 1);
}

static void mean_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  pool_row(context, task, 0);
}

KERNEL void pooling_max(const float *x, float *y, const int32_t *table) {
  struct pooling p = pooling_of(table);
  p.x = x, p.out = y;
  pool_run(max_task, &p, table[0] * p.out_h);
}

/* y = the element of `grad` [N, H, W, C] where x is the first of its window that equals the maximum `p->y` */
static void pick_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct pooling *p = context;
  int32_t image = task / p->out_h, row = task % p->out_h;
  for (int32_t column = 0; column < p->out_w; column++) {
    struct window v = window_of(p, row, column);
    size_t at = place(image, p->out_h, p->out_w, p->c, row, column);
    for (int32_t k = 0; k < p->c; k++) {
      float largest = p->y[at + (size_t)k], result = 0.0f;
      int32_t found = 0;
      for (int32_t i = v.top; i < v.bottom && !found; i++)
        for (int32_t j = v.left; j < v.right && !found; j++) {
          size_t from = place(image, p->h, p->w, p->c, i, j) + (size_t)k;
          float value = p->x[from];
          if (value == largest || (value != value && largest != largest)) result = p->grad[from], found = 1;
        }
      p->out[at + (size_t)k] = result;
    }
  }
}

KERNEL void pooling_max_tangent(const float *x, const float *y, const float *tangent, float *out, const int32_t *table) {
  struct pooling p = pooling_of(table);
  p.x = x, p.y = y, p.grad = tangent, p.out = out;
  pool_run(pick_task, &p, table[0] * p.out_h);
}

KERNEL void pooling_mean(const float *x, float *y, const int32_t *table) {
  struct pooling p = pooling_of(table);
  p.x = x, p.out = y;
  pool_run(mean_task, &p, table[0] * p.out_h);
}

/* ---------------------------------------------------------------- gradients: a task is one row of x */

/* dx += dy where x in this row is the first of the window that equals y, or the first NaN if y is NaN */
INLINE void max_window(const struct pooling *p, float *dx, int32_t image, int32_t line, int32_t row, int32_t column) {
  struct window v = window_of(p, row, column);
  size_t at = place(image, p->out_h, p->out_w, p->c, row, column);
  for (int32_t k = 0; k < p->c; k += LANES) {
    int32_t lanes = min32(LANES, p->c - k);
    vec largest = load_lanes(p->y + at + k, lanes), grad = load_lanes(p->grad + at + k, lanes);
    vec_i32 unknown = largest != largest, taken = {};
    for (int32_t i = v.top; i <= line; i++) {
      const float *x = p->x + place(image, p->h, p->w, p->c, i, v.left) + k;
      for (int32_t j = v.left; j < v.right; j++, x += p->c) {
        vec value = load_lanes(x, lanes);
        vec_i32 wins = ((value == largest) | ((value != value) & unknown)) & ~taken;
        taken |= wins;
        if (i != line) continue;
        float *target = dx + (size_t)j * (size_t)p->c + k;
        store_lanes(target, load_lanes(target, lanes) + select(wins, grad, (vec){}), lanes);
      }
    }
  }
}

/* dx += dy / count over the columns of the window */
INLINE void mean_window(const struct pooling *p, float *dx, int32_t image, int32_t row, int32_t column) {
  struct window v = window_of(p, row, column);
  float share = share_of(p, v);
  const float *grad = p->grad + place(image, p->out_h, p->out_w, p->c, row, column);
  for (int32_t j = v.left; j < v.right; j++) {
    float *target = dx + (size_t)j * (size_t)p->c;
    for (int32_t k = 0; k < p->c; k++) target[k] += grad[k] * share;
  }
}

INLINE void gradient_row(const struct pooling *p, int32_t task, int32_t largest) {
  int32_t image = task / p->h, line = task % p->h;
  float *dx = p->out + place(image, p->h, p->w, p->c, line, 0);
  for (int32_t k = 0; k < p->w * p->c; k++) dx[k] = 0.0f;
  int32_t last = last_row(p, line);
  for (int32_t row = first_row(p, line); row < last; row++)
    for (int32_t column = 0; column < p->out_w; column++) {
      if (largest) max_window(p, dx, image, line, row, column);
      else mean_window(p, dx, image, row, column);
    }
}

static void max_gradient_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  gradient_row(context, task, 1);
}

static void mean_gradient_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  gradient_row(context, task, 0);
}

KERNEL void pooling_max_gradient(const float *x, const float *y, const float *dy, float *dx, const int32_t *table) {
  struct pooling p = pooling_of(table);
  p.x = x, p.y = y, p.grad = dy, p.out = dx;
  pool_run(max_gradient_task, &p, table[0] * p.h);
}

KERNEL void pooling_mean_gradient(const float *dy, float *dx, const int32_t *table) {
  struct pooling p = pooling_of(table);
  p.grad = dy, p.out = dx;
  pool_run(mean_gradient_task, &p, table[0] * p.h);
}
