// The definition of an op: its kernels for each device, its backward rule and its tangent rule. A definition that lacks
// one does not compile.
import { provideArithmetic } from '../autograd/arithmetic.ts';
import { pushForward } from '../autograd/forward.ts';
import { attach, type BackwardRule, GraphNode } from '../autograd/graph.ts';
import {
  activeLevels,
  activeWitness,
  isChecking,
  isTracing,
  type Tangent,
  type TangentContext,
} from '../autograd/mode.ts';
import type { Device } from '../device/device.ts';
import type { CudaModule, KernelModule } from '../device/module.ts';
import { ArgumentError, DeviceError, DtypeError } from '../errors.ts';
import { type Dtype, isFloating } from '../tensor/dtype.ts';
import { requireTensor, Tensor } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { assertFinite } from './inner/accumulate.ts';
import { gradientArithmetic } from './inner/gradient_arithmetic.ts';
import type { ProductModules } from './launch/product.ts';
import type { StorageModules } from './launch/storage.ts';

provideArithmetic({ ...gradientArithmetic, identity });

/** Takes the place of a backward rule and gives the reason why there is none. */
export interface NotDifferentiable {
  readonly reason: string;
}

/** The rules of an op without a derivative. */
/* @__NO_SIDE_EFFECTS__ */
export function notDifferentiable(reason: string): { backward: NotDifferentiable; tangent: NotDifferentiable } {
  return { backward: { reason }, tangent: { reason } };
}

/** One build of a .cu file, or several, one per dtype of the operands: see storage.ts and product.ts. */
export type CudaKernels = CudaModule | StorageModules | ProductModules;

/**
 * The tangent of an op's output (or of each) from those of its operands, in the shape of the output, computed by ops. It
 * is the transpose of the backward rule; `jvp` calls it.
 */
export type TangentRule<Attributes> = (context: TangentContext<Attributes>) => Tangent;

export interface Op<Attributes = undefined> {
  readonly name: string;
  /** 'none' for an op without kernels of its own, such as a view. */
  readonly cpu: KernelModule | 'none';
  readonly cuda: CudaKernels | 'none';
  readonly backward: BackwardRule<Attributes> | NotDifferentiable;
  readonly tangent: TangentRule<Attributes> | NotDifferentiable;
  /** Whether that rule applies the factors of its gradients itself; default false: it gets plain tensors. */
  readonly takesScaled?: boolean;
}

/* @__NO_SIDE_EFFECTS__ */
export function declareOp<Attributes = undefined>(op: Op<Attributes>): Op<Attributes> {
  return op;
}

interface Application<Attributes> {
  /** The operands, in the order of the backward rule's results; an absent optional operand is undefined. */
  parents: readonly (Tensor | undefined)[];
  /** The tensors that the backward rule needs; the graph keeps its own references to them. */
  saved?: readonly Tensor[];
  attributes?: Attributes;
}

/**
 * Ends every op: adds it to the gradient graph if a parent requires a gradient and tracing is on.
 * Returns `output`. Outputs of whole numbers carry no gradient; they follow the others.
 */
export function apply<Attributes, Output extends Tensor | readonly Tensor[]>(
  op: Op<Attributes>,
  output: Output,
  application: Application<Attributes>,
): Output {
  const outputs: readonly Tensor[] = Array.isArray(output) ? output : [output as Tensor];
  for (const { storage } of outputs) if (storage.references === 1) storage.owner = op.name;
  if (isChecking()) for (const t of outputs) assertFinite(op.name, t, 'output');
  trace(op, outputs, application);
  // The rule reads the outputs, so its own gradient needs their graph.
  if (activeLevels().length > 0) {
    const { name, tangent: rule } = op;
    const { parents, saved = [], attributes } = application;
    const tangent = typeof rule === 'function' ? (rule as TangentRule<unknown>) : reasonOf(name, rule);
    pushForward({ name, parents, outputs, saved, attributes, tangent });
  }
  return output;
}

