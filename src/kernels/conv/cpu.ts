// Convolutions on the CPU and in WebAssembly. algorithm.ts chooses the algorithm of each pass by its shape.
import { allocate } from '../../tensor/allocate.ts';
import { zeros } from '../../tensor/create.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Algorithm } from '../tuning/table.ts';
import { algorithmFor } from './algorithm.ts';
import { directForward, directInputGradient, directWeightGradient } from './direct.ts';
import { type ConvEpilogue, type ConvShape, inputShape, outputShape, weightShape } from './shape.ts';
import { winogradForward, winogradInputGradient, winogradWeightGradient } from './winograd.ts';

/** Height and width of an output tile; 0 for direct sums. */
const tiles: Record<Algorithm, number> = { direct: 0, winograd2: 2, winograd4: 4 };

/** @param algorithm overrides the choice of algorithm.ts, for tests and timings */
export function convForward(
  x: Tensor,
  weight: Tensor,
  shape: ConvShape,
  epilogue: ConvEpilogue,
  algorithm?: Algorithm,
): Tensor {
  const out = outputShape(shape);
  if (out.includes(0)) return allocate(out, { device: x.device });
  const tile = tiles[algorithm ?? algorithmFor(x.device, shape, 'forward')];
  return tile ? winogradForward(x, weight, shape, epilogue, tile) : directForward(x, weight, shape, epilogue);
}

export function convInputGradient(
  dy: Tensor,
  weight: Tensor,
  shape: ConvShape,
  scale: number,
  algorithm?: Algorithm,
): Tensor {
  const image = inputShape(shape);
  if (image.includes(0)) return allocate(image, { device: dy.device });
  const tile = tiles[algorithm ?? algorithmFor(dy.device, shape, 'inputGradient')];
  return tile ? winogradInputGradient(dy, weight, shape, scale, tile) : directInputGradient(dy, weight, shape, scale);
}

export function convWeightGradient(
  x: Tensor,
  dy: Tensor,
  shape: ConvShape,
  scale: number,
  algorithm?: Algorithm,
): Tensor {
  if (x.size === 0 || dy.size === 0) return zeros(weightShape(shape), { device: x.device });
  const tile = tiles[algorithm ?? algorithmFor(x.device, shape, 'weightGradient')];
  return tile ? winogradWeightGradient(x, dy, shape, scale, tile) : directWeightGradient(x, dy, shape, scale);
}
