/* The plan of a call of winograd.c, and the operations on single tiles and panels: transforming pixels, gradients and weights,
 * multiplying their planes, and transforming sums back to outputs.
 */
#ifndef RECTIFLOW_WINOGRAD_TILES_H
#define RECTIFLOW_WINOGRAD_TILES_H

#include "gemm.h"
#include "winograd_transforms.h"

enum { AHEAD = 32 };

struct winograd {
  const float *x, *weights, *zeros, *bias, *add, *residual, *dy;
  float *y, scale;
  int32_t n, h, w, c, out_h, out_w, out_c; /* c: channels summed over, out_c: channels computed */
  int32_t repeat;                          /* each pixel of x in memory counts so often in both directions */
  int32_t offset_y, offset_x, flipped;     /* first pixel of the first tile; flipped: weights for the input gradient */
  int32_t tiles_y, tiles_x, tiles, panels, sources; /* panels of out_c; sources: panels of c */
  int32_t block, blocks;                   /* tiles that are transformed together */
  int32_t source_groups, out_groups;       /* weight gradient: number of groups of panels of c and of out_c */
  int32_t first, band;                     /* weight gradient: the tiles that all tasks process before any continues */
  float *u, *v, *d, *sums;
  size_t u_plane, u_panel, v_plane, v_panel, v_worker, sums_plane, sums_panel;
};

struct place { int32_t sample, y, x; };

INLINE struct place place_of(const struct winograd *g, int32_t tile) {
  int32_t image = g->tiles_y * g->tiles_x;
  return (struct place){tile / image, tile / g->tiles_x % g->tiles_y, tile % g->tiles_x};
}

/* Samples [h, w, c], of which every pixel in memory is `repeat` in both directions, and c zeros, which stand for the pixels outside. */
struct image { const float *at, *zeros; int32_t h, w, c, repeat; };
INLINE struct image input_of(const struct winograd *g) { return (struct image){g->x, g->zeros, g->h, g->w, g->c, g->repeat}; }
INLINE struct image gradient_of(const struct winograd *g) { return (struct image){g->dy, g->zeros, g->out_h, g->out_w, g->out_c, 1}; }

/* `count` pixels of a row of a sample, from (y, x) on. */
INLINE void row_pixels(const float **pixels, int32_t count, const struct image *image, int32_t sample, int32_t y, int32_t x) {
  int32_t inside = y >= 0 && y < image->h;
  if (image->repeat != 1) {
    int32_t width = image->w / image->repeat;
    size_t start = inside ? ((size_t)sample * (size_t)(image->h / image->repeat) + (size_t)(y / image->repeat)) * (size_t)width : 0;
    for (int32_t j = 0; j < count; j++)
      pixels[j] = inside && x + j >= 0 && x + j < image->w
                      ? image->at + (start + (size_t)((x + j) / image->repeat)) * (size_t)image->c
                      : image->zeros;
    return;
  }
  size_t row = inside ? ((size_t)sample * (size_t)image->h + (size_t)y) * (size_t)image->w : 0;
  UNROLLED for (int32_t j = 0; j < count; j++)
    pixels[j] = inside && x + j >= 0 && x + j < image->w ? image->at + (row + (size_t)(x + j)) * (size_t)image->c : image->zeros;
}

/* One position of each plane. */
INLINE void store_planes(int32_t m, float *to, size_t plane, const vec *values) {
  UNROLLED for (int32_t i = 0; i < (m + 2) * (m + 2); i++) store(to + (size_t)i * plane, values[i]);
}

INLINE void load_planes(int32_t m, vec *values, const float *from, size_t plane) {
  UNROLLED for (int32_t i = 0; i < (m + 2) * (m + 2); i++) values[i] = load(from + (size_t)i * plane);
}

/* The pixels of a tile are more streams than the hardware prefetcher follows. */
INLINE vec load_ahead(const float *pixel) {
  __builtin_prefetch(pixel + AHEAD);
  return load(pixel);
}

