/* More functions on vectors, for math.c and the activations. Zeros keep their signs; infinities and NaN give what C's functions
 * give. The error of each is stated in units of the result's last place (ulp) and held by test/ops/accuracy.test.ts. Polynomials and
 * their intervals are those of Cephes (Moshier) where no other source is named.
 */
#ifndef RECTIFLOW_FUNCTIONS_H
#define RECTIFLOW_FUNCTIONS_H

#include "common.h"

/* A magnitude with the sign of x. */
INLINE vec with_sign(vec magnitude, vec x) { return (vec)((vec_i32)magnitude | sign_of(x)); }
/* 1 in the lanes of the mask, 0 elsewhere. */
INLINE vec one_where(vec_i32 mask) { return (vec)(mask & (vec_i32)splat(1.0f)); }

/* ---------------------------------------------------------------- rounding: exact; from 2^23 on every float is whole */
/* The nearest whole number, of two the even one: adding 2^23 rounds. */
INLINE vec vec_round(vec x) {
  vec big = with_sign(splat(8388608.0f), x);
  vec r = (x + big) - big;
  return select(vec_abs(x) < 8388608.0f, with_sign(r, x), x);
}
INLINE vec vec_floor(vec x) {
  vec r = vec_round(x);
  return with_sign(r - one_where(r > x), x);
}
INLINE vec vec_ceil(vec x) {
  vec r = vec_round(x);
  return with_sign(r + one_where(r < x), x);
}
INLINE vec vec_trunc(vec x) { return with_sign(vec_floor(vec_abs(x)), x); }

/* 1, 0 or -1; NaN for NaN. */
INLINE vec vec_sign(vec x) { return select(x != x, x, one_where(x > (vec){}) - one_where(x < (vec){})); }

/* ---------------------------------------------------------------- exponentials */
/* 2^x, 2 ulp, exact for whole x; subnormal results are rounded once more. Half the smallest subnormal and below is 0. */
INLINE vec vec_exp2(vec x) {
  vec_i32 none = x <= -150.0f;
  vec clamped = select(none, (vec){}, vec_min(x, splat(128.0f)));
  vec shifted = clamped + 12582912.0f;
  vec f = clamped - (shifted - 12582912.0f);
  vec p = f * 1.535336188319500e-4f + 1.339887440266574e-3f;
  p = p * f + 9.618437357674640e-3f;
  p = p * f + 5.550332471162809e-2f;
  p = p * f + 2.402264791363012e-1f;
  p = p * f + 6.931472028550421e-1f;
  vec r = scale_by_power(p * f + 1.0f, (vec_i32)shifted - 0x4B400000);
  return select(x != x, x, select(none, (vec){}, r));
}

/* exp(x) - 1, 3 ulp: 2 (2^(n-1) (exp(f) - 1) + (2^(n-1) - 1/2)). */
INLINE vec vec_expm1(vec x) {
  vec_i32 n;
  vec f = exp_argument(vec_min(vec_max(x, splat(-18.0f)), splat(88.8f)), &n);
  vec e = expm1_reduced(f), half = (vec)((n + 126) << 23);
  vec r = select(n == 0, e, (half * e + (half - 0.5f)) * 2.0f);
  return select((x == (vec){}) | (x != x), x, r);
}

/* exp(x) / 2 for x >= 0, also where exp(x) is infinite. */
INLINE vec exp_halved(vec x) {
  vec_i32 n;
  vec f = exp_argument(vec_min(splat(90.0f), x), &n);
  return scale_by_power(exp_reduced(f), n - 1);
}
/* sinh(x) and cosh(x), 3 ulp */
INLINE vec vec_sinh(vec x) {
  vec a = vec_abs(x), z = a * a, h = exp_halved(a);
  vec near = ((z * 2.03721912945e-4f + 8.33028376239e-3f) * z + 1.66667160211e-1f) * z * a + a;
  return with_sign(select(a > 1.0f, h - 0.25f / h, near), x);
}
INLINE vec vec_cosh(vec x) {
  vec h = exp_halved(vec_abs(x));
  return h + 0.25f / h;
}

