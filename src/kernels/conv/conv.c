/* Convolution of [N, H, W, C] as a matrix product without an unfolded copy (im2col): for each kernel tap, the rows of a tile are
 * pointers to pixels, or to zeros where the tap is outside the image.
 *
 *   forward          y[p]  = sum over taps of x[p * stride - padding + tap] w[tap]        (gather, channels Cin -> Cout)
 *   input gradient   dx[i] = sum over taps of dy[(i + padding - tap) / stride] w[tap]^T   (gather, if divisible)
 *   weight gradient  dw[tap] = sum over pixels of dy[p]^T x[p * stride - padding + tap]
 *
 * `tap` is its number times the dilation. With groups, each panel of output channels belongs to one group and reads its input
 * channels only. If every group has one channel on both sides, vectors run over the groups.
 */
#include "gemm.h"

enum { TILES_PER_TASK = 8, WANTED_TASKS = 32, PIXELS_PER_CHUNK = 256, PIXELS_PER_PARTIAL = 2048 };

struct conv_shape {
  int32_t n, h, w, c;                   /* input */
  int32_t out_h, out_w, out_c;          /* output */
  int32_t kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w, groups;
  int32_t repeat; /* h and w count each pixel in memory `repeat` times in both directions; only the forward pass has another than 1 */
};

INLINE struct conv_shape conv_shape_of(const int32_t *t) {
  return (struct conv_shape){t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12],
                             t[13], t[14], t[15], t[16]};
}

/* Channels of a group. */
INLINE int32_t in_group(const struct conv_shape *s) { return s->c / s->groups; }
INLINE int32_t out_group(const struct conv_shape *s) { return s->out_c / s->groups; }
INLINE int32_t is_depthwise(const struct conv_shape *s) { return s->groups > 1 && s->c == s->groups && s->out_c == s->groups; }

/* ---------------------------------------------------------------- gather: forward and input gradient */

/* source position = (target * step + offset + tap * direction) / divisor; direction: the dilation, or minus it. The source has
 * `stored` pixels in memory, each of which stands for `repeat`. */
struct axis { int32_t source, target, step, offset, direction, divisor, taps, repeat, stored; };

struct gather {
  const float *source, *weights, *zeros, *bias, *add, *residual;
  float *target, scale;
  struct axis y, x;
  int32_t source_c, target_c; /* channels of a group */
  int32_t source_step, target_step; /* channels of a pixel */
  int32_t pixels, panels, panels_in_group, row_groups, panel_groups;
};

/* Returns -1 outside the image. */
INLINE int32_t source_position(const struct axis *a, int32_t start, int32_t tap) {
  int32_t position = start + tap * a->direction;
  if (position < 0) return -1;
  if (a->divisor != 1) {
    if (position % a->divisor) return -1;
    position /= a->divisor;
  }
  if (position >= a->source) return -1;
  return a->repeat == 1 ? position : position / a->repeat;
}

INLINE void finish_row(const struct gather *g, int32_t pixel, int32_t sample, int32_t column, int32_t width, vec s0, vec s1) {
  size_t at = (size_t)pixel * (size_t)g->target_step + (size_t)column;
  if (g->bias) {
    s0 += load_upto(g->bias + column, width);
    s1 += load_upto(g->bias + column + LANES, width - LANES);
  }
  if (g->add) {
    const float *add = g->add + (size_t)sample * (size_t)g->target_step + (size_t)column;
    s0 += load_upto(add, width);
    s1 += load_upto(add + LANES, width - LANES);
  }
  if (g->residual) {
    s0 += load_upto(g->residual + at, width);
    s1 += load_upto(g->residual + at + LANES, width - LANES);
  }
  store_upto(g->target + at, s0 * g->scale, width);
  store_upto(g->target + at + LANES, s1 * g->scale, width - LANES);
}

/* The panels and pixels of one task. */
struct share { int32_t first_panel, last_panel, first, last; };

INLINE struct share share_of(const struct gather *g, int32_t task) {
  int32_t panel_group = task % g->panel_groups, first = task / g->panel_groups * TILES_PER_TASK * TILE_ROWS;
  return (struct share){
    .first_panel = (int32_t)((int64_t)g->panels * panel_group / g->panel_groups),
    .last_panel = (int32_t)((int64_t)g->panels * (panel_group + 1) / g->panel_groups),
    .first = first,
    .last = min32(g->pixels, first + TILES_PER_TASK * TILE_ROWS),
  };
}

