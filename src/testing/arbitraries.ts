// Arbitraries of fast-check for shapes and arrays. fast-check is an optional peer, which is loaded when one of them is made.
import { resolve } from 'node:path';
import type * as FastCheck from 'fast-check';
import { checkOptions, kind, kinds, type OptionKinds } from '../arguments.ts';
import { DeviceError, ValueError } from '../errors.ts';
import type { TensorOptions } from '../tensor/allocate.ts';
import { tensor } from '../tensor/create.ts';
import { sizeOf } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

let loaded: typeof FastCheck | undefined;

/** @throws DeviceError without the package */
function fastCheck(): typeof FastCheck {
  for (const place of [import.meta.url, resolve(process.argv[1] ?? 'program'), resolve('program')]) {
    if (loaded) break;
    try {
      loaded = process.getBuiltinModule('node:module').createRequire(place)('fast-check') as typeof FastCheck;
    } catch {
      // Try the next place.
    }
  }
  if (!loaded)
    throw new DeviceError('arbitraries need the package fast-check: run `npm install --save-dev fast-check`');
  return loaded;
}

export interface ShapeOptions {
  /** Number of axes; default 0 to 4. */
  minRank?: number;
  maxRank?: number;
  /** Extent of an axis; default 0 to 6. Values shrink towards the smaller one. */
  minExtent?: number;
  maxExtent?: number;
}

export interface ArrayOptions extends ShapeOptions {
  /** A fixed shape, in place of a random one. */
  shape?: readonly number[];
  /** Bounds of the values; default -10 to 10. */
  min?: number;
  max?: number;
  /** Whether NaN, infinities, -0 and subnormal numbers occur as well; default false. */
  special?: boolean;
}

/** Host values and their shape, which fast-check can print and shrink. */
export interface HostValues {
  shape: readonly number[];
  data: Float32Array;
}

const shapeOptions: OptionKinds<ShapeOptions> = {
  minRank: kinds.whole,
  maxRank: kinds.whole,
  minExtent: kinds.whole,
  maxExtent: kinds.whole,
};

const dimensions = kind(
  'a list of whole numbers',
  (v) => Array.isArray(v) && v.every((dim) => kinds.whole.accepts(dim)),
);

/**
 * Shapes: lists of extents.
 * @throws ValueError for a minimum above its maximum
 * @example
 * import fc from 'fast-check';
 *
 * const property = fc.property(shapes({ maxRank: 3 }), (shape) =>
 *   scope(() => sum(ones(shape)).item() === shape.reduce((product, extent) => product * extent, 1)),
 * );
 * fc.check(property).failed; // false
 */
export function shapes(options: ShapeOptions = {}): FastCheck.Arbitrary<number[]> {
  const checked = checkOptions('shapes', options, shapeOptions);
  const { minRank = 0, maxRank = Math.max(4, minRank), minExtent = 0, maxExtent = Math.max(6, minExtent) } = checked;
  if (minRank > maxRank || minExtent > maxExtent)
    throw new ValueError(
      `[shapes] expected minimums up to the maximums, got ranks ${minRank} to ${maxRank} and extents ${minExtent} to ${maxExtent}`,
    );
  const fc = fastCheck();
  return fc.array(fc.integer({ min: minExtent, max: maxExtent }), { minLength: minRank, maxLength: maxRank });
}

/**
 * Lists of `count` shapes that broadcast together: axes of extent 1, and missing leading axes.
 * @throws as shapes
 * @example
 * import fc from 'fast-check';
 *
 * const property = fc.property(broadcastableShapes(2), ([a, b]) =>
 *   scope(() => add(zeros(a), ones(b)).rank === Math.max(a.length, b.length)),
 * );
 * fc.check(property).failed; // false
 */
export function broadcastableShapes(count: number, options: ShapeOptions = {}): FastCheck.Arbitrary<number[][]> {
  const fc = fastCheck();
  return shapes(options).chain((common) => {
    const one = fc
      .tuple(fc.nat(common.length), fc.array(fc.boolean(), { minLength: common.length, maxLength: common.length }))
      .map(([dropped, stretched]) => common.map((dim, axis) => (stretched[axis] ? 1 : dim)).slice(dropped));
    return fc.array(one, { minLength: count, maxLength: count });
  });
}

/**
 * Arrays of f32 numbers with their shapes; `toTensor` makes a tensor of one.
 * @throws DeviceError without the package fast-check
 * @example
 * import fc from 'fast-check';
 *
 * const isPositive = (x) => all(greaterEqual(x, 0)).item() === 1;
 * const property = fc.property(arrays({ maxRank: 3 }), (a) => scope(() => isPositive(relu(toTensor(a)))));
 * fc.check(property).failed; // false
 */
export function arrays(options: ArrayOptions = {}): FastCheck.Arbitrary<HostValues> {
  const known: OptionKinds<ArrayOptions> = {
    ...shapeOptions,
    shape: dimensions,
    min: kinds.finite,
    max: kinds.finite,
    special: kinds.boolean,
  };
  const { shape, min = -10, max = 10, special = false, ...rest } = checkOptions('arrays', options, known);
  const fc = fastCheck();
  const bounded = fc.float({ min: Math.fround(min), max: Math.fround(max), noNaN: true, noDefaultInfinity: true });
  const element = special ? fc.oneof({ weight: 4, arbitrary: bounded }, { weight: 1, arbitrary: fc.float() }) : bounded;
  const filled = (dims: readonly number[]) => {
    const length = sizeOf(dims);
    return fc
      .array(element, { minLength: length, maxLength: length, size: 'max' })
      .map((values) => ({ shape: dims, data: Float32Array.from(values) }));
  };
  return shape ? filled(shape) : shapes(rest).chain(filled);
}

/**
 * The tensor of an array, owned by the open scope.
 * @example
 * toTensor({ shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }); // [[1, 2], [3, 4]]
 */
export function toTensor({ shape, data }: HostValues, options: Omit<TensorOptions, 'dtype'> = {}): Tensor {
  return tensor(data, { ...options, shape });
}