/* ---------------------------------------------------------------- logarithms */
/* log2(x), 2 ulp, exact for powers of 2 */
INLINE vec vec_log2(vec x) {
  vec e, cubic, m = log_reduced(x, &e, &cubic), z = m * m;
  return log_ends(x, (cubic - 0.5f * z + m) * 1.44269504f + e);
}
/* log10(x), 2 ulp */
INLINE vec vec_log10(vec x) {
  vec e, cubic, m = log_reduced(x, &e, &cubic), z = m * m;
  vec r = (cubic - 0.5f * z + m) * 0.434294482f + e * 2.48745663e-4f;
  return log_ends(x, r + e * 0.30078125f);
}
/* log(1 + x), 3 ulp: the logarithm of the rounded sum, and a first-order term for its rounding error (FreeBSD's s_log1pf.c). */
INLINE vec vec_log1p(vec x) {
  vec sum = 1.0f + x;
  vec error = select(vec_abs(x) < 1.0f, x - (sum - 1.0f), 1.0f - (sum - x));
  vec r = vec_log(sum);
  r = select((sum > (vec){}) & (sum < splat(__builtin_inff())), r + error / sum, r);
  return select(x == (vec){}, x, r);
}
/* log(x) for x of more than 1500, plus log(2); r for the others. */
INLINE vec log_of_double(vec x, vec argument) {
  vec_i32 large = x > 1500.0f;
  return vec_log(select(large, x, argument)) + select(large, splat(0.693147181f), (vec){});
}
/* sqrt(1 + a^2) for a >= 0, also where a^2 is infinite */
INLINE vec root_above_one(vec a) { return select(a > 8192.0f, a, vec_sqrt(a * a + 1.0f)); }
/* The inverses of sinh, cosh and tanh, 3 ulp */
INLINE vec vec_asinh(vec x) {
  vec a = vec_abs(x), z = a * a;
  vec near = z * 2.0122003309e-2f - 4.2699340972e-2f;
  near = (near * z + 7.4847586088e-2f) * z - 1.6666288134e-1f;
  vec far = log_of_double(a, a + root_above_one(a));
  return with_sign(select(a < 0.5f, near * z * a + a, far), x);
}
INLINE vec vec_acosh(vec x) {
  vec z = x - 1.0f;
  vec near = z * 1.7596881071e-3f - 7.5272886713e-3f;
  near = (near * z + 2.6454905019e-2f) * z - 1.1784741703e-1f;
  near = (near * z + 1.4142135263e0f) * vec_sqrt(z);
  return select(z < 0.5f, near, log_of_double(x, x + vec_sqrt(z * (x + 1.0f))));
}
INLINE vec vec_atanh(vec x) {
  vec a = vec_abs(x), z = a * a;
  vec near = z * 1.81740078349e-1f + 8.24370301058e-2f;
  near = (near * z + 1.46691431730e-1f) * z + 1.99782164500e-1f;
  near = (near * z + 3.33337300303e-1f) * z * a + a;
  return with_sign(select(a < 0.5f, near, 0.5f * vec_log((1.0f + a) / (1.0f - a))), x);
}

/* ---------------------------------------------------------------- trigonometry */
#define PI 3.14159265f
#define HALF_PI 1.57079633f
#define QUARTER_PI 0.785398163f

