/* 3 x 3 convolutions at stride 1 by Winograd's minimal filtering (Lavin, Gray, CVPR 2016): a tile of m x m outputs, m = 4 or 2,
 * takes (m + 2)^2 products per channel instead of 9 m^2.
 *
 *   forward, input gradient   Y = A^T [sum over channels of (G w G^T) . (B^T d B)] A
 *   weight gradient           dw = G^T [sum over tiles of (A dy A^T) . (B^T d B)] G
 *
 * A plane is one of the (m + 2)^2 positions of a transformed tile; for each plane, the sum is a matrix product. Transformed tiles
 * are stored in panels of TILE_COLUMNS channels, [panel][plane][tile][TILE_COLUMNS], so that all planes of a panel are adjacent.
 * Planes are padded by a cache line, so that the same position in all planes does not map to the same cache set. Channels are
 * multiples of TILE_COLUMNS.
 */
#include "gemm.h"
#include "winograd_tiles.h"

enum { PLANE_GAP = 16, BLOCK_FLOATS = 6144, BLOCK_STEP = 4, WANTED_TASKS = 32, PANEL_FLOATS = 49152, FAR_FLOATS = 163840,
       CHUNK_PANELS = 64 / TILE_COLUMNS, MOST_AT_ONCE = LANES == 16 ? 256 : 128, CHUNK_TILES = 64, LEAST_BAND = 128,
       BLOCK_CHANNELS = 128 };

/* ---------------------------------------------------------------- forward and input gradient
 * Many tiles: all weights are transformed first; then a task is a block of tiles, whose transformed pixels stay in the cache.
 * Few tiles: all pixels are transformed first; then a task is a panel of channels, whose transformed weights stay in the cache.
 */

INLINE void weights_task(int32_t m, const struct winograd *g, int32_t task) {
  weight_panel(m, g, task, 0, g->c, g->u + (size_t)task * g->u_panel);
}

/* The first tile of a block. The sizes of blocks differ by at most BLOCK_STEP tiles. */
INLINE int32_t block_begin(const struct winograd *g, int32_t block) {
  int32_t steps = ceil_div(g->tiles, BLOCK_STEP);
  return min32(g->tiles, (int32_t)((int64_t)steps * block / g->blocks) * BLOCK_STEP);
}

/* The transformed pixels of a block and the sums of a panel stay in the near cache; weights are streamed once per block. */
INLINE void block_task(int32_t m, const struct winograd *g, int32_t task, int32_t worker) {
  int32_t first = block_begin(g, task), count = block_begin(g, task + 1) - first;
  float *v = g->v + (size_t)worker * g->v_worker, *sums = g->sums + (size_t)worker * g->sums_panel;
  for (int32_t t = 0; t < count; t++) input_tile(m, g, first + t, v, t);
  for (int32_t panel = 0; panel < g->panels; panel++) {
    multiply_planes(g, (m + 2) * (m + 2), v, count, g->u + (size_t)panel * g->u_panel, g->sources, sums, 1, 1);
    for (int32_t t = 0; t < count; t++) output_tile(m, g, first + t, panel, sums + (size_t)t * TILE_COLUMNS);
  }
}

INLINE void pixels_task(int32_t m, const struct winograd *g, int32_t task) { input_tile(m, g, task, g->v, task); }

/* Processes the weights of a few channels at a time, which stay in the near cache until all tiles have used them. */
INLINE void panel_task(int32_t m, const struct winograd *g, int32_t task, int32_t worker) {
  float *u = g->u + (size_t)worker * g->u_panel, *sums = g->sums + (size_t)worker * g->sums_panel;
  for (int32_t source = 0; source < g->sources; source += CHUNK_PANELS) {
    int32_t count = min32(CHUNK_PANELS, g->sources - source), from = source * TILE_COLUMNS;
    weight_panel(m, g, task, from, from + count * TILE_COLUMNS, u);
    multiply_planes(g, (m + 2) * (m + 2), g->v + (size_t)source * g->v_panel, g->tiles, u, count, sums, source == 0, 0);
  }
  for (int32_t t = 0; t < g->tiles; t++) output_tile(m, g, t, task, sums + (size_t)t * TILE_COLUMNS);
}

