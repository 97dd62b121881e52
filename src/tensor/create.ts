// Functions that create tensors: with constant values, or from host arrays.

import {
  checkArgument,
  checkOptions,
  describeValue,
  hostArray,
  isDetached,
  kinds,
  lengthOf,
  type OptionKinds,
} from '../arguments.ts';
import type { HostArray } from '../device/device.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import { allocate, type TensorOptions } from './allocate.ts';
import { type Dtype, dtypes } from './dtype.ts';
import { createFilled, refusePatterns, tensorOptions, upload } from './host_numbers.ts';
import { checkShape, type Shape, shapeKind, sizeOf } from './shape.ts';
import type { Tensor } from './tensor.ts';

type Nested = number | boolean | readonly Nested[];

/**
 * A tensor with uninitialised memory.
 * @example empty([2, 3]).shape; // [2, 3]
 */
export function empty(shape: Shape, options: TensorOptions = {}): Tensor {
  return allocate(checkShape('empty', shape), checkOptions('empty', options, tensorOptions));
}

/**
 * A tensor from numbers: a typed array or a flat list with `shape`, or nested lists of equal lengths. Integer dtypes
 * drop the fraction; `bool` holds 1 for any value but 0, and also takes true and false. bf16 and f16 take 16-bit
 * patterns in a Uint16Array.
 * @throws ShapeError if the count does not fit the shape or lists are ragged; ArgumentError for an item that is not a
 * number; ValueError for a number that an integer dtype cannot hold
 * @example
 * tensor([[1, 2], [3, 4]]); // [[1, 2], [3, 4]]
 * tensor(new Float32Array(6), { shape: [2, 3], requiresGrad: true }).shape; // [2, 3]
 */
export function tensor(data: HostArray | Nested, options: TensorOptions & { shape?: Shape } = {}): Tensor {
  const { shape: asked, ...rest } = checkOptions<TensorOptions & { shape?: Shape }>('tensor', options, {
    ...tensorOptions,
    shape: shapeKind,
  });
  const { dtype = 'f32' } = rest;
  const { numbers, shape: own } = numbersOf(data, dtype);
  const shape = checkShape('tensor', asked ?? own);
  const [count] = own.length === 1 ? own : [numbers.length];
  if (count !== sizeOf(shape))
    throw new ShapeError('tensor', `${sizeOf(shape)} elements for ${formatShape(shape)}`, `${count} elements`);
  return upload('tensor', numbers, shape, rest);
}

/**
 * Every element 0.
 * @example zeros([2, 2]); // [[0, 0], [0, 0]]
 */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  const made = allocate(checkShape('zeros', shape), checkOptions('zeros', options, tensorOptions));
  made.device.fill(made.address, made.size * dtypes[made.dtype].bytes, 0);
  return made;
}

/**
 * Every element `value`; f32, i32, u8 or bool.
 * @example full([2, 2], 7); // [[7, 7], [7, 7]]
 */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  return createFilled('full', shape, value, options);
}

/**
 * Every element 1; f32, i32, u8 or bool.
 * @example ones([2, 2]); // [[1, 1], [1, 1]]
 */
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return createFilled('ones', shape, 1, options);
}

/**
 * [start, stop) in steps of `step`, of length ceil((stop - start) / step); f32, i32, u8 or bool.
 * @example arange(2, 8, 2); // [2, 4, 6]
 */
export function arange(start: number, stop: number, step = 1, options: TensorOptions = {}): Tensor {
  for (const [name, value] of Object.entries({ start, stop, step })) checkArgument('arange', name, value, kinds.number);
  const checked = checkOptions('arange', options, tensorOptions);
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (!Number.isFinite(count)) throw new ShapeError('arange', 'finite bounds and a step that is not 0', `step ${step}`);
  const shape = checkShape('arange', [count]);
  refusePatterns('arange', checked.dtype ?? 'f32');
  const numbers = hostArray('arange', Float64Array, count);
  for (let i = 0; i < count; i++) numbers[i] = start + i * step;
  return upload('arange', numbers, shape, checked);
}

export interface LinspaceOptions extends TensorOptions {
  /** Whether the last number is `stop`; default true. If not, it is one step before it. */
  endpoint?: boolean;
}

const linspaceOptions: OptionKinds<LinspaceOptions> = { ...tensorOptions, endpoint: kinds.boolean };

/** The numbers of linspace in double precision, computed as NumPy does. */
function evenlySpaced(op: string, start: number, stop: number, count: number, endpoint: boolean): Float64Array {
  for (const [name, value] of Object.entries({ start, stop })) checkArgument(op, name, value, kinds.finite);
  checkArgument(op, 'count', count, kinds.whole);
  const [size] = checkShape(op, [count]);
  const numbers = hostArray<Float64Array>(op, Float64Array, size);
  const parts = endpoint ? size - 1 : size;
  const step = (stop - start) / parts;
  for (let i = 0; i < size; i++) numbers[i] = i === 0 ? start : i * step + start;
  if (endpoint && size > 1) numbers[size - 1] = stop;
  return numbers;
}

/**
 * `count` evenly spaced numbers from `start` to `stop`, both included. Computed in double precision and rounded once;
 * integer dtypes drop the fraction, where NumPy rounds down.
 * @returns [count]; f32, i32, u8 or bool
 * @example
 * linspace(0, 1, 5); // [0, 0.25, 0.5, 0.75, 1]
 * linspace(0, 1, 4, { endpoint: false }); // [0, 0.25, 0.5, 0.75]
 */
