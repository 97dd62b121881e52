/* GELU (Hendrycks and Gimpel 2016) by the error function or by its approximation with tanh, and GEGLU (Shazeer 2020). */
#include "elementwise.cuh"

/* x Phi(x), with the distribution function of the normal distribution Phi(x) = (1 + erf(x / sqrt(2))) / 2 */
DEVICE float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.707106781f)); }
DEVICE float gelu_slope(float x) {
  float near = x < -20.0f ? -20.0f : x > 20.0f ? 20.0f : x; /* where the density is 0, x times it is 0 */
  return 0.5f * (1.0f + erff(x * 0.707106781f)) + near * (expf(-0.5f * near * near) * 0.398942280f);
}

/* x (1 + tanh(k)) / 2 = x sigmoid(2 k) with k = sqrt(2 / pi) (x + 0.044715 x^3) */
DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
DEVICE float gelu_by_tanh(float x) { return x * sigmoid(1.59576912f * (x + 0.044715f * x * x * x)); }
DEVICE float gelu_by_tanh_slope(float x) {
  float near = x < -10.0f ? -10.0f : x > 10.0f ? 10.0f : x, square = near * near;
  float s = sigmoid(1.59576912f * (near + 0.044715f * square * near));
  return s + near * s * (1.0f - s) * (1.59576912f * (1.0f + 0.134145f * square));
}

FUNCTION(gelu_none, x, gelu(x), u *gelu_slope(x))
FUNCTION(gelu_tanh, x, gelu_by_tanh(x), u *gelu_by_tanh_slope(x))

/* ---------------------------------------------------------------- GEGLU: rows [a, b] of 2 width numbers, y = a gelu(b); n = rows width */
#define GEGLU(name, value, slope)                                                                  \
  KERNEL name(const real *x, real *y, int n, int width) {                                          \
    u32 i = thread_number();                                                                       \
    if (i >= (u32)n) return;                                                                       \
    const real *a = x + (size_t)(i / (u32)width) * (size_t)width + i;                              \
    y[i] = (float)a[0] * value(a[width]);                                                          \
  }                                                                                                \
  KERNEL name##_backward(const real *dy, const real *x, real *dx, int n, int width) {              \
    u32 i = thread_number();                                                                       \
    if (i >= (u32)n) return;                                                                       \
    size_t at = (size_t)(i / (u32)width) * (size_t)width + i;                                      \
    float u = dy[i], a = x[at], gate = x[at + (size_t)width];                                      \
    dx[at] = u * value(gate);                                                                      \
    dx[at + (size_t)width] = u * a * slope(gate);                                                  \
  }

GEGLU(gelu_geglu_none, gelu, gelu_slope)
GEGLU(gelu_geglu_tanh, gelu_by_tanh, gelu_by_tanh_slope)
