/* The scalar arithmetic of random numbers, shared by C and CUDA, because every device must give the same bits.
 * The includer defines what differs: SCALAR declares a function, ROUNDED_SQRT(x) is a square root rounded to nearest. Sums and
 * products are rounded separately: files that draw normals are compiled without contraction.
 */
#ifndef RECTIFLOW_GENERATOR_H
#define RECTIFLOW_GENERATOR_H

/* Philox4x32-10 (Salmon et al., SC 2011): four words from a counter c and a key k. */
SCALAR void philox_words(unsigned c0, unsigned c1, unsigned c2, unsigned c3, unsigned k0, unsigned k1, unsigned out[4]) {
  for (int round = 0; round < 10; round++) {
    unsigned long long a = (unsigned long long)c0 * 0xD2511F53u, b = (unsigned long long)c2 * 0xCD9E8D57u;
    c0 = (unsigned)(b >> 32) ^ c1 ^ k0;
    c1 = (unsigned)b;
    c2 = (unsigned)(a >> 32) ^ c3 ^ k1;
    c3 = (unsigned)a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* log of u in (0, 1], at least 2^-24 */
SCALAR float unit_log(float u) {
  union { float value; int bits; } m = {u};
  float e = (float)((m.bits >> 23) - 126);
  m.bits = (m.bits & 0x007FFFFF) | 0x3F000000;
  float f = m.value;
  if (f < 0.70710678f) {
    e = e - 1.0f;
    f = f + f;
  }
  f = f - 1.0f;
  float z = f * f, p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  float y = p * f * z;
  y = y + e * -2.12194440e-4f;
  y = y - 0.5f * z;
  return f + y + e * 0.693359375f;
}

/* An exponential of mean 1 from a word: -log u, u = (2 (a / 2^9) + 1) / 2^24, which is neither 0 nor 1 */
SCALAR float unit_exponential(unsigned a) { return -unit_log((float)(int)((a >> 9) * 2u + 1u) * 5.9604644775390625e-8f); }

/* Attempts at a number that may be rejected. A seed is below 2^53, so the upper 11 bits of the key count the attempts. */
enum { ATTEMPTS = 1 << 11 };

SCALAR unsigned key_of_attempt(unsigned k1, unsigned attempt) { return k1 | attempt << 21; }

/* whole = the upper word of range times a word: in [0, range), where range 0 stands for 2^32. Returns 0 for a word that must be
 * replaced, so that all numbers are equally likely (Lemire, Fast random integer generation in an interval, 2019). */
SCALAR int whole_below(unsigned range, unsigned word, unsigned *whole) {
  unsigned long long product = (unsigned long long)range * word;
  *whole = range ? (unsigned)(product >> 32) : word;
  return (unsigned)product >= range || (unsigned)product >= (0u - range) % range;
}

/* Two normals from two words: radius sqrt(-2 log u), u = (a / 2^8 + 1) / 2^24; angle 2 pi (b / 2^8) / 2^24 */
SCALAR void normal_pair(unsigned a, unsigned b, float *first, float *second) {
  float u = (float)(int)((a >> 8) + 1u) * 5.9604644775390625e-8f;
  float radius = ROUNDED_SQRT(-2.0f * unit_log(u));
  float turn = (float)(int)(b >> 8) * 2.384185791015625e-7f; /* quarter turns, [0, 4) */
  int quadrant = (int)(turn + 0.5f);
  float r = turn - (float)quadrant, z = r * r;
  float s = 1.6044118e-4f, c = -2.5202e-5f;
  s = s * z - 4.6817541e-3f;
  s = s * z + 7.9692626e-2f;
  s = s * z - 6.4596409e-1f;
  s = s * z + 1.5707963f;
  s = s * r;
  c = c * z + 9.1926027e-4f;
  c = c * z - 2.0863481e-2f;
  c = c * z + 2.5366951e-1f;
  c = c * z - 1.2337005f;
  c = c * z + 1.0f;
  float sine = quadrant & 1 ? c : s, cosine = quadrant & 1 ? s : c;
  if (quadrant & 2) sine = -sine;
  if ((quadrant + 1) & 2) cosine = -cosine;
  *first = radius * cosine;
  *second = radius * sine;
}

#endif