function trace<Attributes>(op: Op<Attributes>, outputs: readonly Tensor[], application: Application<Attributes>): void {
  const values = outputs.length > 1 ? outputs.filter(({ dtype }) => isFloating(dtype)) : outputs;
  if (values.length > 0) traceOutputs(op, values, application);
  if (values.length === outputs.length) return;
  const whole = outputs.filter((t) => !values.includes(t));
  traceOutputs({ ...op, backward: { reason: 'its indices are whole numbers' } }, whole, application);
}

function traceOutputs<Attributes>(
  op: Op<Attributes>,
  outputs: readonly Tensor[],
  { parents, saved = [], attributes }: Application<Attributes>,
): void {
  if (!isTracing()) {
    activeWitness()?.(parents, outputs, noGradientOf(op));
    return;
  }
  const differentiable = parents.some((parent) => parent?.requiresGrad);
  if (differentiable && typeof op.backward === 'function') {
    const rule = op.backward as BackwardRule<unknown>;
    const { name, takesScaled } = op;
    const node = new GraphNode({ name, rule, parents, saved, attributes, outputs: outputs.length, takesScaled });
    // Whole numbers next to values, such as the indices of a sort, have no gradient.
    attach(
      node,
      outputs.map((t) => (isFloating(t.dtype) ? t : undefined)),
    );
  } else {
    const blocked = differentiable ? noGradientOf(op) : parents.find((parent) => parent?.blocked)?.blocked;
    for (const t of outputs) t.blocked = blocked;
  }
}

/** The message that says why an op has no gradient; undefined if it has one. */
function noGradientOf<Attributes>({ name, backward }: Op<Attributes>): string | undefined {
  return typeof backward === 'function' ? undefined : reasonOf(name, backward);
}

function reasonOf(name: string, { reason }: NotDifferentiable): string {
  return `[${name}] has no gradient: ${reason}`;
}

const identityOp = declareOp({
  name: 'identity',
  cpu: 'none',
  cuda: 'none',
  backward: ({ grad }) => [view(grad, grad.shape)],
  tangent: ({ tangents: [t] }) => identity(t as Tensor),
});

/** A view of x through which gradients and tangents pass. */
function identity(x: Tensor): Tensor {
  return apply(identityOp, view(x, x.shape), { parents: [x] });
}

/**
 * Checks that the operands of an op are tensors, not disposed, on one device and of one dtype. Every op checks each
 * operand before it takes an address, because kernels read whatever address they are given.
 * @returns the device
 */
export function checkOperands(op: string, operands: readonly Tensor[], dtype: Dtype = 'f32'): Device {
  let device: Device | undefined;
  for (const operand of operands) {
    requireTensor(op, operand);
    operand.assertAlive(`[${op}]`);
    if (operand.dtype !== dtype)
      throw new DtypeError(op, `${dtype} operands`, `${operand.describe()} (cast it with cast(x, '${dtype}'))`);
    device ??= operand.device;
    if (operand.device !== device)
      throw new DeviceError(`[${op}] expected operands on one device, got ${device.name} and ${operand.device.name}`);
  }
  if (!device) throw new ArgumentError(op, 'at least one tensor', 'none');
  return device;
}

/** Like checkOperands, for an op whose operands may have any dtype, but all the same. */
export function checkSameDtype(op: string, operands: readonly Tensor[]): Device {
  const [first] = operands;
  if (operands.length > 0) requireTensor(op, first);
  return checkOperands(op, operands, first?.dtype);
}

/**
 * Checks operands that are activations: not disposed, on one device, of one dtype, which is f32 or on CUDA bf16.
 * @returns the device
 */
export function checkActivations(op: string, operands: readonly Tensor[]): Device {
  const [first] = operands;
  if (!Tensor.is(first) || first.dtype !== 'bf16') return checkOperands(op, operands);
  const device = checkOperands(op, operands, 'bf16');
  if (!device.computesBf16)
    throw new DtypeError(
      op,
      `f32 operands (on ${device.name} bf16 is for storage only)`,
      `${first.describe()} (cast it with cast(x, 'f32'))`,
    );
  return device;
}

/** For two operands whose dtypes are checked separately. @throws DeviceError unless they are on one device */
export function checkSameDevice(op: string, a: Tensor, b: Tensor): void {
  if (a.device !== b.device)
    throw new DeviceError(`[${op}] expected operands on one device, got ${a.device.name} and ${b.device.name}`);
}
