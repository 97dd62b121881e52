// Reference of group normalisation with its fused tail, and of resampling by two, on [N, ..., C]:
//   y = resample(mask(silu((x - mean) / sqrt(variance + eps) * weight + bias)))
// mean and (biased) variance are taken over all positions and the channels of one group of one sample.
import { type Array64, array64, at, count, generate } from './array.ts';
import { silu } from './elementwise.ts';

export interface GroupNormOptions {
  groups: number;
  eps?: number;
  activation?: 'none' | 'silu';
  /** Factor per element of the activated value: 0 where dropped, 1 / (1 - p) where kept. */
  mask?: Array64;
  resample?: 'none' | 'up' | 'down';
}

export function groupNorm(x: Array64, weight: Array64, bias: Array64, options: GroupNormOptions): Array64 {
  const { groups, eps = 1e-6, activation = 'none', mask, resample = 'none' } = options;
  const [samples, channels] = [x.shape[0], x.shape[x.shape.length - 1]];
  const positions = count(x.shape.slice(1, -1));
  const width = channels / groups;
  const y = array64(x.shape);
  for (let n = 0; n < samples; n++) {
    for (let g = 0; g < groups; g++) {
      const members: number[] = [];
      for (let p = 0; p < positions; p++) {
        for (let c = g * width; c < (g + 1) * width; c++) members.push((n * positions + p) * channels + c);
      }
      const mean = members.reduce((total, i) => total + x.data[i], 0) / members.length;
      const variance = members.reduce((total, i) => total + (x.data[i] - mean) ** 2, 0) / members.length;
      for (const i of members) {
        const channel = i % channels;
        const value = ((x.data[i] - mean) / Math.sqrt(variance + eps)) * weight.data[channel] + bias.data[channel];
        y.data[i] = (activation === 'silu' ? silu(value) : value) * (mask?.data[i] ?? 1);
      }
    }
  }
  return resample === 'up' ? upsampleNearest(y) : resample === 'down' ? downsampleMean(y) : y;
}

/** [N, H, W, C] -> [N, 2H, 2W, C]: every pixel becomes a 2 x 2 block. */
export function upsampleNearest(x: Array64): Array64 {
  const [n, h, w, c] = x.shape;
  return generate([n, 2 * h, 2 * w, c], ([a, i, j, k]) => at(x, [a, Math.floor(i / 2), Math.floor(j / 2), k]));
}

/** [N, H, W, C] -> [N, H / 2, W / 2, C]: the mean of every 2 x 2 block. */
export function downsampleMean(x: Array64): Array64 {
  const [n, h, w, c] = x.shape;
  return generate([n, h / 2, w / 2, c], ([a, i, j, k]) => {
    const corner = (p: number, q: number) => at(x, [a, 2 * i + p, 2 * j + q, k]);
    return (corner(0, 0) + corner(0, 1) + corner(1, 0) + corner(1, 1)) / 4;
  });
}