export function linspace(start: number, stop: number, count: number, options: LinspaceOptions = {}): Tensor {
  const { endpoint = true, ...rest } = checkOptions('linspace', options, linspaceOptions);
  refusePatterns('linspace', rest.dtype ?? 'f32');
  const numbers = evenlySpaced('linspace', start, stop, count, endpoint);
  return upload('linspace', numbers, [numbers.length], rest);
}

export interface LogspaceOptions extends LinspaceOptions {
  /** The number that is raised to the powers; default 10. */
  base?: number;
}

/**
 * `count` numbers base^start to base^stop whose logarithms are evenly spaced.
 * @returns [count]; f32, i32, u8 or bool
 * @example logspace(0, 3, 4); // [1, 10, 100, 1000]
 */
export function logspace(start: number, stop: number, count: number, options: LogspaceOptions = {}): Tensor {
  const known: OptionKinds<LogspaceOptions> = { ...linspaceOptions, base: kinds.finite };
  const { endpoint = true, base = 10, ...rest } = checkOptions('logspace', options, known);
  refusePatterns('logspace', rest.dtype ?? 'f32');
  const exponents = evenlySpaced('logspace', start, stop, count, endpoint);
  const numbers = exponents.map((exponent) => base ** exponent);
  return upload('logspace', numbers, [numbers.length], rest);
}

export interface EyeOptions extends TensorOptions {
  /** The number of columns; default: that of rows. */
  columns?: number;
  /** The diagonal of the ones: 0 (default) is the main one, k > 0 lies k columns to the right, k < 0 -k rows below. */
  offset?: number;
}

/**
 * A matrix with 1 on a diagonal and 0 elsewhere; f32, i32, u8 or bool.
 * @example
 * eye(2); // [[1, 0], [0, 1]]
 * eye(2, { columns: 3, offset: 1 }); // [[0, 1, 0], [0, 0, 1]]
 */
export function eye(rows: number, options: EyeOptions = {}): Tensor {
  const known: OptionKinds<EyeOptions> = { ...tensorOptions, columns: kinds.whole, offset: kinds.integer };
  const { columns = rows, offset = 0, ...rest } = checkOptions('eye', options, known);
  checkArgument('eye', 'rows', rows, kinds.whole);
  const shape = checkShape('eye', [rows, columns]);
  const { dtype = 'f32' } = rest;
  refusePatterns('eye', dtype);
  const numbers = hostArray<HostArray>('eye', dtypes[dtype].array, sizeOf(shape));
  const last = Math.min(rows, columns - offset);
  for (let row = Math.max(0, -offset); row < last; row++) numbers[row * columns + row + offset] = 1;
  return upload('eye', numbers, shape, rest);
}

/**
 * Limit on the elements of nested lists in which a list occurs more than once: few such lists can exceed any memory.
 */
const MOST_SHARED = 2 ** 24;

/** Whether a list occurs more than once among nested lists. */
function sharesLists(list: unknown, seen: Set<unknown>): boolean {
  if (!Array.isArray(list)) return false;
  if (seen.has(list)) return true;
  seen.add(list);
  // Only the first item is looked at here; that the others are of the same kind is checked later.
  return Array.isArray(list[0]) && list.some((item) => sharesLists(item, seen));
}

/** The numbers of a typed array or of nested lists, in order, and their shape. */
function numbersOf(data: unknown, dtype: Dtype): { numbers: ArrayLike<number>; shape: Shape } {
  if (ArrayBuffer.isView(data)) {
    if (data instanceof DataView || data instanceof BigInt64Array || data instanceof BigUint64Array || isDetached(data))
      throw new ArgumentError('tensor', 'data to be numbers', describeValue(data));
    return { numbers: data as HostArray, shape: [lengthOf(data)] };
  }
  const shape: number[] = [];
  for (let level = data; Array.isArray(level); level = level[0]) {
    shape.push(level.length);
    // A list that contains itself would never end.
    if (shape.length > 64) throw new ShapeError('tensor', 'at most 64 axes', 'lists nested deeper');
  }
  // A few lists that contain each other many times can stand for more numbers than memory holds.
  const size = sizeOf(checkShape('tensor', shape));
  if (size > MOST_SHARED && sharesLists(data, new Set()))
    throw new ShapeError(
      'tensor',
      `at most ${MOST_SHARED} numbers in lists that occur more than once`,
      `lists that stand for ${size}`,
    );
  const numbers = hostArray<Float64Array>('tensor', Float64Array, size);
  let count = 0;
  collect(data, 0);
  return { numbers, shape };

  function collect(item: unknown, depth: number): void {
    if (depth < shape.length) {
      if (!Array.isArray(item) || item.length !== shape[depth])
        throw new ShapeError(
          'tensor',
          `nested lists of equal lengths, ${formatShape(shape)}`,
          `${Array.isArray(item) ? `a list of ${item.length}` : describeValue(item)} at depth ${depth}`,
        );
      for (let i = 0; i < shape[depth]; i++) collect(item[i], depth + 1);
      return;
    }
    if (Array.isArray(item))
      throw new ShapeError(
        'tensor',
        `nested lists of equal lengths, ${formatShape(shape)}`,
        `a list at depth ${depth}`,
      );
    if (typeof item === 'number') numbers[count++] = item;
    else if (typeof item === 'boolean' && dtype === 'bool') numbers[count++] = item ? 1 : 0;
    else throw new ArgumentError('tensor', 'data to be numbers', describeValue(item));
  }
}
