/* Nonlinearities of networks, one line each with the gradient; p and q are their constants: see elementwise.cuh. */
#include "elementwise.cuh"

/* x within [low, high]; NaN stays NaN. */
DEVICE float limited(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
/* log(1 + exp(z)) */
DEVICE float softplus_of(float z) { return (z < 0.0f ? 0.0f : z) + log1pf(expf(-fabsf(z))); }

/* x tanh(log(1 + e)) with e = exp(x), which is n / (n + 2) with n = e (e + 2). Above 20 it is x. */
DEVICE float mish(float x) {
  float e = expf(x > 20.0f ? 20.0f : x), n = e * (e + 2.0f);
  return x * (n / (n + 2.0f));
}
DEVICE float mish_slope(float x) {
  float near = limited(x, -90.0f, 20.0f), e = expf(near), n = e * (e + 2.0f);
  return n / (n + 2.0f) + near * (4.0f * e * (e + 1.0f)) / ((n + 2.0f) * (n + 2.0f));
}

FUNCTION(activation_elu, x, x > 0.0f ? q * x : p * expm1f(x), u *(x <= 0.0f ? p * expf(x) : q))
FUNCTION(activation_hard_sigmoid, x, limited(x + 3.0f, 0.0f, 6.0f) / 6.0f, x > -3.0f && x < 3.0f ? u / 6.0f : 0.0f)
FUNCTION(activation_hard_swish, x, x *limited(x + 3.0f, 0.0f, 6.0f) / 6.0f,
         x <= -3.0f ? 0.0f : x < 3.0f ? u * (x / 3.0f + 0.5f) : u)
FUNCTION(activation_hard_tanh, x, x < p ? p : x > q ? q : x, x <= p || x >= q ? 0.0f : u)
FUNCTION(activation_leaky_relu, x, x > 0.0f ? x : p * x, x > 0.0f ? u : p * u)
FUNCTION(activation_log_sigmoid, x, -softplus_of(-x), u *sigmoid(-x))
FUNCTION(activation_mish, x, mish(x), u *mish_slope(x))
FUNCTION(activation_softplus, x, x *p > q ? x : softplus_of(x * p) / p, x *p > q ? u : u * sigmoid(x * p))
FUNCTION(activation_softsign, x, x / (1.0f + fabsf(x)), u / ((1.0f + fabsf(x)) * (1.0f + fabsf(x))))

/* u is x, v the slope for x <= 0. The derivative by x, and the gradient of v before it is summed. */
BINARY(activation_prelu, u > 0.0f ? u : v * u)
BINARY(activation_prelu_slope, u > 0.0f ? 1.0f : v)
GRADIENT(activation_prelu_weight, x, x > 0.0f ? 0.0f : u * x)