#define TASKS(name, ...)                                              \
  static void name##_2(void *context, int32_t task, int32_t worker) { \
    const struct winograd *g = context;                               \
    (void)worker;                                                     \
    name(2, g, __VA_ARGS__);                                          \
  }                                                                   \
  static void name##_4(void *context, int32_t task, int32_t worker) { \
    const struct winograd *g = context;                               \
    (void)worker;                                                     \
    name(4, g, __VA_ARGS__);                                          \
  }
TASKS(weights_task, task)
TASKS(block_task, task, worker)
TASKS(pixels_task, task)
TASKS(panel_task, task, worker)

/* Whether there are few tiles: their planes are fewer than those of the weights. Planes of weights that stay in the far cache may
 * be read again and again; others are not stored, as long as those of the pixels stay there. */
INLINE int32_t by_panels(const struct winograd *g) {
  int64_t pixels = (int64_t)g->tiles * g->c, weights = (int64_t)g->out_c * g->c;
  return pixels <= weights && pixels <= (weights > FAR_FLOATS ? FAR_FLOATS : PANEL_FLOATS);
}

/* table: N, H, W, Cin, H', W', Cout, kh, kw, strides, paddings, dilations, groups, repeat, as in conv.c; gradient: compute the input gradient */
static struct winograd plan_of(const int32_t *t, int32_t m, int32_t gradient) {
  struct winograd g = {.n = t[0], .flipped = gradient, .repeat = gradient ? 1 : t[16]};
  int32_t side = m + 2;
  if (gradient) {
    g.h = t[4], g.w = t[5], g.c = t[6], g.out_h = t[1], g.out_w = t[2], g.out_c = t[3];
    g.offset_y = t[11] - 2, g.offset_x = t[12] - 2;
  } else {
    g.h = t[1], g.w = t[2], g.c = t[3], g.out_h = t[4], g.out_w = t[5], g.out_c = t[6];
    g.offset_y = -t[11], g.offset_x = -t[12];
  }
  g.tiles_y = ceil_div(g.out_h, m);
  g.tiles_x = ceil_div(g.out_w, m);
  g.tiles = g.n * g.tiles_y * g.tiles_x;
  g.panels = g.out_c / TILE_COLUMNS;
  g.sources = g.c / TILE_COLUMNS;
  g.u_plane = (size_t)(by_panels(&g) ? min32(g.sources, CHUNK_PANELS) * TILE_COLUMNS : g.c) * TILE_COLUMNS + PLANE_GAP;
  g.u_panel = (size_t)(side * side) * g.u_plane;
  return g;
}

/* Splits tiles into blocks, and returns the floats of scratch memory: [zeros][u][v][sums]. Each worker has its own sums, and its
 * own v (many tiles) or u (few tiles). The blocks depend on the number of workers, so that all workers end at the same time; the
 * sums of a tile do not depend on its block. */
static size_t lay_out(struct winograd *g, int32_t m, int32_t workers) {
  size_t planes = (size_t)((m + 2) * (m + 2)), all = (size_t)workers;
  int32_t most = max32(TILE_ROWS, BLOCK_FLOATS * 36 / (int32_t)planes / g->c);
  int32_t steps = ceil_div(g->tiles, BLOCK_STEP);
  g->blocks = min32(steps, ceil_div(g->tiles, most * workers) * workers);
  g->block = by_panels(g) ? g->tiles : ceil_div(steps, g->blocks) * BLOCK_STEP;
  g->v_plane = (size_t)g->block * TILE_COLUMNS + PLANE_GAP;
  g->v_panel = planes * g->v_plane;
  g->v_worker = (size_t)g->sources * g->v_panel;
  g->sums_plane = (size_t)g->block * TILE_COLUMNS + PLANE_GAP;
  g->sums_panel = planes * g->sums_plane;
  size_t u = (by_panels(g) ? all : (size_t)g->panels) * g->u_panel, v = (by_panels(g) ? 1 : all) * g->v_worker;
  return (size_t)g->c + u + v + all * g->sums_panel;
}

/* The number of channels must be a multiple of it. */
KERNEL double winograd_panel(void) { return TILE_COLUMNS; }

