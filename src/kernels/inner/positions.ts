// The positions of the elements of a tensor that are not zero. Their number is read back from the device.
import { cudaModule, kernelModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import { type Dtype, dtypes } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { oneWarp, perElement } from '../launch/grid.ts';
import { readBack } from './read_back.ts';

export const positionsKernels = kernelModule('kernels/inner/positions.c', {
  positions_count: 'ptr ptr i32 i32 i32 i32 -> f64',
  positions_write: 'ptr ptr ptr i32 i32 i32 i32',
  positions_coordinates: 'ptr ptr ptr i32 i32 i32',
});

export const positionsCuda = cudaModule('kernels/inner/positions.cu', {
  positions_count: 'ptr ptr i32 i32 i32 i32 i32',
  positions_offsets: 'ptr ptr i32',
  positions_write: 'ptr ptr ptr i32 i32 i32 i32 i32',
  positions_coordinates: 'ptr ptr ptr i32 i32 i32',
});

/** Elements that a task, and a thread of CUDA, looks through. */
const PART = { cpu: 2 ** 14, wasm: 2 ** 14, cuda: 2 ** 8 };

/** The bits of which one is set in a number that is not zero, without the sign of -0. */
const magnitudes: Record<Dtype, number> = { f32: 0x7fffffff, bf16: 0x7fff, f16: 0x7fff, i32: -1, u8: 0xff, bool: 0xff };

/**
 * The positions of the elements of x that are not zero, in row-major order, i32 [count].
 * @throws RecordingError that names `op` while work is recorded, because the count decides the shape
 */
export function positionsOf(op: string, x: Tensor): Tensor {
  const { device, dtype, size } = x;
  if (size === 0) return allocate([0], { device, dtype: 'i32' });
  const part = PART[device.kind];
  const parts = Math.ceil(size / part);
  using offsets = allocate([parts], { device, dtype: 'i32' });
  const kind = [size, dtypes[dtype].bytes, magnitudes[dtype], part];
  const count = readBack(op, 'the shape of its result depends on the values', () => {
    if (device.kind !== 'cuda')
      return device.load(positionsKernels).positions_count(x.address, offsets.address, ...kind);
    using total = allocate([1], { device, dtype: 'i32' });
    const kernels = device.load(positionsCuda);
    kernels.positions_count(perElement(parts), x.address, offsets.address, ...kind, parts);
    kernels.positions_offsets(oneWarp, offsets.address, total.address, parts);
    return total.item();
  });
  const positions = allocate([count], { device, dtype: 'i32' });
  if (count === 0) return positions;
  const operands = [x.address, offsets.address, positions.address];
  if (device.kind === 'cuda')
    device.load(positionsCuda).positions_write(perElement(parts), ...operands, ...kind, parts);
  else device.load(positionsKernels).positions_write(...operands, ...kind);
  return positions;
}

/** Writes the coordinates of positions in a tensor like x to y, i32 [count, rank], or [rank, count] with `byAxis`. */
export function writeCoordinates(positions: Tensor, x: Tensor, y: Tensor, { byAxis }: { byAxis: boolean }): void {
  if (y.size === 0) return;
  const { device } = x;
  const table = device.table([x.rank, ...x.shape]);
  const strides = byAxis ? [1, positions.size] : [x.rank, 1];
  const operands = [positions.address, y.address, table, positions.size, ...strides];
  if (device.kind === 'cuda') device.load(positionsCuda).positions_coordinates(perElement(positions.size), ...operands);
  else device.load(positionsKernels).positions_coordinates(...operands);
}
