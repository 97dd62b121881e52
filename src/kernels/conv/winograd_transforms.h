/* The transforms of Winograd's minimal filtering (Lavin, Gray, CVPR 2016) along one axis, and of a tile along both axes. Output
 * tiles have m = 2 or 4 and side = m + 2; the interpolation points are 0, 1, -1 (2, -2) and infinity.
 */
#ifndef RECTIFLOW_WINOGRAD_TRANSFORMS_H
#define RECTIFLOW_WINOGRAD_TRANSFORMS_H

#include "common.h"

enum { MOST_SIDE = 6 };

/* B^T d: side values of an input tile */
INLINE void input_transform(int32_t m, vec *o, const vec *d, int32_t step) {
  if (m == 2) {
    o[0] = d[0] - d[2 * step];
    o[1] = d[step] + d[2 * step];
    o[2] = d[2 * step] - d[step];
    o[3] = d[step] - d[3 * step];
  } else {
    vec even = d[4 * step] - 4.0f * d[2 * step], odd = d[3 * step] - 4.0f * d[step];
    vec outer = d[4 * step] - d[2 * step], twice = 2.0f * (d[3 * step] - d[step]);
    o[0] = 4.0f * d[0] - 5.0f * d[2 * step] + d[4 * step];
    o[1] = even + odd;
    o[2] = even - odd;
    o[3] = outer + twice;
    o[4] = outer - twice;
    o[5] = 4.0f * d[step] - 5.0f * d[3 * step] + d[5 * step];
  }
}

/* A^T s: side values to m outputs */
INLINE void output_transform(int32_t m, vec *o, const vec *s, int32_t step) {
  vec sum = s[step] + s[2 * step], difference = s[step] - s[2 * step];
  if (m == 2) {
    o[0] = s[0] + sum;
    o[1] = difference - s[3 * step];
  } else {
    vec sum2 = s[3 * step] + s[4 * step], difference2 = s[3 * step] - s[4 * step];
    o[0] = s[0] + sum + sum2;
    o[1] = difference + 2.0f * difference2;
    o[2] = sum + 4.0f * sum2;
    o[3] = difference + 8.0f * difference2 + s[5 * step];
  }
}

/* A y: its adjoint, m values of dy to side */
INLINE void gradient_transform(int32_t m, vec *o, const vec *y, int32_t step) {
  if (m == 2) {
    o[0] = y[0];
    o[1] = y[0] + y[step];
    o[2] = y[0] - y[step];
    o[3] = -y[step];
  } else {
    vec even = y[0] + y[2 * step], odd = y[step] + y[3 * step];
    vec even2 = y[0] + 4.0f * y[2 * step], odd2 = 2.0f * y[step] + 8.0f * y[3 * step];
    o[0] = y[0];
    o[1] = even + odd;
    o[2] = even - odd;
    o[3] = even2 + odd2;
    o[4] = even2 - odd2;
    o[5] = y[3 * step];
  }
}

/* G g: three taps to side */
INLINE void weight_transform(int32_t m, vec *o, const vec *g, int32_t step) {
  if (m == 2) {
    vec outer = (g[0] + g[2 * step]) * 0.5f, middle = g[step] * 0.5f;
    o[0] = g[0];
    o[1] = outer + middle;
    o[2] = outer - middle;
    o[3] = g[2 * step];
  } else {
    vec outer = (g[0] + g[2 * step]) * (-1.0f / 6), middle = g[step] * (1.0f / 6);
    vec outer2 = g[0] * (1.0f / 24) + g[2 * step] * (1.0f / 6), middle2 = g[step] * (1.0f / 12);
    o[0] = g[0] * 0.25f;
    o[1] = outer - middle;
    o[2] = outer + middle;
    o[3] = outer2 + middle2;
    o[4] = outer2 - middle2;
    o[5] = g[2 * step];
  }
}

/* G^T u: its adjoint, side to three taps */
INLINE void weight_gradient_transform(int32_t m, vec *o, const vec *u, int32_t step) {
  vec sum = u[step] + u[2 * step], difference = u[step] - u[2 * step];
  if (m == 2) {
    o[0] = u[0] + 0.5f * sum;
    o[1] = 0.5f * difference;
    o[2] = 0.5f * sum + u[3 * step];
  } else {
    vec sum2 = u[3 * step] + u[4 * step], difference2 = u[3 * step] - u[4 * step];
    o[0] = 0.25f * u[0] - (1.0f / 6) * sum + (1.0f / 24) * sum2;
    o[1] = (1.0f / 12) * difference2 - (1.0f / 6) * difference;
    o[2] = (1.0f / 6) * (sum2 - sum) + u[5 * step];
  }
}

/* `step`: the distance from one value of d to the next. */
typedef void (*transform)(int32_t m, vec *o, const vec *d, int32_t step);

/* T d T^T of a tile d [from][from], to o [to][to]; T transforms `from` values to `to` values. Both are constants wherever this is
 * inlined, so that it is fully unrolled. */
INLINE void transform_tile(transform t, int32_t m, int32_t from, int32_t to, const vec *d, vec *o) {
  vec half[MOST_SIDE * MOST_SIDE], column[MOST_SIDE];
  UNROLLED for (int32_t j = 0; j < from; j++) {
    t(m, column, d + j, from);
    UNROLLED for (int32_t i = 0; i < to; i++) half[i * from + j] = column[i];
  }
  UNROLLED for (int32_t i = 0; i < to; i++) t(m, o + i * to, half + i * from, 1);
}

#endif