static void gather_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct gather *g = context;
  struct share o = share_of(g, task);
  size_t tap_size = (size_t)g->source_c * TILE_COLUMNS, step = (size_t)g->source_step;
  size_t image = (size_t)g->y.stored * (size_t)g->x.stored * step;
  for (int32_t panel = o.first_panel; panel < o.last_panel; panel++) {
    const float *panel_weights = g->weights + (size_t)panel * (size_t)(g->y.taps * g->x.taps) * tap_size;
    int32_t group = panel / g->panels_in_group, column = panel % g->panels_in_group * TILE_COLUMNS, width = g->target_c - column;
    const float *source = g->source + (size_t)group * (size_t)g->source_c;
    for (int32_t base = o.first; base < o.last; base += TILE_ROWS) {
      const float *images[TILE_ROWS];
      int32_t start_y[TILE_ROWS], start_x[TILE_ROWS], sample[TILE_ROWS];
      for (int32_t r = 0; r < TILE_ROWS; r++) {
        int32_t pixel = min32(base + r, g->pixels - 1);
        sample[r] = pixel / (g->y.target * g->x.target);
        images[r] = source + (size_t)sample[r] * image;
        start_y[r] = pixel / g->x.target % g->y.target * g->y.step + g->y.offset;
        start_x[r] = pixel % g->x.target * g->x.step + g->x.offset;
      }
      tile sum = {};
      for (int32_t ty = 0; ty < g->y.taps; ty++) {
        int32_t position_y[TILE_ROWS];
        for (int32_t r = 0; r < TILE_ROWS; r++) position_y[r] = source_position(&g->y, start_y[r], ty);
        for (int32_t tx = 0; tx < g->x.taps; tx++) {
          const float *rows[TILE_ROWS];
          for (int32_t r = 0; r < TILE_ROWS; r++) {
            int32_t x = source_position(&g->x, start_x[r], tx);
            rows[r] = x < 0 || position_y[r] < 0
                          ? g->zeros
                          : images[r] + ((size_t)position_y[r] * (size_t)g->x.stored + (size_t)x) * step;
          }
          tile_multiply(&sum, rows, panel_weights + (size_t)(ty * g->x.taps + tx) * tap_size, g->source_c);
        }
      }
      for (int32_t r = 0; r < TILE_ROWS && base + r < o.last; r++)
        finish_row(g, base + r, sample[r], group * g->target_c + column, width, sum.at[r][0], sum.at[r][1]);
    }
  }
}

/* Kernel 1 x 1 at stride 1 without padding: the rows of a tile are consecutive pixels, so no positions are computed. */
static void pointwise_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct gather *g = context;
  struct share o = share_of(g, task);
  size_t step = (size_t)g->source_step;
  for (int32_t panel = o.first_panel; panel < o.last_panel; panel++) {
    const float *weights = g->weights + (size_t)panel * (size_t)g->source_c * TILE_COLUMNS;
    int32_t group = panel / g->panels_in_group, column = panel % g->panels_in_group * TILE_COLUMNS, width = g->target_c - column;
    const float *source = g->source + (size_t)group * (size_t)g->source_c;
    for (int32_t base = o.first; base < o.last; base += TILE_ROWS) {
      tile sum = {};
      tile_multiply_upto(&sum, source + (size_t)base * step, step, o.last - base, weights, g->source_c);
      for (int32_t r = 0; r < TILE_ROWS && base + r < o.last; r++) {
        int32_t sample = g->add ? (base + r) / (g->y.target * g->x.target) : 0;
        finish_row(g, base + r, sample, group * g->target_c + column, width, sum.at[r][0], sum.at[r][1]);
      }
    }
  }
}

INLINE int32_t is_plain(const struct axis *a) {
  return a->taps == 1 && a->step == 1 && a->divisor == 1 && a->offset == 0 && a->source == a->target && a->repeat == 1;
}

