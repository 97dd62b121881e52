// Reference of matrix products and attention.
//   matmul: y[..., m, n] = sum_k a[..., m, k] b[..., k, n] + bias[n]
//   attention: y[n, t] = sum_s softmax_s(scale q[n, t] . k[n, s]) v[n, s]
import { type Array64, array64, broadcastShape, broadcastTo, count, map } from './array.ts';
import { elementwise } from './elementwise.ts';
import { transpose } from './movement.ts';
import { softmax } from './reduce.ts';

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

export function attention(q: Array64, k: Array64, v: Array64, scale = q.shape[2] ** -0.5): Array64 {
  const scores = map(matmul(q, k, { transposeB: true }), (value) => value * scale);
  return matmul(softmax(scores), v);
}
