/* FIR resampling of [N, H, W, C] (upfirdn2d of StyleGAN2, Karras et al. 2020) with one row of taps for both axes:
 *   y[o] = sum_j taps[j] z[o down - before + j],   z[i up] = x[i], z = 0 between and outside
 * The adjoint is the same sum with up and down exchanged, the taps reversed and before' = length - 1 - before.
 */
#include "pool.h"

struct fir {
  const float *x, *taps;
  float *y;
  int32_t h, w, c, out_h, out_w, length, up, down, before;
};

/* What one output position reads along an axis: inputs first, first + 1, ... with taps tap, tap + up, ... */
struct reach {
  int32_t first, tap, count;
};

INLINE struct reach reach_of(const struct fir *f, int32_t o, int32_t extent) {
  int32_t start = o * f->down - f->before;
  int32_t first = start > 0 ? ceil_div(start, f->up) : 0;
  int32_t tap = first * f->up - start;
  int32_t under = tap < f->length ? ceil_div(f->length - tap, f->up) : 0;
  return (struct reach){first, tap, max32(0, min32(under, extent - first))};
}

/* One output row. */
static void fir_task(void *context, int32_t task, int32_t worker) {
  (void)worker;
  const struct fir *f = context;
  int32_t c = f->c;
  struct reach v = reach_of(f, task % f->out_h, f->h);
  const float *image = f->x + (size_t)(task / f->out_h) * (size_t)f->h * (size_t)f->w * (size_t)c;
  float *y = f->y + (size_t)task * (size_t)f->out_w * (size_t)c;
  for (int32_t o = 0; o < f->out_w; o++, y += c) {
    struct reach u = reach_of(f, o, f->w);
    for (int32_t k = 0; k < c; k += LANES) {
      int32_t lanes = min32(LANES, c - k);
      vec sum = {};
      for (int32_t i = 0; i < v.count; i++) {
        const float *x = image + ((size_t)(v.first + i) * (size_t)f->w + (size_t)u.first) * (size_t)c + (size_t)k;
        vec row = {};
        for (int32_t j = 0; j < u.count; j++, x += c)
          row += f->taps[u.tap + j * f->up] * (lanes == LANES ? load(x) : load_partial(x, lanes));
        sum += f->taps[v.tap + i * f->up] * row;
      }
      if (lanes == LANES) store(y + k, sum);
      else store_partial(y + k, sum, lanes);
    }
  }
}

/* table: N, H, W, C, H', W', number of taps, up, down, before */
KERNEL void fir_resample(const float *x, const float *taps, float *y, const int32_t *table) {
  const int32_t *t = table;
  struct fir f = {x, taps, y, t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9]};
  pool_run(fir_task, &f, t[0] * t[4]);
}
