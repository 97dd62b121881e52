// Reference of FIR resampling, literally the definition of upfirdn2d (StyleGAN2): put up - 1 zeros after every pixel,
// pad (crop where negative), convolve with the outer product of the kernel, keep every down-th pixel.
import { type Array64, at, generate } from './array.ts';

export interface FirOptions {
  up?: number;
  down?: number;
  padding?: readonly [before: number, after: number];
}

export function firResample(x: Array64, kernel: readonly number[], options: FirOptions = {}): Array64 {
  const { up = 1, down = 1, padding: [before, after] = [0, 0] } = options;
  const [n, h, w, c] = x.shape;
  const widened = generate([n, h * up, w * up, c], ([a, i, j, k]) =>
    i % up === 0 && j % up === 0 ? at(x, [a, i / up, j / up, k]) : 0,
  );
  const padded = generate([n, h * up + before + after, w * up + before + after, c], ([a, i, j, k]) => {
    const inside = i >= before && i < before + h * up && j >= before && j < before + w * up;
    return inside ? at(widened, [a, i - before, j - before, k]) : 0;
  });
  const sum = kernel.reduce((total, tap) => total + tap, 0);
  const flipped = [...kernel].reverse().map((tap) => (tap * up) / sum);
  const [height, width] = padded.shape.slice(1).map((extent) => extent - kernel.length + 1);
  const convolved = generate([n, height, width, c], ([a, i, j, k]) => {
    let total = 0;
    for (const [p, vertical] of flipped.entries())
      for (const [q, horizontal] of flipped.entries())
        total += vertical * horizontal * at(padded, [a, i + p, j + q, k]);
    return total;
  });
  return generate([n, Math.ceil(height / down), Math.ceil(width / down), c], ([a, i, j, k]) =>
    at(convolved, [a, i * down, j * down, k]),
  );
}

/** upsample_2d of Score SDE's up_or_down_sampling.py, factor 2. */
export function firUpsample(x: Array64, kernel: readonly number[]): Array64 {
  const p = kernel.length - 2;
  return firResample(x, kernel, { up: 2, padding: [Math.floor((p + 1) / 2) + 1, Math.floor(p / 2)] });
}

/** downsample_2d of Score SDE's up_or_down_sampling.py, factor 2. */
export function firDownsample(x: Array64, kernel: readonly number[]): Array64 {
  const p = kernel.length - 2;
  return firResample(x, kernel, { down: 2, padding: [Math.floor((p + 1) / 2), Math.floor(p / 2)] });
}