/* One channel per group on both sides: a task is a row of the target. */
static void depthwise_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct gather *g = context;
  int32_t sample = task / g->y.target, row = task % g->y.target, channels = g->target_step;
  const float *image = g->source + (size_t)sample * (size_t)g->y.stored * (size_t)g->x.stored * (size_t)channels;
  for (int32_t column = 0; column < g->x.target; column++) {
    int32_t start_y = row * g->y.step + g->y.offset, start_x = column * g->x.step + g->x.offset;
    for (int32_t c = 0; c < channels; c += TILE_COLUMNS) {
      int32_t width = channels - c;
      vec sum[2] = {};
      for (int32_t ty = 0; ty < g->y.taps; ty++) {
        int32_t y = source_position(&g->y, start_y, ty);
        if (y < 0) continue;
        for (int32_t tx = 0; tx < g->x.taps; tx++) {
          int32_t x = source_position(&g->x, start_x, tx);
          if (x < 0) continue;
          const float *from = image + ((size_t)y * (size_t)g->x.stored + (size_t)x) * (size_t)channels + c;
          const float *weights = g->weights + (size_t)(ty * g->x.taps + tx) * (size_t)channels + c;
          sum[0] += load_upto(from, width) * load_upto(weights, width);
          sum[1] += load_upto(from + LANES, width - LANES) * load_upto(weights + LANES, width - LANES);
        }
      }
      finish_row(g, task * g->x.target + column, sample, c, width, sum[0], sum[1]);
    }
  }
}

/* Takes the channels of a pixel from those of a group. */
static void run_gather(struct gather *g, const struct conv_shape *s) {
  g->source_step = g->source_c * s->groups;
  g->target_step = g->target_c * s->groups;
  if (is_depthwise(s)) {
    pool_run(depthwise_task, g, s->n * g->y.target);
    return;
  }
  g->pixels = s->n * g->y.target * g->x.target;
  g->panels_in_group = ceil_div(g->target_c, TILE_COLUMNS);
  g->panels = s->groups * g->panels_in_group;
  g->zeros = g->weights + (size_t)g->panels * (size_t)(g->y.taps * g->x.taps) * (size_t)g->source_c * TILE_COLUMNS;
  g->row_groups = ceil_div(g->pixels, TILES_PER_TASK * TILE_ROWS);
  g->panel_groups = pieces_for(g->row_groups, g->panels, WANTED_TASKS);
  pool_run(is_plain(&g->y) && is_plain(&g->x) ? pointwise_task : gather_task, g, g->row_groups * g->panel_groups);
}

/* y = scale (conv(x, w) + bias [Cout] + add [N, Cout] + residual [like y]); w packed by conv_pack */
KERNEL void conv_forward(const float *x, const float *packed, float *y, const float *bias, const float *add,
                         const float *residual, const int32_t *table, float scale) {
  struct conv_shape s = conv_shape_of(table);
  struct gather g = {.source = x, .weights = packed, .bias = bias, .add = add, .residual = residual, .target = y, .scale = scale};
  g.y = (struct axis){s.h, s.out_h, s.stride_h, -s.padding_h, s.dilation_h, 1, s.kernel_h, s.repeat, s.h / s.repeat};
  g.x = (struct axis){s.w, s.out_w, s.stride_w, -s.padding_w, s.dilation_w, 1, s.kernel_w, s.repeat, s.w / s.repeat};
  g.source_c = in_group(&s);
  g.target_c = out_group(&s);
  run_gather(&g, &s);
}

/* dx = scale * the adjoint of conv applied to dy; w packed by conv_pack with transposed = 1 */
KERNEL void conv_input_gradient(const float *dy, const float *packed, float *dx, const int32_t *table, float scale) {
  struct conv_shape s = conv_shape_of(table);
  struct gather g = {.source = dy, .weights = packed, .target = dx, .scale = scale};
  g.y = (struct axis){s.out_h, s.h, 1, s.padding_h, -s.dilation_h, s.stride_h, s.kernel_h, 1, s.out_h};
  g.x = (struct axis){s.out_w, s.w, 1, s.padding_w, -s.dilation_w, s.stride_w, s.kernel_w, 1, s.out_w};
  g.source_c = out_group(&s);
  g.target_c = in_group(&s);
  run_gather(&g, &s);
}

/* ---------------------------------------------------------------- packing of weights */

struct packing {
  const float *w;
  float *packed;
  int32_t taps, in_c, out_c, transposed; /* channels of a group */
  int32_t panels_in_group;
};

