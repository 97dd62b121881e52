// Reference of matrix products and attention.
//   matmul: y[..., m, n] = sum_k a[..., m, k] b[..., k, n] + bias[n]
//   attention, for each head: y[n, t] = sum_s softmax_s(scale q[n, t] . k[n, s]) v[n, s], over the s that t attends to
import { type Array64, array64, broadcastShape, broadcastTo, count } from './array.ts';
import { elementwise } from './elementwise.ts';
import { transpose } from './movement.ts';

export interface MatmulOptions {
  transposeA?: boolean;
  transposeB?: boolean;
  bias?: Array64;
}

export function matmul(a: Array64, b: Array64, { transposeA, transposeB, bias }: MatmulOptions = {}): Array64 {
  const left = transposeA ? transpose(a) : a;
  const right = transposeB ? transpose(b) : b;
  const [rows, inner] = left.shape.slice(-2);
  const columns = right.shape[right.shape.length - 1];
  const batch = broadcastShape(left.shape.slice(0, -2), right.shape.slice(0, -2));
  const l = broadcastTo(left, [...batch, rows, inner]).data;
  const r = broadcastTo(right, [...batch, inner, columns]).data;
  const y = array64([...batch, rows, columns]);
  for (let p = 0; p < count(batch); p++) {
    for (let m = 0; m < rows; m++) {
      for (let n = 0; n < columns; n++) {
        let total = 0;
        for (let k = 0; k < inner; k++) total += l[(p * rows + m) * inner + k] * r[(p * inner + k) * columns + n];
        y.data[(p * rows + m) * columns + n] = total;
      }
    }
  }
  return bias ? elementwise((value, shift) => value + shift, y, bias) : y;
}

export interface AttentionOptions {
  heads?: number;
  causal?: boolean;
  mask?: Array64;
  scale?: number;
}

export function attention(q: Array64, k: Array64, v: Array64, options: AttentionOptions = {}): Array64 {
  const { heads = 1, causal = false, mask, scale = (q.shape[2] / heads) ** -0.5 } = options;
  const [samples, queries, channels] = q.shape;
  const [, keys, values] = v.shape;
  const [width, valueWidth] = [channels / heads, values / heads];
  const attends = mask && broadcastTo(mask, [samples, heads, queries, keys]).data;
  const y = array64([samples, queries, values]);
  for (let n = 0; n < samples; n++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < queries; t++) {
        const own = (n * queries + t) * channels + h * width;
        const scores = Array.from({ length: keys }, (_, s) => {
          if ((causal && s > t) || attends?.[((n * heads + h) * queries + t) * keys + s] === 0)
            return Number.NEGATIVE_INFINITY;
          let score = 0;
          for (let c = 0; c < width; c++) score += q.data[own + c] * k.data[(n * keys + s) * channels + h * width + c];
          return scale * score;
        });
        const largest = Math.max(...scores);
        if (largest === Number.NEGATIVE_INFINITY) continue; // A query that attends to no key gives 0.
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((a, b) => a + b, 0);
        for (let c = 0; c < valueWidth; c++) {
          let sum = 0;
          for (let s = 0; s < keys; s++) sum += weights[s] * v.data[(n * keys + s) * values + h * valueWidth + c];
          y.data[(n * queries + t) * values + h * valueWidth + c] = sum / total;
        }
      }
  return y;
}