KERNEL double winograd_scratch(const int32_t *table, int32_t m, int32_t gradient, int32_t workers) {
  struct winograd g = plan_of(table, m, gradient);
  return (double)lay_out(&g, m, workers);
}

static void run(struct winograd *g, int32_t m, int32_t workers, float *scratch) {
  lay_out(g, m, workers);
  for (int32_t i = 0; i < g->c; i++) scratch[i] = 0.0f;
  g->zeros = scratch;
  g->u = scratch + g->c;
  g->v = g->u + (size_t)(by_panels(g) ? workers : g->panels) * g->u_panel;
  g->sums = g->v + (size_t)(by_panels(g) ? 1 : workers) * g->v_worker;
  if (by_panels(g)) {
    pool_run(m == 2 ? pixels_task_2 : pixels_task_4, g, g->tiles);
    pool_run(m == 2 ? panel_task_2 : panel_task_4, g, g->panels);
  } else {
    pool_run(m == 2 ? weights_task_2 : weights_task_4, g, g->panels);
    pool_run(m == 2 ? block_task_2 : block_task_4, g, g->blocks);
  }
}

/* y = scale (conv(x, w) + bias [Cout] + add [N, Cout] + residual [like y]) */
KERNEL void winograd_forward(const float *x, const float *w, float *y, const float *bias, const float *add, const float *residual,
                             float *scratch, const int32_t *table, int32_t m, int32_t workers, float scale) {
  struct winograd g = plan_of(table, m, 0);
  g.x = x, g.weights = w, g.y = y, g.bias = bias, g.add = add, g.residual = residual, g.scale = scale;
  run(&g, m, workers, scratch);
}

/* dx = scale * the adjoint of conv applied to dy */
KERNEL void winograd_input_gradient(const float *dy, const float *w, float *dx, float *scratch, const int32_t *table, int32_t m,
                                    int32_t workers, float scale) {
  struct winograd g = plan_of(table, m, 1);
  g.x = dy, g.weights = w, g.y = dx, g.scale = scale;
  run(&g, m, workers, scratch);
}

/* ---------------------------------------------------------------- weight gradient
 * Few tiles: all pixels and gradients are transformed; then a task computes du of some channels in all planes, and dw from it.
 * Many tiles: a task is a row of planes and a block of channels, so that its du, and both transforms of a chunk of tiles, stay
 * in the near cache. Each row reads the pixels that it needs again, so tasks process the tiles in bands that stay in the far
 * cache.
 */

/* Row `row` of a transform as a sum: the indices of its values, and their factors. */
struct axis { int32_t count, place[MOST_SIDE]; float factor[MOST_SIDE]; };

INLINE struct axis axis_of(transform t, int32_t m, int32_t from, int32_t row) {
  struct axis a = {0};
  for (int32_t place = 0; place < from; place++) {
    vec unit[MOST_SIDE] = {}, o[MOST_SIDE];
    unit[place] = splat(1.0f);
    t(m, o, unit, 1);
    if (o[row][0] != 0.0f) a.place[a.count] = place, a.factor[a.count++] = o[row][0];
  }
  return a;
}

struct span { int32_t begin, end; };
INLINE struct span span_of(int32_t count, int32_t piece, int32_t pieces) {
  return (struct span){count * piece / pieces, count * (piece + 1) / pieces};
}

/* One row of the planes of T d T^T, for some panels of channels, stored to one position of each plane of `to` [panel][plane].
 * T transforms `from` values; d begins at (y, x) of a sample. */
INLINE void tile_row(transform t, int32_t m, int32_t from, const struct axis *a, const struct image *image, int32_t sample, int32_t y,
                     int32_t x, struct span panels, float *to, size_t plane) {
  const float *pixels[MOST_SIDE * MOST_SIDE];
  for (int32_t i = 0; i < a->count; i++) row_pixels(pixels + i * from, from, image, sample, y + a->place[i], x);
  for (int32_t panel = panels.begin; panel < panels.end; panel++, to += (size_t)(m + 2) * plane)
    for (int32_t half = 0; half < TILE_COLUMNS; half += LANES) {
      vec row[MOST_SIDE] = {}, o[MOST_SIDE];
      for (int32_t i = 0; i < a->count; i++) {
        vec factor = splat(a->factor[i]);
        UNROLLED for (int32_t j = 0; j < from; j++) row[j] += factor * load_ahead(pixels[i * from + j] + panel * TILE_COLUMNS + half);
      }
      t(m, o, row, 1);
      UNROLLED for (int32_t j = 0; j < m + 2; j++) store(to + (size_t)j * plane + half, o[j]);
    }
}

