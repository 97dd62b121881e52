// Logarithm, sine and cosine in float32 by the polynomials of the Cephes library (Moshier 1989), with the product and the sum of each
// step rounded once. These are the functions by which PyTorch makes normal numbers on processors with AVX2, to the bit.
const { fround } = Math;

/** a b + c, rounded once to float32: the product of two float32 numbers is exact in double precision. */
function fused(a: number, b: number, c: number): number {
  return fround(a * b + c);
}

/** p_0 x^n + ... + p_n */
function polynomial(x: number, coefficients: Float32Array): number {
  let y = coefficients[0];
  for (let i = 1; i < coefficients.length; i++) y = fused(y, x, coefficients[i]);
  return y;
}

const logCoefficients = Float32Array.of(
  ...[7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1],
  ...[-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1],
);
const SQRT_HALF = fround(Math.SQRT1_2);
/** ln 2 in two parts. */
const LN2_LOW = fround(-2.1219444e-4);
const LN2_HIGH = 0.693359375;
const bits = new DataView(new ArrayBuffer(4));

/** ln x of a float32 number x > 0. */
export function logarithm(x: number): number {
  bits.setFloat32(0, x);
  const pattern = bits.getUint32(0);
  let exponent = (pattern >>> 23) - 126;
  bits.setUint32(0, (pattern & 0x7fffff) | 0x3f000000);
  let m = bits.getFloat32(0);
  if (m < SQRT_HALF) {
    exponent--;
    m = fround(fround(m - 1) + m);
  } else m = fround(m - 1);
  const squared = fround(m * m);
  const curve = fround(polynomial(m, logCoefficients) * m);
  const low = fused(-squared, 0.5, fused(curve, squared, fround(exponent * LN2_LOW)));
  return fused(exponent, LN2_HIGH, fround(m + low));
}

const cosineCoefficients = Float32Array.of(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2);
const sineCoefficients = Float32Array.of(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1);
const FOUR_OVER_PI = fround(4 / Math.PI);
/** -pi / 4 in three parts. */
const quarters = Float32Array.of(-0.78515625, -2.4187564849853516e-4, -3.774894977445941e-8);

/** [sin x, cos x] of a float32 number x >= 0. */
export function sineAndCosine(x: number): [sine: number, cosine: number] {
  const octant = (Math.trunc(fround(x * FOUR_OVER_PI)) + 1) & ~1;
  let rest = x;
  for (const part of quarters) rest = fused(octant, part, rest);
  const squared = fround(rest * rest);
  const evenPart = fround(polynomial(squared, cosineCoefficients) * squared);
  const even = fround(fused(evenPart, squared, -0.5 * squared) + 1);
  const odd = fused(fround(polynomial(squared, sineCoefficients) * squared), rest, rest);
  const sineSign = octant & 4 ? -1 : 1;
  const cosineSign = ~(octant - 2) & 4 ? -1 : 1;
  return octant & 2 ? [sineSign * even, cosineSign * odd] : [sineSign * odd, cosineSign * even];
}
