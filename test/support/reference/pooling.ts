// Reference of pooling and of bilinear resizing on [N, H, W, C], both as PyTorch defines them: max_pool2d, avg_pool2d and
// interpolate(mode='bilinear', align_corners=False, antialias=False).
import { type Array64, at, generate } from './array.ts';

type Pair = readonly [number, number];

export interface PoolOptions {
  kernel: Pair;
  stride: Pair;
  padding: Pair;
  countIncludePad?: boolean;
}

/** The values of every window in the image, reduced to one. */
function pool(x: Array64, { kernel, stride, padding }: PoolOptions, reduce: (values: number[]) => number): Array64 {
  const [n, h, w, c] = x.shape;
  const [rows, columns] = [h, w].map((extent, a) => Math.floor((extent + 2 * padding[a] - kernel[a]) / stride[a]) + 1);
  return generate([n, rows, columns, c], ([image, i, j, channel]) => {
    const values: number[] = [];
    for (let p = 0; p < kernel[0]; p++)
      for (let q = 0; q < kernel[1]; q++) {
        const [row, column] = [i * stride[0] - padding[0] + p, j * stride[1] - padding[1] + q];
        if (row >= 0 && row < h && column >= 0 && column < w) values.push(at(x, [image, row, column, channel]));
      }
    return reduce(values);
  });
}

export const maxPool2d = (x: Array64, options: PoolOptions): Array64 =>
  pool(x, options, (values) => Math.max(...values));

export function averagePool2d(x: Array64, options: PoolOptions): Array64 {
  const { kernel, countIncludePad = true } = options;
  return pool(x, options, (values) => {
    const count = countIncludePad ? kernel[0] * kernel[1] : values.length;
    return values.reduce((sum, value) => sum + value, 0) / count;
  });
}

/** Where an output lies between two inputs of an axis. */
function between(o: number, extent: number, outExtent: number): [first: number, second: number, fraction: number] {
  const position = Math.max(((o + 0.5) * extent) / outExtent - 0.5, 0);
  const first = Math.floor(position);
  return [first, Math.min(first + 1, extent - 1), position - first];
}

export function resizeBilinear(x: Array64, size: Pair): Array64 {
  const [n, h, w, c] = x.shape;
  return generate([n, ...size, c], ([image, i, j, channel]) => {
    const [top, bottom, down] = between(i, h, size[0]);
    const [left, right, across] = between(j, w, size[1]);
    const row = (r: number) =>
      (1 - across) * at(x, [image, r, left, channel]) + across * at(x, [image, r, right, channel]);
    return (1 - down) * row(top) + down * row(bottom);
  });
}
