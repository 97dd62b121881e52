// Reference of pooling and of resizing on [N, H, W, C], as PyTorch defines them: max_pool2d, avg_pool2d, adaptive_max_pool2d,
// adaptive_avg_pool2d and interpolate(mode='bilinear', 'bicubic' or 'nearest', align_corners=False, antialias=False).
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

/** The values of each of rows x columns windows that divide the image, reduced to one. */
export function adaptivePool(x: Array64, [rows, columns]: Pair, reduce: (values: number[]) => number): Array64 {
  const [n, h, w, c] = x.shape;
  return generate([n, rows, columns, c], ([image, i, j, channel]) => {
    const values: number[] = [];
    for (let row = Math.floor((i * h) / rows); row < Math.ceil(((i + 1) * h) / rows); row++)
      for (let column = Math.floor((j * w) / columns); column < Math.ceil(((j + 1) * w) / columns); column++)
        values.push(at(x, [image, row, column, channel]));
    return reduce(values);
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

export function resizeNearest(x: Array64, size: Pair): Array64 {
  const [n, h, w, c] = x.shape;
  return generate([n, ...size, c], ([image, i, j, channel]) =>
    at(x, [image, Math.floor((i * h) / size[0]), Math.floor((j * w) / size[1]), channel]),
  );
}

/** Keys's kernel of cubic convolution with a = -0.75, at a distance. */
function cubic(distance: number): number {
  const [x, a] = [Math.abs(distance), -0.75];
  if (x <= 1) return (a + 2) * x ** 3 - (a + 3) * x ** 2 + 1;
  return x < 2 ? a * (x ** 3 - 5 * x ** 2 + 8 * x - 4) : 0;
}

/** The four inputs that an output reads, repeated at the border, and their weights. */
function neighbours(o: number, extent: number, outExtent: number): [index: number, weight: number][] {
  const position = ((o + 0.5) * extent) / outExtent - 0.5;
  return [-1, 0, 1, 2].map((step) => {
    const index = Math.floor(position) + step;
    return [Math.min(Math.max(index, 0), extent - 1), cubic(position - index)];
  });
}

export function resizeBicubic(x: Array64, size: Pair): Array64 {
  const [n, h, w, c] = x.shape;
  return generate([n, ...size, c], ([image, i, j, channel]) => {
    let sum = 0;
    for (const [row, vertical] of neighbours(i, h, size[0]))
      for (const [column, horizontal] of neighbours(j, w, size[1]))
        sum += vertical * horizontal * at(x, [image, row, column, channel]);
    return sum;
  });
}