/* B^T d B of a tile, for all channels, to position t of v. */
INLINE void input_tile(int32_t m, const struct winograd *g, int32_t tile, float *v, int32_t t) {
  int32_t side = m + 2;
  struct place p = place_of(g, tile);
  const float *pixels[MOST_SIDE * MOST_SIDE];
  struct image x = input_of(g);
  for (int32_t i = 0; i < side; i++)
    row_pixels(pixels + i * side, side, &x, p.sample, p.y * m + g->offset_y + i, p.x * m + g->offset_x);
  float *panel = v + (size_t)t * TILE_COLUMNS;
  for (int32_t channel = 0; channel < g->c; channel += LANES) {
    vec d[MOST_SIDE * MOST_SIDE], o[MOST_SIDE * MOST_SIDE];
    UNROLLED for (int32_t i = 0; i < side * side; i++) d[i] = load_ahead(pixels[i] + channel);
    transform_tile(input_transform, m, side, side, d, o);
    store_planes(m, panel + (size_t)(channel / TILE_COLUMNS) * g->v_panel + channel % TILE_COLUMNS, g->v_plane, o);
  }
}

/* A dy A^T of a tile, for all channels, to position t of d, whose planes have the layout of those of v. */
INLINE void gradient_tile(int32_t m, const struct winograd *g, int32_t tile, int32_t t) {
  struct place p = place_of(g, tile);
  const float *pixels[16];
  struct image dy = gradient_of(g);
  for (int32_t i = 0; i < m; i++) row_pixels(pixels + i * m, m, &dy, p.sample, p.y * m + i, p.x * m);
  float *panel = g->d + (size_t)t * TILE_COLUMNS;
  for (int32_t channel = 0; channel < g->out_c; channel += LANES) {
    vec d[16], o[MOST_SIDE * MOST_SIDE];
    UNROLLED for (int32_t i = 0; i < m * m; i++) d[i] = load_ahead(pixels[i] + channel);
    transform_tile(gradient_transform, m, m, m + 2, d, o);
    store_planes(m, panel + (size_t)(channel / TILE_COLUMNS) * g->v_panel + channel % TILE_COLUMNS, g->v_plane, o);
  }
}

INLINE void weight_planes(int32_t m, const vec *taps, float *u, size_t plane) {
  vec o[MOST_SIDE * MOST_SIDE];
  transform_tile(weight_transform, m, 3, m + 2, taps, o);
  store_planes(m, u, plane, o);
}

/* G w G^T for one panel of out_c and channels [from, end) of c, to u [plane][end - from][TILE_COLUMNS]. */
INLINE void weight_panel(int32_t m, const struct winograd *g, int32_t panel, int32_t from, int32_t end, float *u) {
  int32_t begin = panel * TILE_COLUMNS;
  if (g->flipped) { /* weights [c][3][3][out_c] */
    for (int32_t channel = from; channel < end; channel++)
      for (int32_t half = 0; half < TILE_COLUMNS; half += LANES) {
        const float *w = g->weights + (size_t)channel * 9 * (size_t)g->out_c + (size_t)(begin + half);
        vec taps[9];
        UNROLLED for (int32_t tap = 0; tap < 9; tap++) taps[tap] = load(w + (size_t)(8 - tap) * (size_t)g->out_c);
        weight_planes(m, taps, u + (size_t)(channel - from) * TILE_COLUMNS + half, g->u_plane);
      }
    return;
  }
  size_t row = 9 * (size_t)g->c; /* weights [out_c][3][3][c] */
  for (int32_t channel = from; channel < end; channel += LANES)
    for (int32_t half = 0; half < TILE_COLUMNS; half += LANES) {
      const float *w = g->weights + (size_t)(begin + half) * row + (size_t)channel;
      vec turned[9][LANES];
      for (int32_t tap = 0; tap < 9; tap++) {
        UNROLLED for (int32_t i = 0; i < LANES; i++) turned[tap][i] = load(w + (size_t)i * row + (size_t)tap * (size_t)g->c);
        transpose(turned[tap]);
      }
      for (int32_t j = 0; j < LANES; j++) { /* and prefetch a row of the next channels, whose lines are far apart */
        vec taps[9];
        UNROLLED for (int32_t tap = 0; tap < 9; tap++) {
          __builtin_prefetch(w + (size_t)j * row + (size_t)tap * (size_t)g->c + 16);
          taps[tap] = turned[tap][j];
        }
        weight_planes(m, taps, u + (size_t)(channel - from + j) * TILE_COLUMNS + half, g->u_plane);
      }
    }
}

