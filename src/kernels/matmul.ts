// Batched matrix products, with either operand transposed and an optional bias.
import { checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { PendingProduct, SumOfRows, WeightProduct } from '../autograd/gradient_parts.ts';
import { checkedBy } from '../device/fast_builds.ts';
import { kernelModule } from '../device/module.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import type { Dtype } from '../tensor/dtype.ts';
import { broadcastShapes, type Shape, sameShape, sizeOf, stridesOf } from '../tensor/shape.ts';
import { requireTensor, type Tensor, tensorKind } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { cast } from './cast.ts';
import { hopperProducts } from './conv/products_on_cards.ts';
import { linearShape } from './conv/shape.ts';
import { add } from './elementwise.ts';
import { sumAxes, sumTo } from './inner/reduction.ts';
import { copyStrided } from './inner/strided.ts';
import { requireTrained, withSavedWeight, withWeight } from './inner/weight.ts';
import { inChunks, type ProductShape, productBuilds, productLaunchOf, productModules } from './launch/product.ts';
import type { Activation } from './launch/storage.ts';
import { broadcastTo } from './movement.ts';
import { apply, checkActivations, checkOperands, checkSameDevice, declareOp } from './op.ts';

const matmulKernels = kernelModule('kernels/matmul.c', {
  matmul_scratch: 'i32 i32 i32 i32 -> count',
  matmul_multiply: 'ptr ptr ptr ptr ptr i32 i32 i32 i32 i32 i32 i32',
  matmul_transposed_parts: 'i32 i32 i32 i32 -> count',
  matmul_transposed_scratch: 'i32 i32 i32 i32 -> count',
  matmul_multiply_transposed: 'ptr ptr ptr ptr i32 i32 i32 i32 i32 i32',
});

const MULTIPLY = 'ptr ptr ptr ptr i32 i32 i32 i32 i32 i32 i32 i32';

export const matmulCuda = productModules('kernels/matmul.cu', {
  matmul_multiply: MULTIPLY,
  matmul_multiply_right_transposed: MULTIPLY,
  matmul_multiply_left_transposed: MULTIPLY,
});
checkedBy(productBuilds(matmulCuda), async () => (await import('./checks/products.ts')).matmulCheck(product));

/** One operand: a tensor [..., rows, columns] and whether its last two axes are swapped in memory. */
export interface Factor {
  tensor: Tensor;
  transposed?: boolean;
}

interface ResultOptions {
  /** [n], f32. */
  bias?: Tensor;
  /** The dtype of the result; default: that of the factors. */
  dtype?: Activation;
}

/**
 * The product without a gradient, for ops and backward rules. Batch axes broadcast; both factors have the same dtype.
 */
export function product(a: Factor, b: Factor, options: ResultOptions = {}): Tensor {
  // Two transposed operands are rare, so one is copied.
  if (a.transposed && b.transposed) {
    using swapped = swapLastAxes(a.tensor);
    return product({ tensor: swapped }, b, options);
  }
  const { dtype = a.tensor.dtype } = options;
  const [m] = matrixShape(a);
  const n = matrixShape(b)[1];
  const batchA = a.tensor.shape.slice(0, -2);
  const batchB = b.tensor.shape.slice(0, -2);
  const batch = broadcastShapes('matmul', batchA, batchB);
  const { device } = a.tensor;
  const shape = [...batch, m, n];
  if (sizeOf(shape) === 0) return allocate(shape, { device, dtype });
  const left = repeatToBatch(a.tensor, batch);
  const right = repeatToBatch(b.tensor, batch);
  const y = multiply({ ...a, tensor: left }, { ...b, tensor: right }, shape, { ...options, dtype });
  for (const [used, given] of [
    [left, a.tensor],
    [right, b.tensor],
  ])
    if (used !== given) used.dispose();
  return y;
}

/** The product of factors that have one matrix, or the whole batch of the result. */
function multiply(
  a: Factor,
  b: Factor,
  shape: Shape,
  { bias, dtype }: Pick<ResultOptions, 'bias'> & { dtype: Dtype },
): Tensor {
  const [left, right] = [a.tensor, b.tensor];
  const [m, k] = matrixShape(a);
  const n = matrixShape(b)[1];
  const batch = shape.slice(0, -2);
  const { device } = left;
  const stepA = sizeOf(left.shape.slice(0, -2)) > 1 ? 1 : 0;
  const stepB = sizeOf(right.shape.slice(0, -2)) > 1 ? 1 : 0;
  // With a single matrix on the right, the batch of the left becomes additional rows.
  const folded = !stepB && !a.transposed;
  const batches = folded ? 1 : sizeOf(batch);
  const rows = folded ? m * sizeOf(batch) : m;
  if (device.kind === 'cuda') {
    const orders = [a.transposed ?? false, b.transposed ?? false] as const;
    const size = { rows, columns: n, terms: k, batches };
    return multiplyOnCuda(left, right, size, { orders, steps: [stepA, stepB], shape, dtype, bias });
  }
  const kernels = device.load(matmulKernels);
  if (a.transposed) {
    const parts = kernels.matmul_transposed_parts(batches, m, k, n);
    const products = allocate([parts, ...shape], { device });
    using scratch = allocate([device.workers * kernels.matmul_transposed_scratch(batches, m, k, n)], { device });
    const operands = [left.address, right.address, products.address, scratch.address];
    kernels.matmul_multiply_transposed(...operands, batches, m, k, n, stepA, stepB);
    const y = parts === 1 ? view(products, shape) : sumAxes(products, [0]);
    products.dispose();
    return y;
  }
  const y = allocate(shape, { device });
  using scratch = allocate([device.workers * kernels.matmul_scratch(batches, rows, k, n)], { device });
  kernels.matmul_multiply(
    left.address,
    right.address,
    bias?.address ?? 0,
    y.address,
    scratch.address,
    batches,
    rows,
    k,
    n,
    stepA,
    stepB,
    b.transposed ? 1 : 0,
  );
  return y;
}

interface CudaProduct {
  /** Whether left and right are transposed. */
  orders: readonly [boolean, boolean];
  /** Strides between the matrices of left and right; 0 if one matrix serves the whole batch. */
  steps: readonly [number, number];
  /** The shape of the result. */
  shape: Shape;
  dtype: Dtype;
  bias: Tensor | undefined;
}

function multiplyOnCuda(
  left: Tensor,
  right: Tensor,
  size: Required<ProductShape>,
  { orders, steps, shape, dtype, bias }: CudaProduct,
): Tensor {
  const { rows, columns, terms } = size;
  const { device } = left;
  const fast = hopperProducts([{ pairs: [[left, right]], bias }], { ...size, orders, steps }, { shape, dtype });
  if (fast) return fast[0];
  const { kernels, launchGrid, parts, run } = productLaunchOf(matmulCuda, left, size, !bias);
  const kernel = orders[0]
    ? 'matmul_multiply_left_transposed'
    : orders[1]
      ? 'matmul_multiply_right_transposed'
      : 'matmul_multiply';
  const chunked =
    (inChunks(left, orders[0] ? rows : terms) ? 1 : 0) + (inChunks(right, orders[1] ? terms : columns) ? 2 : 0);
  const to = parts === 1 ? allocate(shape, { device, dtype }) : allocate([parts, ...shape], { device });
  kernels[kernel](
    launchGrid,
    ...[left.address, right.address, bias?.address ?? 0, to.address],
    ...[rows, terms, columns, ...steps, run, to.dtype === 'f32' ? 1 : 0, chunked],
  );
  if (parts === 1) return to;
  const sum = sumAxes(to, [0], 1, dtype);
  to.dispose();
  return sum;
}

function matrixShape({ tensor: { shape, rank }, transposed }: Factor): [number, number] {
  const [rows, columns] = [shape[rank - 2], shape[rank - 1]];
  return transposed ? [columns, rows] : [rows, columns];
}

/** A copy of x with its last two axes swapped. */
function swapLastAxes(x: Tensor): Tensor {
  const { shape, rank } = x;
  const dims = [...shape.slice(0, -2), shape[rank - 1], shape[rank - 2]];
  const strides = stridesOf(shape);
  const order = [...strides.slice(0, -2), strides[rank - 1], strides[rank - 2]];
  const y = allocate(dims, { device: x.device, dtype: x.dtype });
  copyStrided(dims, { tensor: x, offset: 0, strides: order }, { tensor: y, offset: 0, strides: stridesOf(dims) });
  return y;
}

/** x itself if it has one matrix or the whole batch, otherwise a copy broadcast to the batch. */
function repeatToBatch(x: Tensor, batch: Shape): Tensor {
  const own = x.shape.slice(0, -2);
  if (sizeOf(own) === 1 || sizeOf(own) === sizeOf(batch)) return x;
  const dims = [...batch, ...x.shape.slice(-2)];
  const strides = stridesOf(x.shape);
  const lead = dims.length - x.rank;
  const repeated = dims.map((_, axis) => (axis < lead || x.shape[axis - lead] === 1 ? 0 : strides[axis - lead]));
  const y = allocate(dims, { device: x.device, dtype: x.dtype });
  copyStrided(dims, { tensor: x, offset: 0, strides: repeated }, { tensor: y, offset: 0, strides: stridesOf(dims) });
  return y;
}

export interface MatmulOptions {
  /** a is stored [..., k, m]. */
  transposeA?: boolean;
  /** b is stored [..., n, k]. */
  transposeB?: boolean;
  /** [n] f32, added to every row. */
  bias?: Tensor;
}

/** The shape of x with all axes but the last joined. */
function asMatrix({ shape, rank }: Tensor): [rows: number, columns: number] {
  return [sizeOf(shape.slice(0, -1)), shape[rank - 1]];
}

const matmulOptions: OptionKinds<MatmulOptions> = {
  transposeA: kinds.boolean,
  transposeB: kinds.boolean,
  bias: tensorKind,
};

export const matmulOp = declareOp<{ transposeA: boolean; transposeB: boolean; dtypeB: Activation }>({
  name: 'matmul',
  cpu: matmulKernels,
  cuda: matmulCuda,
  backward({ grad, saved: [a, b], attributes: { transposeA, transposeB, dtypeB: dtype }, needs, defers }) {
    // y = A B: dA = dy B^T, dB = A^T dy; the gradient of a transposed operand is the transpose of that.
    const dy = { tensor: grad };
    const gradientA = () =>
      withSavedWeight(b, grad, (right) =>
        transposeA
          ? product({ tensor: right, transposed: transposeB }, { tensor: grad, transposed: true })
          : product(dy, { tensor: right, transposed: !transposeB }),
      );
    // The weight of a layer: its gradient is computed as that of a 1x1 convolution.
    const layer = transposeB && !transposeA && b.rank === 2;
    const late = defers[1] && layer;
    const [rows, inputs] = asMatrix(a);
    const outputs = grad.shape[grad.rank - 1];
    const gradientB = () => {
      requireTrained('matmul', dtype, grad);
      // One b serves a whole batch of a: the sum runs over the batch too, so it is a single product.
      const shared = sizeOf(b.shape.slice(0, -2)) === 1 && !transposeA;
      const left = { tensor: shared ? view(a, asMatrix(a)) : a };
      const right = shared ? { tensor: view(grad, asMatrix(grad)) } : dy;
      return transposeB
        ? product({ ...right, transposed: true }, { ...left, transposed: transposeA }, { dtype })
        : product({ ...left, transposed: !transposeA }, right, { dtype });
    };
    return [
      needs[0] ? (layer && b.device.kind === 'cuda' ? new PendingProduct(grad, b) : sumTo(gradientA(), a.shape)) : null,
      needs[1]
        ? late
          ? new WeightProduct(a, grad, linearShape(rows, inputs, outputs))
          : sumTo(gradientB(), b.shape)
        : null,
      needs[2]
        ? defers[2]
          ? new SumOfRows(grad)
          : sumAxes(grad, [...grad.shape.keys()].slice(0, -1), 1, 'f32')
        : null,
    ];
  },
  tangent({ parents: [a, b], tangents: [ta, tb, tBias], output, attributes: { transposeA, transposeB } }) {
    const options = { transposeA, transposeB };
    const first = ta && matmul(ta, b as Tensor, { ...options, bias: tBias ?? undefined });
    const second = tb && matmul(a as Tensor, tb, ta ? options : { ...options, bias: tBias ?? undefined });
    if (first && second) return add(first, second);
    return first ?? second ?? cast(broadcastTo(tBias as Tensor, output.shape), output.dtype);
  },
});

/**
 * Matrix product over the last two axes; the axes before them broadcast.
 * @param a [..., m, k], or [..., k, m] with transposeA; f32, or on CUDA bf16
 * @param b [..., k, n], or [..., n, k] with transposeB; of a's dtype, or f32 if it is a weight; on the CPU and in WebAssembly also f16 or
 * bf16, which then has no gradient
 * @returns [..., m, n]
 * @example matmul(tensor([[1, 2], [3, 4]]), tensor([[1, 0], [1, 1]])); // [[3, 2], [7, 4]]
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false, bias } = checkOptions('matmul', options, matmulOptions);
  checkActivations('matmul', [a]);
  requireTensor('matmul', b);
  if (bias) {
    checkOperands('matmul', [bias]);
    checkSameDevice('matmul', a, bias);
  }
  const both = `${formatShape(a.shape)} and ${formatShape(b.shape)}`;
  if (a.rank < 2 || b.rank < 2) throw new ShapeError('matmul', 'operands of at least two axes', both);
  const [, k] = matrixShape({ tensor: a, transposed: transposeA });
  const [inner, n] = matrixShape({ tensor: b, transposed: transposeB });
  if (k !== inner)
    throw new ShapeError(
      'matmul',
      `equal inner dimensions${transposeA || transposeB ? ' after transposing' : ''}`,
      both,
    );
  const [batchA, batchB] = [a.shape.slice(0, -2).reverse(), b.shape.slice(0, -2).reverse()];
  if (batchA.some((dim, i) => dim !== 1 && batchB[i] !== undefined && batchB[i] !== 1 && batchB[i] !== dim))
    throw new ShapeError('matmul', 'leading axes that broadcast together', both);
  if (bias && !sameShape(bias.shape, [n])) throw new ShapeError('matmul', `a bias [${n}]`, formatShape(bias.shape));
  // The kernel for a transposed a has no epilogue, so with a bias a is copied to the plain order first.
  const swapped = transposeA && bias ? swapLastAxes(a) : undefined;
  const left = swapped ? { tensor: swapped } : { tensor: a, transposed: transposeA };
  return withWeight('matmul', b, a, (right, kept) => {
    const y = product(left, { tensor: right, transposed: transposeB }, { bias });
    swapped?.dispose();
    const attributes = { transposeA, transposeB, dtypeB: b.dtype as Activation };
    return apply(matmulOp, y, { parents: [a, b, bias], saved: [a, kept], attributes });
  });
}
