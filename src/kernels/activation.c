/* Nonlinearities of networks, one line each with the gradient; p and q are their constants: see elementwise.h. */
#include "elementwise.h"
#include "functions.h"

/* x within [low, high]; NaN stays NaN. */
INLINE vec limited(vec x, float low, float high) { return vec_max(splat(low), vec_min(splat(high), x)); }

/* log(1 + exp(z)) */
INLINE vec softplus_of(vec z) { return vec_max((vec){}, z) + vec_log1p(vec_exp(-vec_abs(z))); }

/* x tanh(log(1 + e)) with e = exp(x), which is n / (n + 2) with n = e (e + 2). Above 20 it is x. */
INLINE vec vec_mish(vec x) {
  vec e = vec_exp(vec_min(splat(20.0f), x)), n = e * (e + 2.0f);
  return x * (n / (n + 2.0f));
}
INLINE vec mish_slope(vec x) {
  vec near = limited(x, -90.0f, 20.0f), e = vec_exp(near), n = e * (e + 2.0f);
  return n / (n + 2.0f) + near * (4.0f * e * (e + 1.0f)) / ((n + 2.0f) * (n + 2.0f));
}

FUNCTION(activation_elu, x, select(x > (vec){}, q *x, p *vec_expm1(x)), u *select(x <= (vec){}, p *vec_exp(x), q))
FUNCTION(activation_hard_sigmoid, x, limited(x + 3.0f, 0.0f, 6.0f) / 6.0f, select((x > -3.0f) & (x < 3.0f), u / 6.0f, (vec){}))
FUNCTION(activation_hard_swish, x, x *limited(x + 3.0f, 0.0f, 6.0f) / 6.0f,
         select(x <= -3.0f, (vec){}, select(x < 3.0f, u *(x / 3.0f + 0.5f), u)))
FUNCTION(activation_hard_tanh, x, select(x < p, p, select(x > q, q, x)), select((x <= p) | (x >= q), (vec){}, u))
FUNCTION(activation_leaky_relu, x, select(x > (vec){}, x, p *x), select(x > (vec){}, u, p *u))
FUNCTION(activation_log_sigmoid, x, -softplus_of(-x), u *vec_sigmoid(-x))
FUNCTION(activation_mish, x, vec_mish(x), u *mish_slope(x))
FUNCTION(activation_softplus, x, select(x *p > q, x, softplus_of(x * p) / p), select(x *p > q, u, u *vec_sigmoid(x * p)))
FUNCTION(activation_softsign, x, x / (1.0f + vec_abs(x)), u / ((1.0f + vec_abs(x)) * (1.0f + vec_abs(x))))

/* u is x, v the slope for x <= 0. The derivative by x, and the gradient of v before it is summed. */
BINARY(activation_prelu, select(u > (vec){}, u, v *u))
BINARY(activation_prelu_slope, select(u > (vec){}, splat(1.0f), v))
GRADIENT(activation_prelu_weight, x, select(x > (vec){}, (vec){}, u *x))
