// The random numbers of kernels/philox.h and kernels/random.c on the host, bit by bit: for data order and point sets, and
// as the check that every device draws the same.

/** 128 bits of Philox4x32-10 (Salmon et al., SC 2011). @returns four u32 */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const highA = multiplyHigh(c0, 0xd2511f53);
    const lowA = Math.imul(c0, 0xd2511f53);
    const highB = multiplyHigh(c2, 0xcd9e8d57);
    const lowB = Math.imul(c2, 0xcd9e8d57);
    c0 = highB ^ c1 ^ k0;
    c1 = lowB;
    c2 = highA ^ c3 ^ k1;
    c3 = lowA;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** Upper 32 bits of the product of two u32. */
function multiplyHigh(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = (middle & 0xffff) + aLow * bHigh;
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(carry / 65536)) | 0;
}

const f = Math.fround;

/** Four standard normals of one block, with the bits of the kernel random_normal. */
export function normalBlock(words: readonly number[]): Float32Array {
  return Float32Array.of(...normalPair(words[0], words[1]), ...normalPair(words[2], words[3]));
}

function normalPair(a: number, b: number): [number, number] {
  const u = f(((a >>> 8) + 1) * 2 ** -24);
  const radius = f(Math.sqrt(f(-2 * unitLog(u))));
  const turn = f((b >>> 8) * 2 ** -22);
  const quadrant = Math.trunc(f(turn + 0.5));
  const r = f(turn - quadrant);
  const z = f(r * r);
  const s = f(polynomial(z, [1.6044118e-4, -4.6817541e-3, 7.9692626e-2, -6.4596409e-1, 1.5707963]) * r);
  const c = polynomial(z, [-2.5202e-5, 9.1926027e-4, -2.0863481e-2, 2.5366951e-1, -1.2337005, 1]);
  let sine = quadrant & 1 ? c : s;
  let cosine = quadrant & 1 ? s : c;
  if (quadrant & 2) sine = -sine;
  if ((quadrant + 1) & 2) cosine = -cosine;
  return [f(radius * cosine), f(radius * sine)];
}

const bits = new DataView(new ArrayBuffer(4));

/** log u for u in [2^-24, 1], Cephes' polynomial, each operation rounded to f32. */
function unitLog(u: number): number {
  bits.setFloat32(0, u);
  const pattern = bits.getInt32(0);
  let e = (pattern >> 23) - 126;
  bits.setInt32(0, (pattern & 0x007fffff) | 0x3f000000);
  let m = bits.getFloat32(0);
  if (m < f(0.70710678)) {
    e -= 1;
    m = f(m + m);
  }
  m = f(m - 1);
  const z = f(m * m);
  const p = polynomial(
    m,
    [
      7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
      2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ],
  );
  let y = f(f(p * m) * z);
  y = f(y + f(e * f(-2.1219444e-4)));
  y = f(y - f(0.5 * z));
  return f(f(m + y) + f(e * f(0.693359375)));
}

/** Horner's rule, highest coefficient first, each operation rounded to f32. */
function polynomial(x: number, coefficients: readonly number[]): number {
  return coefficients.reduce((sum, coefficient, i) => (i === 0 ? f(coefficient) : f(f(sum * x) + f(coefficient))), 0);
}