static void pack_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct packing *p = context;
  int32_t panel = task / p->taps, tap = task % p->taps;
  int32_t rows = p->transposed ? p->out_c : p->in_c, columns = p->transposed ? p->in_c : p->out_c;
  int32_t begin = panel % p->panels_in_group * TILE_COLUMNS, width = min32(TILE_COLUMNS, columns - begin);
  size_t out_step = (size_t)p->taps * (size_t)p->in_c;
  float *to = p->packed + (size_t)task * (size_t)rows * TILE_COLUMNS;
  const float *w = p->w + (size_t)(panel / p->panels_in_group * p->out_c) * out_step + (size_t)tap * (size_t)p->in_c;
  for (int32_t i = 0; i < rows; i++, to += TILE_COLUMNS) {
    if (p->transposed)
      for (int32_t j = 0; j < width; j++) to[j] = w[(size_t)i * out_step + (size_t)(begin + j)];
    else
      for (int32_t j = 0; j < width; j++) to[j] = w[(size_t)(begin + j) * out_step + (size_t)i];
    for (int32_t j = width; j < TILE_COLUMNS; j++) to[j] = 0.0f;
  }
}

/* Floats of the packed weights: panels of [taps][rows][TILE_COLUMNS], and one row of zeros. */
KERNEL double conv_packed_size(const int32_t *table, int32_t transposed) {
  struct conv_shape s = conv_shape_of(table);
  if (is_depthwise(&s)) return (double)s.kernel_h * s.kernel_w * s.c;
  int32_t rows = transposed ? out_group(&s) : in_group(&s), columns = transposed ? in_group(&s) : out_group(&s);
  return ((double)s.groups * ceil_div(columns, TILE_COLUMNS) * s.kernel_h * s.kernel_w * TILE_COLUMNS + 1) * rows;
}

/* w [Cout, kh, kw, Cin] -> [panel][tap][Cin][TILE_COLUMNS of Cout], transposed: [panel][tap][Cout][TILE_COLUMNS of Cin], with the
 * channels of a group; [tap][C] if every group has one channel */
KERNEL void conv_pack(const float *w, float *packed, const int32_t *table, int32_t transposed) {
  struct conv_shape s = conv_shape_of(table);
  int32_t taps = s.kernel_h * s.kernel_w;
  if (is_depthwise(&s)) {
    for (int32_t tap = 0; tap < taps; tap++)
      for (int32_t c = 0; c < s.c; c++) packed[(size_t)tap * (size_t)s.c + (size_t)c] = w[(size_t)c * (size_t)taps + (size_t)tap];
    return;
  }
  int32_t rows = transposed ? out_group(&s) : in_group(&s), columns = transposed ? in_group(&s) : out_group(&s);
  struct packing p = {w, packed, taps, in_group(&s), out_group(&s), transposed, ceil_div(columns, TILE_COLUMNS)};
  int32_t panels = s.groups * p.panels_in_group;
  pool_run(pack_task, &p, panels * p.taps);
  float *zeros = packed + (size_t)panels * (size_t)p.taps * (size_t)rows * TILE_COLUMNS;
  for (int32_t i = 0; i < rows; i++) zeros[i] = 0.0f;
}

/* ---------------------------------------------------------------- weight gradient */

/* How the sum over pixels is split: a task is (partial, tile of output channels, kernel row, group of panels). */
struct weight_gradient {
  struct conv_shape s;
  const float *x, *dy;
  float *dw; /* [partials][Cout, kh, kw, channels of a group] */
  int32_t tiles_in_group, row_tiles, panels, panel_groups, partials;
  size_t size;
};

static struct weight_gradient weight_plan(const int32_t *table) {
  struct weight_gradient g = {.s = conv_shape_of(table)};
  struct conv_shape *s = &g.s;
  g.tiles_in_group = ceil_div(out_group(s), TILE_ROWS);
  g.row_tiles = s->groups * g.tiles_in_group;
  g.panels = ceil_div(in_group(s), TILE_COLUMNS);
  if (is_depthwise(s)) g.row_tiles = ceil_div(s->c, TILE_COLUMNS);
  int32_t tasks = g.row_tiles * s->kernel_h;
  g.panel_groups = pieces_for(tasks, g.panels, WANTED_TASKS);
  int32_t most = max32(1, s->n * s->out_h * s->out_w / PIXELS_PER_PARTIAL);
  g.partials = pieces_for(tasks * g.panel_groups, min32(most, max32(1, s->n * s->out_h)), WANTED_TASKS);
  g.size = (size_t)s->out_c * (size_t)(s->kernel_h * s->kernel_w) * (size_t)in_group(s);
  return g;
}