/* sums[t][TILE_COLUMNS] (+)= the products of `rows` tiles in one plane; u or v, whichever is far, is prefetched. next: the v that is
 * read after this */
INLINE void multiply_rows(int32_t rows, const float *v, size_t panel_step, const float *next, const float *u, int32_t sources,
                          float *sums, int32_t fresh, int32_t u_is_far) {
  vec c[TILE_ROWS][2];
  UNROLLED for (int32_t r = 0; r < rows; r++) {
    c[r][0] = fresh ? (vec){} : load(sums + r * TILE_COLUMNS);
    c[r][1] = fresh ? (vec){} : load(sums + r * TILE_COLUMNS + LANES);
  }
  for (int32_t source = 0; source < sources; source++, v += panel_step) {
    const float *ahead = source + 1 < sources ? v + panel_step : next;
    NOT_UNROLLED for (int32_t i = 0; i < TILE_COLUMNS; i++, u += TILE_COLUMNS) {
      if (u_is_far) prefetch(u + PREFETCHED_ROWS * TILE_COLUMNS, TILE_COLUMNS);
      else if (i < rows * TILE_COLUMNS / 16) prefetch(ahead + i * 16, 16);
      vec b0 = load(u), b1 = load(u + LANES);
      UNROLLED for (int32_t r = 0; r < rows; r++) {
        vec s = splat(v[r * TILE_COLUMNS + i]);
        c[r][0] += s * b0;
        c[r][1] += s * b1;
      }
    }
  }
  UNROLLED for (int32_t r = 0; r < rows; r++) store(sums + r * TILE_COLUMNS, c[r][0]), store(sums + r * TILE_COLUMNS + LANES, c[r][1]);
}

/* Multiplies `planes` planes of tiles [0, count) and `sources` panels of v by one panel of u. */
INLINE void multiply_planes(const struct winograd *g, int32_t planes, const float *v, int32_t count, const float *u,
                            int32_t sources, float *sums, int32_t fresh, int32_t u_is_far) {
  for (int32_t plane = 0; plane < planes; plane++, v += g->v_plane, u += g->u_plane, sums += g->sums_plane)
    for (int32_t t = 0, rows; t < count; t += rows) {
      rows = tile_rows_of(count - t);
      const float *at = v + t * TILE_COLUMNS, *next = t + rows < count ? at + rows * TILE_COLUMNS : v + g->v_plane;
      WITH_ROWS(rows, multiply_rows, at, g->v_panel, next, u, sources, sums + t * TILE_COLUMNS, fresh, u_is_far)
    }
}

/* y = scale (A^T sums A + bias + add + residual) for a tile and one panel of channels */
INLINE void output_tile(int32_t m, const struct winograd *g, int32_t tile, int32_t panel, const float *sums) {
  struct place p = place_of(g, tile);
  for (int32_t half = 0; half < TILE_COLUMNS; half += LANES) {
    int32_t column = panel * TILE_COLUMNS + half;
    vec s[MOST_SIDE * MOST_SIDE], o[16], level = {};
    if (g->bias) level += load(g->bias + column);
    if (g->add) level += load(g->add + (size_t)p.sample * (size_t)g->out_c + (size_t)column);
    load_planes(m, s, sums + half, g->sums_plane);
    transform_tile(output_transform, m, m + 2, m, s, o);
    UNROLLED for (int32_t i = 0; i < m; i++) {
      int32_t y = p.y * m + i;
      if (y >= g->out_h) continue;
      size_t at = (((size_t)p.sample * (size_t)g->out_h + (size_t)y) * (size_t)g->out_w + (size_t)(p.x * m)) * (size_t)g->out_c +
                  (size_t)column;
      UNROLLED for (int32_t j = 0; j < m; j++, at += (size_t)g->out_c) {
        if (p.x * m + j >= g->out_w) continue;
        vec sum = o[i * m + j] + level;
        if (g->residual) { /* and prefetch that of the next tile */
          __builtin_prefetch(g->residual + at + (size_t)(m * g->out_c));
          sum += load(g->residual + at);
        }
        store(g->y + at, sum * g->scale);
      }
    }
  }
}

#endif