/* tan(x) of any x, 4 ulp */
INLINE vec vec_tan(vec x) {
  vec s, c;
  vec_sincos(x, &s, &c);
  return s / c;
}
/* The arcsine of a <= 1/2, or of sqrt((1 - a) / 2) for a above 1/2, where pi / 2 - 2 of it is the arcsine of a. */
INLINE vec asin_reduced(vec a) {
  vec_i32 far = a > 0.5f;
  vec z = select(far, 0.5f * (1.0f - a), a * a);
  vec s = select(far, vec_sqrt(z), a);
  vec p = z * 4.2163199048e-2f + 2.4181311049e-2f;
  p = p * z + 4.5470025998e-2f;
  p = p * z + 7.4953002686e-2f;
  p = p * z + 1.6666752422e-1f;
  return p * z * s + s;
}
/* The inverses of sin, cos and tan, 3 ulp */
INLINE vec vec_asin(vec x) {
  vec a = vec_abs(x), r = asin_reduced(a);
  return with_sign(select(a > 0.5f, HALF_PI - (r + r), r), x);
}
INLINE vec vec_acos(vec x) {
  vec a = vec_abs(x), r = asin_reduced(a);
  vec far = select(x < (vec){}, PI - (r + r), r + r);
  return select(a > 0.5f, far, HALF_PI - with_sign(r, x));
}
INLINE vec atan_of_magnitude(vec a) {
  vec_i32 far = a > 2.414213562f, middle = a > 0.414213562f;
  vec x = select(far, splat(-1.0f), select(middle, a - 1.0f, a)) / select(far, a, select(middle, a + 1.0f, splat(1.0f)));
  vec z = x * x;
  vec p = z * 8.05374449538e-2f - 1.38776856032e-1f;
  p = p * z + 1.99777106478e-1f;
  p = p * z - 3.33329491539e-1f;
  return select(far, splat(HALF_PI), select(middle, splat(QUARTER_PI), (vec){})) + (p * z * x + x);
}
INLINE vec vec_atan(vec x) { return with_sign(atan_of_magnitude(vec_abs(x)), x); }
/* The angle of the point (x, y), from -pi to pi, 4 ulp; signs of zeros and infinities count as in C. */
INLINE vec vec_atan2(vec y, vec x) {
  vec a = vec_abs(x), b = vec_abs(y);
  vec low = select(a < b, a, b), high = select(a < b, b, a);
  vec ratio = select(high == (vec){}, (vec){}, select(low == splat(__builtin_inff()), splat(1.0f), low / high));
  vec r = atan_of_magnitude(ratio);
  r = select(a < b, HALF_PI - r, r);
  r = select((vec_i32)x < 0, PI - r, r);
  return select((x != x) | (y != y), x + y, with_sign(r, y));
}

/* ---------------------------------------------------------------- the error function */
/* erf(x), 2 ulp, by the polynomials of N. Juffa, "Evaluation of the error function in single precision" (2016). */
INLINE vec vec_erf(vec x) {
  vec t = vec_min(splat(4.0f), vec_abs(x)), s = t * t;
  vec near = s * -5.96761703e-4f + 4.99119423e-3f;
  near = near * s - 2.67681349e-2f;
  near = near * s + 1.12819925e-1f;
  near = near * s - 3.76125336e-1f;
  near = near * s + 1.28379166e-1f;
  near = near * t + t;
  vec far = (t * -1.72853470e-5f + 3.83197126e-4f) * s + (t * -3.88396438e-3f + 2.42546219e-2f);
  far = far * t - 1.06777877e-1f;
  far = far * t - 6.34846687e-1f;
  far = far * t - 1.28717512e-1f;
  far = 1.0f - vec_exp(far * t - t);
  return with_sign(select(t > 0.927734375f, far, near), x);
}
/* 1 - erf(x), 6 ulp: (1 + 2 a) exp(a^2) erfc(a) for a >= 0 as a polynomial in (a - 2) / (a + 2) (Shepherd and Laframboise 1981, with
 * coefficients by N. Juffa). a^2 is a square of 12 bits, which is exact, and a remainder. */
INLINE vec vec_erfc(vec x) {
  vec a = vec_min(splat(10.5f), vec_abs(x));
  vec q = (a - 2.0f) / (a + 2.0f);
  vec p = q * -4.01139259e-4f - 1.23075210e-3f;
  p = p * q + 1.31355342e-3f;
  p = p * q + 8.63227434e-3f;
  p = p * q - 8.05991981e-3f;
  p = p * q - 5.42046614e-2f;
  p = p * q + 1.64055392e-1f;
  p = p * q - 1.66031361e-1f;
  p = p * q - 9.27639827e-2f;
  p = p * q + 2.76978403e-1f;
  vec high = (vec)((vec_i32)a & (int32_t)0xFFFFF000);
  vec r = (p + 1.0f) / (a + a + 1.0f) * (vec_exp(-(high * high)) * vec_exp((high - a) * (high + a)));
  return select(x < (vec){}, 2.0f - r, r);
}

#endif