/* The output columns [low, high) whose input column, ox * stride + shift, is inside the image at kernel column kx. */
INLINE void reach_of(const struct conv_shape *s, int32_t kx, int32_t *shift, int32_t *low, int32_t *high) {
  *shift = kx * s->dilation_w - s->padding_w;
  *low = *shift >= 0 ? 0 : ceil_div(-*shift, s->stride_w);
  *high = s->w - *shift <= 0 ? 0 : min32(s->out_w, ceil_div(s->w - *shift, s->stride_w));
}

/* dw[rows][columns] += dy^T x at one tap, over the rows of output pixels [first, last) */
INLINE void weight_tile(int32_t rows, const struct weight_gradient *g, int32_t first, int32_t last, int32_t channel,
                        int32_t ky, int32_t kx, int32_t column, float *dw, int32_t fresh) {
  const struct conv_shape *s = &g->s;
  int32_t inputs = in_group(s), there = inputs - column, width = min32(TILE_COLUMNS, there);
  int32_t first_input = channel / out_group(s) * inputs + column, shift, low, high;
  reach_of(s, kx, &shift, &low, &high);
  vec sum[TILE_ROWS][2] = {};
  for (int32_t row = first; row < last && low < high; row++) {
    int32_t sample = row / s->out_h, y = row % s->out_h * s->stride_h - s->padding_h + ky * s->dilation_h;
    if (y < 0 || y >= s->h) continue;
    const float *dy = g->dy + ((size_t)row * (size_t)s->out_w + (size_t)low) * (size_t)s->out_c + (size_t)channel;
    const float *x = g->x + (((size_t)sample * (size_t)s->h + (size_t)y) * (size_t)s->w + (size_t)(low * s->stride_w + shift)) *
                                (size_t)s->c + (size_t)first_input;
    tile_multiply_transposed(rows, sum, dy, (size_t)s->out_c, x, (size_t)s->stride_w * (size_t)s->c, width, high - low, 0);
  }
  size_t step = (size_t)(s->kernel_h * s->kernel_w) * (size_t)inputs;
  for (int32_t r = 0; r < rows; r++)
    for (int32_t half = 0; half < 2; half++) {
      float *out = dw + (size_t)r * step + (size_t)(half * LANES);
      int32_t left = there - half * LANES;
      if (left <= 0) continue;
      vec before = fresh ? (vec){} : load_upto(out, left);
      store_upto(out, before + sum[r][half], left);
    }
}

static void weight_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct weight_gradient *g = context;
  const struct conv_shape *s = &g->s;
  int32_t panel_group = task % g->panel_groups, rest = task / g->panel_groups;
  int32_t ky = rest % s->kernel_h;
  rest /= s->kernel_h;
  int32_t row_tile = rest % g->row_tiles, partial = rest / g->row_tiles;
  int32_t first_panel = (int32_t)((int64_t)g->panels * panel_group / g->panel_groups);
  int32_t last_panel = (int32_t)((int64_t)g->panels * (panel_group + 1) / g->panel_groups);
  int32_t all_rows = s->n * s->out_h, chunk = max32(1, PIXELS_PER_CHUNK / max32(1, s->out_w));
  int32_t begin = (int32_t)((int64_t)all_rows * partial / g->partials);
  int32_t end = (int32_t)((int64_t)all_rows * (partial + 1) / g->partials);
  int32_t group = row_tile / g->tiles_in_group, first_channel = group * out_group(s) + row_tile % g->tiles_in_group * TILE_ROWS;
  int32_t last_channel = min32((group + 1) * out_group(s), first_channel + TILE_ROWS);
  for (int32_t first = begin; first < end; first += chunk)
    for (int32_t kx = 0; kx < s->kernel_w; kx++)
      for (int32_t panel = first_panel; panel < last_panel; panel++)
        for (int32_t channel = first_channel, rows; channel < last_channel; channel += rows) {
          rows = tile_rows_of(last_channel - channel);
          int32_t column = panel * TILE_COLUMNS, last = min32(end, first + chunk);
          size_t at = (((size_t)channel * (size_t)s->kernel_h + (size_t)ky) * (size_t)s->kernel_w + (size_t)kx) *
                      (size_t)in_group(s);
          float *dw = g->dw + (size_t)partial * g->size + at + (size_t)column;
          WITH_ROWS(rows, weight_tile, g, first, last, channel, ky, kx, column, dw, first == begin)
        }
}

