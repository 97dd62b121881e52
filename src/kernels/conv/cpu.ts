// Convolutions on the CPU and in WebAssembly: each pass by the algorithm that its shape gets.
import { allocate } from '../../tensor/allocate.ts';
import { zeros } from '../../tensor/create.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type Algorithm, algorithmFor, type Pass } from './algorithm.ts';
import { directForward, directInputGradient, directWeightGradient } from './direct.ts';
import type { Epilogue, Geometry } from './shape.ts';
import { winogradForward, winogradInputGradient, winogradWeightGradient } from './winograd.ts';

/** Height and width of an output tile; 0 of the direct sum. */
const tiles: Record<Algorithm, number> = { direct: 0, winograd2: 2, winograd4: 4 };

function tileFor({ device }: Tensor, { algorithm, table }: Geometry, pass: Pass): number {
  return tiles[algorithm ?? algorithmFor(device, table, pass)];
}

export function convForward(x: Tensor, weight: Tensor, geometry: Geometry, epilogue: Epilogue): Tensor {
  if (geometry.out.includes(0)) return allocate(geometry.out, { device: x.device });
  const tile = tileFor(x, geometry, 'forward');
  return tile ? winogradForward(x, weight, geometry, epilogue, tile) : directForward(x, weight, geometry, epilogue);
}

export function convInputGradient(dy: Tensor, weight: Tensor, shape: Shape, geometry: Geometry, scale: number): Tensor {
  if (shape.includes(0)) return allocate(shape, { device: dy.device });
  const tile = tileFor(dy, geometry, 'inputGradient');
  return tile
    ? winogradInputGradient(dy, weight, shape, geometry, scale, tile)
    : directInputGradient(dy, weight, shape, geometry, scale);
}

export function convWeightGradient(x: Tensor, dy: Tensor, shape: Shape, geometry: Geometry, scale: number): Tensor {
  if (x.size === 0 || dy.size === 0) return zeros(shape, { device: x.device });
  const tile = tileFor(x, geometry, 'weightGradient');
  return tile
    ? winogradWeightGradient(x, dy, shape, geometry, scale, tile)
    : directWeightGradient(x, dy, shape, geometry, scale);
}
