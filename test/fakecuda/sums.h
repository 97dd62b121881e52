// How tensor cores add. Rounded: term by term in f32, to nearest. Truncated (FAKECUDA_SUMS=truncated), as measured by Fasi et al.
// (peerj-cs.330) and in arXiv:2512.07004: the sum so far and the next products are aligned to the largest of them, bits below
// those of f32 and a few more are cut off, and the total is truncated to f32.
#pragma once
#include "runtime.h"
#include <cmath>

static inline float fake_toward_zero(double x) {
  float f = (float)x;
  return std::fabs((double)f) > std::fabs(x) ? std::nextafterf(f, 0.0f) : f;
}

/* sum + a[0] b[0] + ... + a[count - 1] b[count - 1], where b has a stride */
static inline float fake_add_truncated(FakeSums how, float sum, const float *a, const float *b, int stride, int count) {
  for (int first = 0; first < count; first += how.terms) {
    int last = first + how.terms < count ? first + how.terms : count;
    double largest = std::fabs((double)sum), plain = sum;
    for (int k = first; k < last; k++) {
      double product = (double)a[k] * (double)b[k * stride]; /* exact */
      plain += product;
      if (std::fabs(product) > largest) largest = std::fabs(product);
    }
    if (largest == 0.0 || !std::isfinite(plain) || !std::isfinite(largest)) {
      sum = (float)plain;
      continue;
    }
    double unit = std::scalbn(1.0, std::ilogb(largest) - 23 - how.extra), total = std::trunc((double)sum / unit);
    for (int k = first; k < last; k++) total += std::trunc((double)a[k] * (double)b[k * stride] / unit);
    sum = fake_toward_zero(total * unit);
  }
  return sum;
}
