// The kernels of elementwise.c without gradients, for ops and backward rules.
import { allocate } from '../../tensor/allocate.ts';
import { broadcastShapes } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { perElement } from '../launch/grid.ts';
import { kernelsFor } from '../launch/storage.ts';
import { elementwiseFamily } from './elementwise_family.ts';
import { integerCuda, integerKernels } from './integer_kernels.ts';
import { addressOf, checkWholeNumbers, loopTable, type Operand, shapeOf, tensorOrNone } from './operands.ts';

export { loopTable, type Operand, tensorOrNone, tensorsOf } from './operands.ts';

export const elementwise = elementwiseFamily(
  ['kernels/elementwise.c', 'kernels/elementwise.cu'],
  {
    unary: [
      'elementwise_neg',
      'elementwise_abs',
      'elementwise_exp',
      'elementwise_log',
      'elementwise_sqrt',
      'elementwise_sin',
      'elementwise_cos',
      'elementwise_tanh',
      'elementwise_sigmoid',
      'elementwise_silu',
      'elementwise_relu',
      'elementwise_square',
      'elementwise_clamp',
    ],
    gradient: [
      'elementwise_abs_backward',
      'elementwise_sqrt_backward',
      'elementwise_tanh_backward',
      'elementwise_sigmoid_backward',
      'elementwise_silu_backward',
      'elementwise_relu_backward',
      'elementwise_clamp_backward',
    ],
    binary: [
      'elementwise_add',
      'elementwise_sub',
      'elementwise_mul',
      'elementwise_div',
      'elementwise_pow',
      'elementwise_maximum',
      'elementwise_minimum',
      'elementwise_equal',
      'elementwise_not_equal',
      'elementwise_less',
      'elementwise_less_equal',
      'elementwise_greater',
      'elementwise_greater_equal',
      'elementwise_first_wins_maximum',
      'elementwise_first_wins_minimum',
    ],
  },
  {
    cpu: { elementwise_where: 'ptr ptr ptr ptr ptr f32 f32 i32' },
    cuda: { elementwise_where: 'ptr ptr ptr ptr ptr i32 f32 f32 i32' },
  },
);

export const { unary: unaryKernel, gradient: gradientKernel, binary: binaryKernel } = elementwise;

export type Binary = Parameters<typeof binaryKernel>[1];

/** condition ? a : b without a gradient, of f32, bf16 or i32. */
export function whereKernel(condition: Tensor, a: Operand, b: Operand): Tensor {
  const shape = broadcastShapes('where', condition.shape, broadcastShapes('where', shapeOf(a), shapeOf(b)));
  const dtype = [a, b].map(tensorOrNone).find((t) => t !== undefined)?.dtype ?? 'f32';
  if (dtype === 'i32') checkWholeNumbers('where', [a, b]);
  const { device } = condition;
  const y = allocate(shape, { device, dtype });
  if (y.size === 0) return y;
  const sides = (typeof a === 'number' ? 1 : 0) + (typeof b === 'number' ? 2 : 0);
  const scalars = [a, b].map((operand) => (typeof operand === 'number' ? operand : 0));
  const table = loopTable(y, shape, [condition, a, b]);
  const operands = [condition.address, addressOf(a), addressOf(b), y.address, table];
  const grid = perElement(y.size);
  if (device.kind !== 'cuda') {
    if (dtype === 'i32') device.load(integerKernels).integer_where(...operands, ...scalars, sides);
    else device.load(elementwise.cpu).elementwise_where(...operands, ...scalars, sides);
  } else if (dtype === 'i32') device.load(integerCuda).integer_where(grid, ...operands, y.size, ...scalars, sides);
  else kernelsFor(elementwise.cuda, device, dtype).elementwise_where(grid, ...operands, y.size, ...scalars, sides);
  return y;
}
