// Reference of convolution (cross-correlation, as in every framework) on [N, H, W, C] with weights [Cout, kh, kw, Cin]:
//   y[n, i, j, o] = scale (sum_{p, q, c} x[n, s i + p - pad, s j + q - pad, c] w[o, p, q, c]
//                          + bias[o] + add[n, o] + residual[n, i, j, o])
import { type Array64, array64 } from './array.ts';

export interface ConvOptions {
  bias?: Array64;
  add?: Array64;
  residual?: Array64;
  stride?: number | readonly [number, number];
  padding?: number | readonly [number, number];
  scale?: number;
}

const pair = (value: number | readonly [number, number]): readonly [number, number] =>
  typeof value === 'number' ? [value, value] : value;

export function conv2d(x: Array64, weight: Array64, options: ConvOptions = {}): Array64 {
  const { bias, add, residual, scale = 1 } = options;
  const [strideH, strideW] = pair(options.stride ?? 1);
  const [padH, padW] = pair(options.padding ?? 0);
  const [batch, height, width, channels] = x.shape;
  const [outputs, kernelH, kernelW] = weight.shape;
  const rows = Math.floor((height + 2 * padH - kernelH) / strideH) + 1;
  const columns = Math.floor((width + 2 * padW - kernelW) / strideW) + 1;
  const y = array64([batch, rows, columns, outputs]);
  let position = 0;
  for (let n = 0; n < batch; n++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        for (let o = 0; o < outputs; o++, position++) {
          let total = (bias?.data[o] ?? 0) + (add?.data[n * outputs + o] ?? 0) + (residual?.data[position] ?? 0);
          for (let p = 0; p < kernelH; p++) {
            for (let q = 0; q < kernelW; q++) {
              const row = i * strideH + p - padH;
              const column = j * strideW + q - padW;
              if (row < 0 || row >= height || column < 0 || column >= width) continue;
              const pixel = ((n * height + row) * width + column) * channels;
              const tap = ((o * kernelH + p) * kernelW + q) * channels;
              for (let c = 0; c < channels; c++) total += x.data[pixel + c] * weight.data[tap + c];
            }
          }
          y.data[position] = total * scale;
        }
      }
    }
  }
  return y;
}