/* One channel per group on both sides: a task is (partial, panel of channels, kernel row). Sums of a row of pixels are added. */
static void depthwise_weight_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct weight_gradient *g = context;
  const struct conv_shape *s = &g->s;
  int32_t ky = task % s->kernel_h, panel = task / s->kernel_h % g->row_tiles, partial = task / s->kernel_h / g->row_tiles;
  int32_t all_rows = s->n * s->out_h, c = panel * TILE_COLUMNS, width = s->c - c, taps = s->kernel_h * s->kernel_w;
  int32_t begin = (int32_t)((int64_t)all_rows * partial / g->partials);
  int32_t end = (int32_t)((int64_t)all_rows * (partial + 1) / g->partials);
  size_t channels = (size_t)s->c, x_step = (size_t)s->stride_w * channels;
  for (int32_t kx = 0; kx < s->kernel_w; kx++) {
    int32_t shift, low, high;
    reach_of(s, kx, &shift, &low, &high);
    vec total[2] = {};
    for (int32_t row = begin; row < end && low < high; row++) {
      int32_t sample = row / s->out_h, y = row % s->out_h * s->stride_h - s->padding_h + ky * s->dilation_h;
      if (y < 0 || y >= s->h) continue;
      const float *dy = g->dy + ((size_t)row * (size_t)s->out_w + (size_t)low) * channels + c;
      const float *x = g->x + (((size_t)sample * (size_t)s->h + (size_t)y) * (size_t)s->w + (size_t)(low * s->stride_w + shift)) *
                                  channels + c;
      vec sum[2] = {};
      for (int32_t i = low; i < high; i++, dy += channels, x += x_step) {
        sum[0] += load_upto(dy, width) * load_upto(x, width);
        sum[1] += load_upto(dy + LANES, width - LANES) * load_upto(x + LANES, width - LANES);
      }
      total[0] += sum[0], total[1] += sum[1];
    }
    float *dw = g->dw + (size_t)partial * g->size + (size_t)c * (size_t)taps + (size_t)(ky * s->kernel_w + kx);
    for (int32_t i = 0; i < min32(width, TILE_COLUMNS); i++) dw[(size_t)i * (size_t)taps] = total[i / LANES][i % LANES];
  }
}

KERNEL double conv_weight_partials(const int32_t *table) { return weight_plan(table).partials; }

/* partials [conv_weight_partials][Cout, kh, kw, Cin / groups], whose sum is the gradient */
KERNEL void conv_weight_gradient(const float *x, const float *dy, float *partials, const int32_t *table) {
  struct weight_gradient g = weight_plan(table);
  g.x = x;
  g.dy = dy;
  g.dw = partials;
  if (is_depthwise(&g.s)) pool_run(depthwise_weight_task, &g, g.partials * g.row_tiles * g.s.kernel_h);
  else pool_run(weight_task, &g, g.partials * g.row_tiles * g.s.kernel_h * g.panel_groups);
}

/* ---------------------------------------------------------------- patches */

struct unfolding { struct conv_shape s; const float *x; float *patches; };

static void unfold_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct unfolding *g = context;
  const struct conv_shape *s = &g->s;
  int32_t sample = task / s->out_h, top = task % s->out_h * s->stride_h - s->padding_h;
  float *to = g->patches + (size_t)task * (size_t)(s->out_w * s->kernel_h * s->kernel_w) * (size_t)s->c;
  for (int32_t column = 0; column < s->out_w; column++)
    for (int32_t ky = 0; ky < s->kernel_h; ky++)
      for (int32_t kx = 0; kx < s->kernel_w; kx++, to += s->c) {
        int32_t y = top + ky * s->dilation_h, x = column * s->stride_w - s->padding_w + kx * s->dilation_w;
        int32_t inside = y >= 0 && y < s->h && x >= 0 && x < s->w;
        const float *from = g->x + (((size_t)sample * (size_t)s->h + (size_t)y) * (size_t)s->w + (size_t)x) * (size_t)s->c;
        for (int32_t i = 0; i < s->c; i++) to[i] = inside ? from[i] : 0.0f;
      }
}

/* patches [N, H', W', kh, kw, Cin] of x; one group */
KERNEL void conv_unfold(const float *x, float *patches, const int32_t *table) {
  struct unfolding g = {conv_shape_of(table), x, patches};
  pool_run(unfold_task, &g, g.s.n * g.s.out_h);
}
