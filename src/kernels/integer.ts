// The bits of i32 tensors. Arithmetic and comparisons of i32 are in elementwise.ts and math.ts, under the names they have
// for floats.
import { refuseExtra } from '../arguments.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type IntegerBinary, integerBinary, integerCuda, integerKernels } from './inner/integer_kernels.ts';
import { type Operand, tensorOrNone } from './inner/operands.ts';
import { apply, checkOperands, declareOp, notDifferentiable } from './op.ts';

const bitsOp = (name: string) =>
  declareOp({ name, cpu: integerKernels, cuda: integerCuda, ...notDifferentiable('whole numbers have no gradient') });

/** The ops of this family, by name. */
export const integerOps = {
  bitwiseAnd: bitsOp('bitwiseAnd'),
  bitwiseNot: bitsOp('bitwiseNot'),
  bitwiseOr: bitsOp('bitwiseOr'),
  bitwiseXor: bitsOp('bitwiseXor'),
  leftShift: bitsOp('leftShift'),
  rightShift: bitsOp('rightShift'),
};

/* @__NO_SIDE_EFFECTS__ */
function binary(name: keyof typeof integerOps, kernel: IntegerBinary): (a: Operand, b: Operand) => Tensor {
  return (a, b, ...extra: unknown[]) => {
    refuseExtra(name, extra);
    return apply(integerOps[name], integerBinary(name, kernel, a, b), { parents: [a, b].map(tensorOrNone) });
  };
}

/**
 * The bits set in both a and b, i32, broadcast. A number stands for a tensor of one element, as in all of this family.
 * @example bitwiseAnd(tensor([12, 10], { dtype: 'i32' }), 6); // [4, 2]
 */
export const bitwiseAnd = binary('bitwiseAnd', 'integer_and');
/**
 * The bits set in a or b, i32, broadcast.
 * @example bitwiseOr(tensor([12, 10], { dtype: 'i32' }), 6); // [14, 14]
 */
export const bitwiseOr = binary('bitwiseOr', 'integer_or');
/**
 * The bits set in one of a and b, i32, broadcast.
 * @example bitwiseXor(tensor([12, 10], { dtype: 'i32' }), 6); // [10, 12]
 */
export const bitwiseXor = binary('bitwiseXor', 'integer_xor');
/**
 * a with its bits moved b places up, i32, broadcast; 0 where b is negative or above 31.
 * @example leftShift(tensor([1, 2, 3], { dtype: 'i32' }), 4); // [16, 32, 48]
 */
export const leftShift = binary('leftShift', 'integer_left_shift');
/**
 * a with its bits moved b places down, i32, broadcast; the sign is kept: 0 or -1 where b is negative or above 31.
 * @example rightShift(tensor([16, -16], { dtype: 'i32' }), 2); // [4, -4]
 */
export const rightShift = binary('rightShift', 'integer_right_shift');
/**
 * The opposite bits of an i32 tensor: -x - 1.
 * @example bitwiseNot(tensor([0, 5], { dtype: 'i32' })); // [-1, -6]
 */
export function bitwiseNot(x: Tensor): Tensor;
export function bitwiseNot(x: Tensor, ...extra: unknown[]): Tensor {
  refuseExtra('bitwiseNot', extra);
  checkOperands('bitwiseNot', [x], 'i32');
  return apply(integerOps.bitwiseNot, integerBinary('bitwiseNot', 'integer_xor', x, -1), { parents: [x] });
}
