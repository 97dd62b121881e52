// Checks of indices, which an op has to read back from the device.
import { cudaModule, kernelModule } from '../../device/module.ts';
import { formatShape, ValueError } from '../../errors.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { perElement } from '../launch/grid.ts';
import { INDICES_CHECKED, readBack } from './read_back.ts';

const kernels = kernelModule('kernels/inner/indices.c', { indices_first_outside: 'ptr i32 i32 -> f64' });
const cudaKernels = cudaModule('kernels/inner/indices.cu', { indices_first_outside: 'ptr ptr i32 i32' });

/** The first position of the i32 tensor whose value is outside [0, limit), or -1. */
export function firstOutside(index: Tensor, limit: number): number {
  if (index.size === 0) return -1;
  const { device } = index;
  if (device.kind !== 'cuda') return device.load(kernels).indices_first_outside(index.address, index.size, limit);
  using first = allocate([1], { device, dtype: 'i32' });
  device.upload(first.address, Int32Array.of(index.size));
  device
    .load(cudaKernels)
    .indices_first_outside(perElement(index.size), index.address, first.address, index.size, limit);
  const at = first.item();
  return at < index.size ? at : -1;
}

/** @throws ValueError naming the first index outside [0, limit); RecordingError while work is recorded */
export function checkIndices(op: string, index: Tensor, limit: number): void {
  const bad = readBack(op, INDICES_CHECKED, () => firstOutside(index, limit));
  if (bad >= 0) throw indexError(op, index, bad, limit);
}

export function indexError(op: string, index: Tensor, at: number, limit: number): ValueError {
  return new ValueError(
    `[${op}] index ${index.dataSync()[at]} at position ${placeOf(index, at)} is outside [0, ${limit})`,
  );
}

/** A position of elements in row-major order, for a message: a number for a list, [row, column] for a matrix. */
function placeOf({ shape }: Tensor, at: number): string {
  if (shape.length < 2) return `${at}`;
  const place: number[] = [];
  let rest = at;
  for (const dim of [...shape].reverse()) {
    place.unshift(rest % dim);
    rest = Math.floor(rest / dim);
  }
  return formatShape(place);
}
