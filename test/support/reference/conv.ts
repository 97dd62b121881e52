// Reference of convolution (cross-correlation, as in every framework) on [N, H, W, C] with weights [Cout, kh, kw, Cin]:
//   y[n, i, j, o] = scale (sum_{p, q, c} x[n, s i + d p - pad, s j + d q - pad, c] w[o, p, q, c]
//                          + bias[o] + add[n, o] + residual[n, i, j, o])
// With `upsample` u, x[n, r, s] stands for x[n, floor(r / u), floor(s / u)]. With groups, c runs over the channels of o's group, and w is [Cout, kh, kw, C / groups].
import { type Array64, array64, generate } from './array.ts';

export interface ConvOptions {
  bias?: Array64;
  add?: Array64;
  residual?: Array64;
  stride?: number | readonly [number, number];
  padding?: number | readonly [number, number] | readonly [top: number, bottom: number, left: number, right: number];
  upsample?: number;
  scale?: number;
  dilation?: number | readonly [number, number];
  groups?: number;
}

const pair = (value: number | readonly [number, number]): readonly [number, number] =>
  typeof value === 'number' ? [value, value] : value;

function edges(padding: NonNullable<ConvOptions['padding']>): readonly number[] {
  if (typeof padding !== 'number' && padding.length === 4) return padding;
  const [vertical, horizontal] = pair(padding as number | readonly [number, number]);
  return [vertical, vertical, horizontal, horizontal];
}

export function conv2d(x: Array64, weight: Array64, options: ConvOptions = {}): Array64 {
  const { bias, add, residual, scale = 1, groups = 1, upsample = 1, padding = 0 } = options;
  const [strideH, strideW] = pair(options.stride ?? 1);
  const [padH, bottom, padW, right] = edges(padding);
  const [dilationH, dilationW] = pair(options.dilation ?? 1);
  const [batch, rowsOfX, columnsOfX, channels] = x.shape;
  const [height, width] = [upsample * rowsOfX, upsample * columnsOfX];
  const [outputs, kernelH, kernelW] = weight.shape;
  const rows = Math.floor((height + padH + bottom - dilationH * (kernelH - 1) - 1) / strideH) + 1;
  const columns = Math.floor((width + padW + right - dilationW * (kernelW - 1) - 1) / strideW) + 1;
  const [inGroup, outGroup] = [channels / groups, outputs / groups];
  const y = array64([batch, rows, columns, outputs]);
  let position = 0;
  for (let n = 0; n < batch; n++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        for (let o = 0; o < outputs; o++, position++) {
          let total = (bias?.data[o] ?? 0) + (add?.data[n * outputs + o] ?? 0) + (residual?.data[position] ?? 0);
          for (let p = 0; p < kernelH; p++) {
            for (let q = 0; q < kernelW; q++) {
              const row = i * strideH + p * dilationH - padH;
              const column = j * strideW + q * dilationW - padW;
              if (row < 0 || row >= height || column < 0 || column >= width) continue;
              const at = (n * rowsOfX + Math.floor(row / upsample)) * columnsOfX + Math.floor(column / upsample);
              const pixel = at * channels + Math.floor(o / outGroup) * inGroup;
              const tap = ((o * kernelH + p) * kernelW + q) * inGroup;
              for (let c = 0; c < inGroup; c++) total += x.data[pixel + c] * weight.data[tap + c];
            }
          }
          y.data[position] = total * scale;
        }
      }
    }
  }
  return y;
}

export interface ConvTransposeOptions extends Pick<ConvOptions, 'bias' | 'stride' | 'dilation' | 'groups'> {
  padding?: number | readonly [number, number];
  outputPadding?: number | readonly [number, number];
}

/** y[n, s i + d p - pad, s j + d q - pad, o] += x[n, i, j, c] w[c, p, q, o], plus bias[o]; w is [C, kh, kw, Cout / groups]. */
export function convTranspose2d(x: Array64, weight: Array64, options: ConvTransposeOptions = {}): Array64 {
  const { bias, groups = 1 } = options;
  const [stride, padding, dilation, added] = [
    options.stride ?? 1,
    options.padding ?? 0,
    options.dilation ?? 1,
    options.outputPadding ?? 0,
  ].map(pair);
  const [batch, height, width, channels] = x.shape;
  const [, kernelH, kernelW, outGroup] = weight.shape;
  const inGroup = channels / groups;
  const [rows, columns] = [0, 1].map(
    (axis) =>
      ([height, width][axis] - 1) * stride[axis] -
      2 * padding[axis] +
      dilation[axis] * ([kernelH, kernelW][axis] - 1) +
      added[axis] +
      1,
  );
  const y = generate([batch, rows, columns, outGroup * groups], ([, , , o]) => bias?.data[o] ?? 0);
  for (let n = 0; n < batch; n++)
    for (let i = 0; i < height; i++)
      for (let j = 0; j < width; j++)
        for (let p = 0; p < kernelH; p++)
          for (let q = 0; q < kernelW; q++) {
            const row = i * stride[0] + p * dilation[0] - padding[0];
            const column = j * stride[1] + q * dilation[1] - padding[1];
            if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
            for (let c = 0; c < channels; c++)
              for (let o = 0; o < outGroup; o++) {
                const to =
                  ((n * rows + row) * columns + column) * outGroup * groups + Math.floor(c / inGroup) * outGroup + o;
                y.data[to] +=
                  x.data[((n * height + i) * width + j) * channels + c] *
                  weight.data[((c * kernelH + p) * kernelW + q) * outGroup + o];
              }
          }
  return y;
}
