// Cumulative sums and products along an axis, linear recurrences, and the product over axes.
import { checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { cudaModule, kernelModule } from '../device/module.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { scope } from '../tensor/scope.ts';
import { type AxisOptions, axisOf, axisOptions, sameShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { add, mul } from './elementwise.ts';
import { around, neighbours } from './inner/axes.ts';
import { perElement, perResult, runFlag, runsOf } from './launch/grid.ts';
import { pad, reshape, slice } from './movement.ts';
import { apply, checkOperands, declareOp } from './op.ts';
import { type ReduceOptions, reducedShape, reduction, sum } from './reduce.ts';

export const scanKernels = kernelModule('kernels/scan.c', {
  scan_sum_scratch: 'i32 i32 i32 -> count',
  scan_sum: 'ptr ptr ptr i32 i32 i32 i32',
  scan_product: 'ptr ptr i32 i32 i32 i32',
  scan_linear: 'ptr ptr ptr i32 i32 i32 i32',
  scan_backward: 'ptr ptr ptr ptr ptr i32 i32 i32 i32 f32',
  scan_whole_product: 'ptr ptr i32 i32 i32',
  scan_other_products: 'ptr ptr ptr i32 i32 i32',
});

export const scanCuda = cudaModule(
  'kernels/scan.cu',
  {
    scan_totals: 'ptr ptr i32 i32 i32 i32 i32 i32',
    scan_carries: 'ptr i32 i32 i32',
    scan_sum: 'ptr ptr ptr i32 i32 i32 i32 i32 i32',
    scan_product: 'ptr ptr i32 i32 i32 i32',
    scan_linear: 'ptr ptr ptr i32 i32 i32 i32',
    scan_backward: 'ptr ptr ptr ptr ptr i32 i32 i32 i32 f32',
    scan_whole_product: 'ptr ptr i32 i32 i32 i32',
    scan_other_products: 'ptr ptr ptr i32 i32 i32',
  },
  { flags: [runFlag] },
);

/** The axis of a scan must be given. */
export interface ScanOptions extends AxisOptions {
  /** Scan from the last element to the first; default false. */
  reverse?: boolean;
}

const scanOptions: OptionKinds<ScanOptions> = { ...axisOptions, reverse: kinds.boolean };

export interface ScanAttributes {
  axis: number;
  reverse: boolean;
}

function scanOf(op: string, x: Tensor, options: ScanOptions): ScanAttributes {
  const { reverse = false, ...rest } = checkOptions(op, options, scanOptions);
  return { axis: axisOf(op, x.shape, rest), reverse };
}

/** Launches a kernel that processes each column along the axis on its own. */
function onColumns(
  kernel: 'scan_product' | 'scan_linear' | 'scan_backward',
  like: Tensor,
  addresses: readonly number[],
  { axis, reverse }: ScanAttributes,
  ...rest: number[]
): void {
  if (like.size === 0) return;
  const { outer, length, inner } = around(like.shape, axis);
  const { device } = like;
  const columns = outer * inner;
  const last = [length, inner, Number(reverse), ...rest];
  if (device.kind === 'cuda') device.load(scanCuda)[kernel](perElement(columns), ...addresses, columns, ...last);
  else device.load(scanKernels)[kernel](...addresses, outer, ...last);
}

/** What a scan has reached one step before each element: y moved by one place, with `start` at the first. */
function before(y: Tensor, { axis, reverse }: ScanAttributes, start: number): Tensor {
  const length = y.shape[axis];
  if (length === 0) return y;
  const from = y.shape.map((_, a) => (a === axis && reverse ? 1 : 0));
  const to = y.shape.map((dim, a) => (a === axis && !reverse ? dim - 1 : dim));
  const place = reverse ? ([0, 1] as const) : ([1, 0] as const);
  const none = [0, 0] as const;
  return pad(
    slice(y, from, to),
    y.shape.map((_, a) => (a === axis ? place : none)),
    start,
  );
}

// ---------------------------------------------------------------- sums

export const cumsumOp = declareOp<ScanAttributes>({
  name: 'cumsum',
  cpu: scanKernels,
  cuda: scanCuda,
  backward: ({ grad, attributes: { axis, reverse } }) => [sumAlong(grad, { axis, reverse: !reverse })],
  tangent: ({ tangents: [t], attributes }) => cumsum(t as Tensor, attributes),
});

/**
 * The sum of all elements up to each one along an axis, added in double precision. With `reverse` element j is the sum
 * of the elements from j on.
 * @param x f32
 * @throws ArgumentError unless `options` names one axis; ShapeError for an axis that does not exist
 * @example cumsum(tensor([1, 2, 3, 4]), { axis: 0 }); // [1, 3, 6, 10]
 */
export function cumsum(x: Tensor, options: ScanOptions): Tensor {
  checkOperands('cumsum', [x]);
  const attributes = scanOf('cumsum', x, options);
  return apply(cumsumOp, sumAlong(x, attributes), { parents: [x], attributes });
}

function sumAlong(x: Tensor, { axis, reverse }: ScanAttributes): Tensor {
  const { device } = x;
  const y = allocate(x.shape, { device });
  if (y.size === 0) return y;
  const { outer, length, inner } = around(x.shape, axis);
  if (device.kind !== 'cuda') {
    const kernels = device.load(scanKernels);
    using scratch = allocate([2 * kernels.scan_sum_scratch(outer, length, inner)], { device });
    kernels.scan_sum(x.address, y.address, scratch.address, outer, length, inner, Number(reverse));
    return y;
  }
  const kernels = device.load(scanCuda);
  const runs = runsOf(length);
  const count = outer * runs * inner;
  const { grid, lanes } = perResult(count, inner);
  const last = [length, inner, runs, Number(reverse), lanes];
  if (runs === 1) {
    kernels.scan_sum(grid, x.address, 0, y.address, count, ...last);
    return y;
  }
  using carry = allocate([2 * count], { device });
  const columns = outer * inner;
  kernels.scan_totals(grid, x.address, carry.address, count, ...last);
  kernels.scan_carries(perElement(columns), carry.address, columns, inner, runs);
  kernels.scan_sum(grid, x.address, carry.address, y.address, count, ...last);
  return y;
}

// ---------------------------------------------------------------- products and recurrences

export const cumprodOp = declareOp<ScanAttributes>({
  name: 'cumprod',
  cpu: scanKernels,
  cuda: scanCuda,
  backward({ grad, saved: [x, y], attributes }) {
    const dx = allocate(x.shape, { device: x.device });
    onColumns('scan_backward', x, [x.address, y.address, grad.address, dx.address, 0], attributes, 1);
    return [dx];
  },
  tangent({ tangents: [t], parents: [x], output: y, attributes }) {
    return linearRecurrence(x as Tensor, mul(t as Tensor, before(y, attributes, 1)), attributes);
  },
});

/**
 * The product of all elements up to each one along an axis, in double precision. With `reverse` element j is the
 * product of the elements from j on. The gradient divides by nothing, so it is right where elements are 0.
 * @param x f32
 * @throws ArgumentError unless `options` names one axis; ShapeError for an axis that does not exist
 * @example cumprod(tensor([1, 2, 3, 4]), { axis: 0 }); // [1, 2, 6, 24]
 */
export function cumprod(x: Tensor, options: ScanOptions): Tensor {
  checkOperands('cumprod', [x]);
  const attributes = scanOf('cumprod', x, options);
  const y = allocate(x.shape, { device: x.device });
  onColumns('scan_product', x, [x.address, y.address], attributes);
  return apply(cumprodOp, y, { parents: [x], saved: [x, y], attributes });
}

export const linearRecurrenceOp = declareOp<ScanAttributes>({
  name: 'linearRecurrence',
  cpu: scanKernels,
  cuda: scanCuda,
  backward({ grad, saved: [a, y], attributes }) {
    const [da, db] = [0, 1].map(() => allocate(a.shape, { device: a.device }));
    onColumns('scan_backward', a, [a.address, y.address, grad.address, da.address, db.address], attributes, 0);
    return [da, db];
  },
  tangent({ tangents: [ta, tb], parents: [a], output: y, attributes }) {
    const fromA = ta && mul(ta, before(y, attributes, 0));
    const input = fromA && tb ? add(fromA, tb) : (fromA ?? (tb as Tensor));
    return linearRecurrence(a as Tensor, input, attributes);
  },
});

/**
 * y[j] = a[j] y[j - 1] + b[j] along an axis, where y before the first element is 0, so the first element of a has no
 * effect. With `reverse` y[j] = a[j] y[j + 1] + b[j]. It is computed in double precision: the recurrence of linear
 * state-space models, discounted sums and moving averages.
 * @param a f32
 * @param b f32, in the shape of a
 * @throws ArgumentError unless `options` names one axis; ShapeError for different shapes, or an axis that does not exist
 * @example linearRecurrence(tensor([0.5, 0.5, 0.5]), tensor([1, 1, 1]), { axis: 0 }); // [1, 1.5, 1.75]
 */
export function linearRecurrence(a: Tensor, b: Tensor, options: ScanOptions): Tensor {
  checkOperands('linearRecurrence', [a, b]);
  if (!sameShape(a.shape, b.shape))
    throw new ShapeError(
      'linearRecurrence',
      'a and b of one shape',
      `${formatShape(a.shape)} and ${formatShape(b.shape)}`,
    );
  const attributes = scanOf('linearRecurrence', a, options);
  const y = allocate(a.shape, { device: a.device });
  onColumns('scan_linear', a, [a.address, b.address, y.address], attributes);
  return apply(linearRecurrenceOp, y, { parents: [a, b], saved: [a, y], attributes });
}

// ---------------------------------------------------------------- the product over axes

export const prodOp = declareOp<{ axes: readonly number[] }>({
  name: 'prod',
  cpu: scanKernels,
  cuda: scanCuda,
  backward({ grad, saved: [x], attributes: { axes } }) {
    const { device } = x;
    const dx = allocate(x.shape, { device });
    if (dx.size === 0) return [dx];
    const { outer, length, inner } = around(x.shape, ...axes);
    const columns = outer * inner;
    const addresses = [x.address, grad.address, dx.address];
    if (device.kind === 'cuda')
      device.load(scanCuda).scan_other_products(perElement(columns), ...addresses, columns, length, inner);
    else device.load(scanKernels).scan_other_products(...addresses, outer, length, inner);
    return [dx];
  },
  tangent({ tangents: [t], parents: [x], output, attributes: { axes } }) {
    const { outer, length, inner } = around((x as Tensor).shape, ...axes);
    const [elements, tangents] = [x, t].map((operand) => reshape(operand as Tensor, [outer, length, inner]));
    // The product of the others is that of those before an element times that of those after it.
    const [left, right] = [false, true].map((reverse) => {
      const scan = { axis: 1, reverse };
      return before(cumprod(elements, scan), scan, 1);
    });
    return reshape(sum(mul(tangents, mul(left, right)), { axes: 1 }), output.shape);
  },
});

/**
 * The product over axes, in double precision; 1 where there are no elements. The gradient of an element is the product
 * of the others, so it is right where elements are 0.
 * @param x f32
 * @throws ShapeError for axes that do not exist
 * @example prod(tensor([[1, 2], [3, 4]]), { axes: 1 }); // [2, 12]
 */
export function prod(x: Tensor, options: ReduceOptions = {}): Tensor {
  checkOperands('prod', [x]);
  return scope(() => {
    const { axes: reduced, keepDims } = reduction('prod', x, options);
    const { x: from, axes } = neighbours(x, reduced);
    const { device } = x;
    const y = allocate(reducedShape(x.shape, reduced, keepDims), { device });
    if (y.size > 0) {
      const { outer, length, inner } = around(from.shape, ...axes);
      if (device.kind === 'cuda') {
        const { grid, lanes } = perResult(y.size, inner);
        device.load(scanCuda).scan_whole_product(grid, from.address, y.address, y.size, length, inner, lanes);
      } else device.load(scanKernels).scan_whole_product(from.address, y.address, outer, length, inner);
    }
    return apply(prodOp, y, { parents: [from], saved: [from], attributes: { axes } });
  });
}
