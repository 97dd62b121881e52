// Making tensors from nothing or from the host's arrays.
import type { Device, HostArray } from '../device/device.ts';
import { defaultDevice } from '../device/open.ts';
import { DtypeError, formatShape, ShapeError } from '../errors.ts';
import { type Dtype, dtypes, requireFloating } from './dtype.ts';
import { trackLeaks } from './leaks.ts';
import { activeScope } from './scope.ts';
import { checkShape, type Shape, sizeOf } from './shape.ts';
import { Storage } from './storage.ts';
import { Tensor } from './tensor.ts';

export interface TensorOptions {
  /** Default: the device opened first. */
  device?: Device;
  /** Default 'f32'. */
  dtype?: Dtype;
  requiresGrad?: boolean;
}

type Nested = number | readonly Nested[];

/** A tensor whose memory holds anything. */
export function empty(shape: Shape, options: TensorOptions = {}): Tensor {
  const { device = defaultDevice(), dtype = 'f32', requiresGrad = false } = options;
  checkShape('empty', shape);
  if (requiresGrad) requireFloating('requireGrad', dtype);
  const storage = new Storage(device, sizeOf(shape) * dtypes[dtype].bytes);
  const made = new Tensor(storage, 0, Object.freeze([...shape]), dtype);
  made.requiresGrad = requiresGrad;
  activeScope()?.adopt(made);
  trackLeaks(made);
  return made;
}

/**
 * A tensor from numbers: a typed array or a flat list with `shape`, or nested lists.
 * @throws ShapeError when the count does not fit the shape
 */
export function tensor(data: HostArray | Nested, options: TensorOptions & { shape?: Shape } = {}): Tensor {
  const { dtype = 'f32' } = options;
  const typed = ArrayBuffer.isView(data);
  const shape = options.shape ?? (typed ? [data.length] : nestedShape(data));
  checkShape('tensor', shape);
  const flat = typed ? data : flatten(data);
  if (flat.length !== sizeOf(shape))
    throw new ShapeError('tensor', `${sizeOf(shape)} elements for ${formatShape(shape)}`, `${flat.length} elements`);
  const made = empty(shape, options);
  made.device.upload(made.address, toHostArray(flat, dtype));
  return made;
}

/** Every element 0. */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  const made = empty(shape, options);
  made.device.fill(made.address, made.size * dtypes[made.dtype].bytes, 0);
  return made;
}

/** Every element `value`; f32, i32, u8 or bool. */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  const { dtype = 'f32' } = options;
  checkShape('full', shape);
  const array = new dtypes[dtype].array(sizeOf(shape));
  return tensor(toHostArray(array.fill(value), dtype), { ...options, shape });
}

/** Every element 1. */
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 1, options);
}

/** [start, stop) in steps of `step`, of length ceil((stop - start) / step). */
export function arange(start: number, stop: number, step = 1, options: TensorOptions = {}): Tensor {
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (!Number.isFinite(count)) throw new ShapeError('arange', 'finite bounds and a step that is not 0', `step ${step}`);
  const { dtype = 'f32' } = options;
  const array = new dtypes[dtype].array(count);
  for (let i = 0; i < count; i++) array[i] = start + i * step;
  return tensor(array, { ...options, shape: [count] });
}

function flatten(data: Nested): number[] {
  return typeof data === 'number' ? [data] : data.flatMap(flatten);
}

function nestedShape(data: Nested): number[] {
  const shape: number[] = [];
  let level: Nested = data;
  while (Array.isArray(level)) {
    shape.push(level.length);
    level = level[0];
  }
  return shape;
}

function toHostArray(data: ArrayLike<number>, dtype: Dtype): HostArray {
  const { array: ArrayType } = dtypes[dtype];
  if (data instanceof ArrayType) return data as HostArray;
  if (dtype === 'bf16' || dtype === 'f16')
    throw new DtypeError('tensor', `16-bit patterns in a Uint16Array for ${dtype}`, 'numbers (make f32, then cast)');
  const target = new ArrayType(data.length);
  for (let i = 0; i < data.length; i++) target[i] = data[i];
  return target;
}