INLINE void tile_task(int32_t m, const struct winograd *g, int32_t task) {
  input_tile(m, g, task, g->v, task);
  gradient_tile(m, g, task, task);
}
TASKS(tile_task, task)

/* du[rows][TILE_COLUMNS] (+)= sum over tiles of d[t][rows] v[t][TILE_COLUMNS]; next: the v to prefetch, or 0 */
INLINE void accumulate_rows(int32_t rows, const float *d, const float *v, int32_t tiles, float *du, size_t step, int32_t fresh,
                            const float *next) {
  vec c[TILE_ROWS][2] = {};
  if (!fresh) { /* prefetches du while the products are computed */
    UNROLLED for (int32_t r = 0; r < rows; r++) __builtin_prefetch(du + (size_t)r * step, 1);
  }
  tile_multiply_transposed(rows, c, d, TILE_COLUMNS, v, TILE_COLUMNS, TILE_COLUMNS, tiles, next);
  UNROLLED for (int32_t r = 0; r < rows; r++) {
    float *to = du + (size_t)r * step;
    store(to, fresh ? c[r][0] : load(to) + c[r][0]);
    store(to + LANES, fresh ? c[r][1] : load(to + LANES) + c[r][1]);
  }
}

/* The same for a whole panel of d, with the number of rows at a time that divides it best. */
INLINE void accumulate_panel(const float *d, const float *v, int32_t tiles, float *du, size_t step, int32_t fresh,
                             const float *next) {
  enum { ROWS = LANES == 16 ? 8 : TILE_ROWS, REST = TILE_COLUMNS % ROWS };
  accumulate_rows(ROWS, d, v, tiles, du, step, fresh, next);
  for (int32_t row = ROWS; row + ROWS <= TILE_COLUMNS; row += ROWS)
    accumulate_rows(ROWS, d + row, v, tiles, du + (size_t)row * step, step, fresh, 0);
  if (REST) accumulate_rows(REST, d + (TILE_COLUMNS - REST), v, tiles, du + (size_t)(TILE_COLUMNS - REST) * step, step, fresh, 0);
}

/* One row of planes, for a block of panels of out_c and of c and a band of tiles. After the last band, multiplies du by G along
 * the row. */
