// A family of elementwise kernels: a .c and a .cu file whose kernels are lines of the macros in elementwise.h, declared by
// their names, and launched without gradients, for ops and backward rules.
import { type KernelModule, kernelModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Dtype } from '../../tensor/dtype.ts';
import { broadcastShapes } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { perElement } from '../launch/grid.ts';
import { kernelsFor, type StorageModules, storageModules } from '../launch/storage.ts';
import { checkActivations } from '../op.ts';
import { integerBinary, integerTwin } from './integer_kernels.ts';
import { addressOf, loopTable, type Operand, scalarOf, shapeOf, tensorsOf } from './operands.ts';
import { all } from './signatures.ts';

/** Elements of a thread: see elementwise.cuh. */
const SOME = 4;

/** The names of a family's kernels, by the macro that makes them. */
export interface FamilyNames<Unary extends string, Gradient extends string, Binary extends string> {
  /** UNARY and TEST. */
  unary?: readonly Unary[];
  /** GRADIENT. */
  gradient?: readonly Gradient[];
  /** BINARY and COMPARE. */
  binary?: readonly Binary[];
}

/** Kernels of a family's files that are not made by those macros, with their signatures. */
export interface OtherKernels<Names extends string> {
  cpu: Readonly<Record<Names, string>>;
  cuda: Readonly<Record<Names, string>>;
}

export interface ElementwiseFamily<
  Unary extends string,
  Gradient extends string,
  Binary extends string,
  Other extends string,
> {
  readonly cpu: KernelModule<Unary | Gradient | Binary | Other>;
  readonly cuda: StorageModules<Unary | Gradient | Binary | Other>;
  /** f(x), with the constants p and q of its kernel. @param made its dtype, if not that of x */
  unary(name: Unary, x: Tensor, p?: number, q?: number, made?: Dtype): Tensor;
  /** dx from dy and the operand or the result. */
  gradient(name: Gradient, dy: Tensor, saved: Tensor, p?: number, q?: number): Tensor;
  /** f(a, b), broadcast; of i32 operands by the kernel of integer.c, if there is one. @param made see unary */
  binary(op: string, name: Binary, a: Operand, b: Operand, made?: Dtype): Tensor;
}

/** @param files the family's C file and its CUDA file, below src */
/* @__NO_SIDE_EFFECTS__ */
export function elementwiseFamily<
  Unary extends string = never,
  Gradient extends string = never,
  Binary extends string = never,
  Other extends string = never,
>(
  files: readonly [c: string, cuda: string],
  names: FamilyNames<Unary, Gradient, Binary>,
  other?: OtherKernels<Other>,
): ElementwiseFamily<Unary, Gradient, Binary, Other> {
  const declared = <Signature extends string>(unary: Signature, gradient: Signature, binary: Signature) => ({
    ...all(names.unary ?? [], unary),
    ...all(names.gradient ?? [], gradient),
    ...all(names.binary ?? [], binary),
  });
  type Names = Unary | Gradient | Binary | Other;
  const cpu = kernelModule<Names>(files[0], {
    ...declared('ptr ptr ptr f32 f32', 'ptr ptr ptr ptr f32 f32', 'ptr ptr ptr ptr f32 i32'),
    ...other?.cpu,
  } as Record<Names, string>);
  const cuda = storageModules<Names>(files[1], {
    ...declared('ptr ptr i32 f32 f32', 'ptr ptr ptr i32 f32 f32', 'ptr ptr ptr ptr i32 f32 i32'),
    ...other?.cuda,
  } as Record<Names, string>);

  /** Launches a kernel on operands of one shape, without gaps. */
  function launch(name: Unary | Gradient, [x, ...more]: readonly Tensor[], y: Tensor, p: number, q: number): Tensor {
    const { device, size } = y;
    if (size === 0) return y;
    const operands = [x.address, ...more.map(({ address }) => address), y.address];
    if (device.kind === 'cuda')
      kernelsFor(cuda, device, x.dtype)[name](perElement(size, SOME), ...operands, size, p, q);
    else device.load(cpu)[name](...operands, loopTable(x, x.shape, [x, ...more]), p, q);
    return y;
  }

  return {
    cpu,
    cuda,
    unary(name, x, p = 0, q = 0, made = x.dtype) {
      return launch(name, [x], allocate(x.shape, { device: x.device, dtype: made }), p, q);
    },
    gradient(name, dy, saved, p = 0, q = 0) {
      return launch(name, [dy, saved], allocate(saved.shape, { device: saved.device, dtype: saved.dtype }), p, q);
    },
    binary(op, name, a, b, made) {
      const tensors = tensorsOf(op, [a, b]);
      if (tensors[0]?.dtype === 'i32') {
        const twin = integerTwin(name);
        if (twin) return integerBinary(op, twin, a, b);
      }
      const device = checkActivations(op, tensors);
      const [{ dtype }] = tensors;
      const shape = broadcastShapes(op, shapeOf(a), shapeOf(b));
      const y = allocate(shape, { device, dtype: made ?? dtype });
      if (y.size === 0) return y;
      const operands = [addressOf(a), addressOf(b), y.address, loopTable(y, shape, [a, b])];
      const scalar = scalarOf(a, b);
      if (device.kind === 'cuda')
        kernelsFor(cuda, device, dtype)[name](perElement(y.size, SOME), ...operands, y.size, ...scalar);
      else device.load(cpu)[name](...operands, ...scalar);
      return y;
    },
  };
}