INLINE void row_task(int32_t m, const struct winograd *g, int32_t task, int32_t worker) {
  int32_t side = m + 2, row = task % side, block = task / side;
  struct span out = span_of(g->panels, block % g->out_groups, g->out_groups);
  struct span in = span_of(g->sources, block / g->out_groups, g->source_groups);
  int32_t outs = out.end - out.begin, ins = in.end - in.begin, step = ins * TILE_COLUMNS;
  struct axis x_axis = axis_of(input_transform, m, side, row), dy_axis = axis_of(gradient_transform, m, m, row);
  struct image x = input_of(g), dy = gradient_of(g);
  float *v = g->v + (size_t)worker * g->v_worker, *d = v + (size_t)(ins * side) * g->v_plane;
  float *du = g->d + (size_t)(g->band < g->tiles ? task : worker) * g->u_panel;
  size_t du_plane = (size_t)(outs * TILE_COLUMNS) * (size_t)step;
  int32_t end = min32(g->tiles, g->first + g->band);
  for (int32_t first = g->first, count; first < end; first += count) {
    count = min32(g->block, end - first);
    for (int32_t t = 0; t < count; t++) {
      struct place p = place_of(g, first + t);
      int32_t at = t * TILE_COLUMNS;
      tile_row(input_transform, m, side, &x_axis, &x, p.sample, p.y * m + g->offset_y, p.x * m + g->offset_x, in, v + at, g->v_plane);
      tile_row(gradient_transform, m, m, &dy_axis, &dy, p.sample, p.y * m, p.x * m, out, d + at, g->v_plane);
    }
    for (int32_t plane = 0; plane < side; plane++)
      for (int32_t panel = 0; panel < outs; panel++)
        for (int32_t source = 0; source < ins; source++) {
          const float *from = v + (size_t)(source * side + plane) * g->v_plane;
          float *to = du + (size_t)plane * du_plane + (size_t)((panel * step + source) * TILE_COLUMNS);
          accumulate_panel(d + (size_t)(panel * side + plane) * g->v_plane, from, count, to, (size_t)step, first == 0,
                           from + (size_t)side * g->v_plane);
        }
  }
  if (end < g->tiles) return;
  for (int32_t i = 0; i < outs * TILE_COLUMNS; i++)
    for (int32_t channel = 0; channel < step; channel += LANES) {
      vec planes[MOST_SIDE], o[3];
      UNROLLED for (int32_t j = 0; j < side; j++) planes[j] = load(du + (size_t)j * du_plane + (size_t)(i * step + channel));
      weight_gradient_transform(m, o, planes, 1);
      float *to = g->u + (size_t)(row * 3) * g->u_plane + (size_t)(out.begin * TILE_COLUMNS + i) * (size_t)g->c +
                  (size_t)(in.begin * TILE_COLUMNS + channel);
      UNROLLED for (int32_t tap = 0; tap < 3; tap++) store(to + (size_t)tap * g->u_plane, o[tap]);
    }
}
TASKS(row_task, task, worker)

/* dw of one output channel from its rows of du: [row][tap along the row][out_c][c] */
INLINE void finish_task(int32_t m, const struct winograd *g, int32_t task) {
  const float *u = g->u + (size_t)task * (size_t)g->c;
  float *dw = g->y + (size_t)task * 9 * (size_t)g->c;
  for (int32_t channel = 0; channel < g->c; channel += LANES)
    UNROLLED for (int32_t column = 0; column < 3; column++) {
      vec rows[MOST_SIDE], o[3];
      UNROLLED for (int32_t row = 0; row < m + 2; row++) rows[row] = load(u + (size_t)(row * 3 + column) * g->u_plane + channel);
      weight_gradient_transform(m, o, rows, 1);
      UNROLLED for (int32_t tap = 0; tap < 3; tap++) store(dw + (size_t)(tap * 3 + column) * (size_t)g->c + channel, o[tap] * g->scale);
    }
}
TASKS(finish_task, task)

/* dw = G^T du G of one output channel and `width` of its input channels */
INLINE void finish_row(int32_t m, const struct winograd *g, const float *du, size_t plane, float *dw, int32_t width) {
  for (int32_t channel = 0; channel < width; channel += LANES) {
    vec d[MOST_SIDE * MOST_SIDE], o[9];
    load_planes(m, d, du + channel, plane);
    transform_tile(weight_gradient_transform, m, m + 2, 3, d, o);
    UNROLLED for (int32_t tap = 0; tap < 9; tap++) store(dw + (size_t)tap * (size_t)g->c + channel, o[tap] * g->scale);
  }
}

/* Few tiles: dw of one panel of out_c and some panels of c. */
INLINE void whole_task(int32_t m, const struct winograd *g, int32_t task, int32_t worker) {
  int32_t panel = task % g->panels, group = task / g->panels, planes = (m + 2) * (m + 2);
  struct span in = span_of(g->sources, group, g->source_groups);
  float *du = g->u + (size_t)worker * g->u_panel;
  for (int32_t source = in.begin; source < in.end; source++) {
    const float *v = g->v + (size_t)source * g->v_panel, *d = g->d + (size_t)panel * g->v_panel;
    float *to = du;
    for (int32_t plane = 0; plane < planes; plane++, v += g->v_plane, d += g->v_plane, to += g->u_plane)
      accumulate_panel(d, v, g->tiles, to, TILE_COLUMNS, 1, v + g->v_plane);
    float *dw = g->y + (size_t)(panel * TILE_COLUMNS) * 9 * (size_t)g->c + (size_t)(source * TILE_COLUMNS);
    for (int32_t row = 0; row < TILE_COLUMNS; row++, dw += 9 * (size_t)g->c)
      finish_row(m, g, du + row * TILE_COLUMNS, g->u_plane, dw, TILE_COLUMNS);
  }
}
TASKS(whole_task, task, worker)

INLINE int32_t at_once(const struct winograd *g) { return g->tiles <= min32(MOST_AT_ONCE, min32(g->c, g->out_c)); }

/* Floats of scratch memory: for few tiles [zeros][du of each worker][v][d], for many [zeros][rows of du][v and d of each
 * worker][du]. Blocks of channels may depend on the number of workers, but chunks of tiles may not, because their sums are added. */
static size_t lay_out_gradient(struct winograd *g, int32_t m, int32_t workers) {
  size_t side = (size_t)(m + 2), zeros = (size_t)max32(g->c, g->out_c), area = (size_t)(TILE_COLUMNS * TILE_COLUMNS);
  g->block = at_once(g) ? g->tiles : CHUNK_TILES;
  g->v_plane = (size_t)g->block * TILE_COLUMNS + PLANE_GAP;
  if (at_once(g)) {
    g->source_groups = pieces_for(g->panels, g->sources, WANTED_TASKS);
    g->u_plane = area + PLANE_GAP;
    g->u_panel = side * side * g->u_plane;
    g->v_panel = side * side * g->v_plane;
    return zeros + (size_t)workers * g->u_panel + (size_t)(g->sources + g->panels) * g->v_panel;
  }
  g->source_groups = ceil_div(g->c, BLOCK_CHANNELS);
  g->out_groups = ceil_div(g->out_c, BLOCK_CHANNELS);
  while (g->out_groups < g->panels && (m + 2) * g->out_groups * g->source_groups < 2 * workers) g->out_groups++;
  size_t ins = (size_t)ceil_div(g->sources, g->source_groups), outs = (size_t)ceil_div(g->panels, g->out_groups);
  g->band = ceil_div(max32(LEAST_BAND, max32(g->c, g->out_c)), g->block) * g->block;
  g->u_plane = (size_t)g->out_c * (size_t)g->c + PLANE_GAP;
  g->u_panel = side * ins * outs * area + PLANE_GAP;
  g->v_worker = side * (ins + outs) * g->v_plane;
  size_t du = g->band < g->tiles ? side * (size_t)(g->source_groups * g->out_groups) : (size_t)workers;
  return zeros + 3 * side * g->u_plane + (size_t)workers * g->v_worker + du * g->u_panel;
}

KERNEL double winograd_gradient_scratch(const int32_t *table, int32_t m, int32_t workers) {
  struct winograd g = plan_of(table, m, 0);
  return (double)lay_out_gradient(&g, m, workers);
}

/* dw [Cout, 3, 3, Cin] = scale * sum over pixels of dy x */
KERNEL void winograd_weight_gradient(const float *x, const float *dy, float *dw, float *scratch, const int32_t *table, int32_t m,
                                     int32_t workers, float scale) {
  struct winograd g = plan_of(table, m, 0);
  g.x = x, g.dy = dy, g.y = dw, g.scale = scale;
  lay_out_gradient(&g, m, workers);
  int32_t zeros = max32(g.c, g.out_c);
  for (int32_t i = 0; i < zeros; i++) scratch[i] = 0.0f;
  g.zeros = scratch;
  g.u = scratch + zeros;
  if (at_once(&g)) {
    g.v = g.u + g.u_panel * (size_t)workers;
    g.d = g.v + (size_t)g.sources * g.v_panel;
    pool_run(m == 2 ? tile_task_2 : tile_task_4, &g, g.tiles);
    pool_run(m == 2 ? whole_task_2 : whole_task_4, &g, g.panels * g.source_groups);
  } else {
    g.v = g.u + (size_t)(3 * (m + 2)) * g.u_plane;
    g.d = g.v + (size_t)workers * g.v_worker;
    for (g.first = 0; g.first < g.tiles; g.first += g.band)
      pool_run(m == 2 ? row_task_2 : row_task_4, &g, (m + 2) * g.out_groups * g.source_groups);
    pool_run(m == 2 ? finish_task_2 : finish_task_4, &g, g.out_c);
  }
}
