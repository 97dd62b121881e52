// Ops of a program's own: kernels as text in C and CUDA, with gradients, compiled, cached, recorded and checked as the package's are.
import {
  checkOptions,
  describeValue,
  isWhole,
  type Kind,
  kind,
  kinds,
  type OptionKinds,
  oneOf,
  refuseExtra,
} from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import type { Device } from '../../device/device.ts';
import {
  type CudaModule,
  type KernelModule,
  type LaunchGrid,
  parseSignature,
  textModule,
} from '../../device/module.ts';
import { writtenKernels } from '../../device/prototypes.ts';
import { ArgumentError, DeviceError } from '../../errors.ts';
import { allocate } from '../../tensor/allocate.ts';
import { checkDtype, type Dtype } from '../../tensor/dtype.ts';
import { checkShape, type Shape } from '../../tensor/shape.ts';
import { describeOperand, requireTensor, Tensor } from '../../tensor/tensor.ts';
import { type OpValues, programOp } from '../inner/program_op.ts';
import { perElement } from '../launch/grid.ts';
import { checkOperands, checkSameDevice } from '../op.ts';

export type { OpValues } from '../inner/program_op.ts';

/** A tensor stands for its address. */
export type KernelArgument = Tensor | number;

/** The grid of a CUDA launch, which host devices ignore: threads in blocks of 256, or blocks of `block` threads. */
export type LaunchSize = { threads: number } | LaunchGrid;

/** What forward and backward compute with. */
export interface OpContext {
  readonly device: Device;
  /** A new tensor, whose contents a kernel writes; f32 unless said. */
  empty(shape: Shape, dtype?: Dtype): Tensor;
  /**
   * Enqueues a kernel. A launch of no threads or blocks does nothing.
   * @throws ArgumentError for arguments that do not fit its signature; DeviceError where the device has no source
   */
  launch(kernel: string, values: readonly KernelArgument[], size: LaunchSize): void;
}

export interface OpDefinition<Options, Output extends Tensor | Tensor[]> {
  /** The name in messages: letters, digits and _. */
  name: string;
  /** Kernel -> argument kinds, `ptr`, `i32`, `f32`, `f64`: the same for both languages. */
  kernels?: Readonly<Record<string, string>>;
  /**
   * The kernels in C, for the devices cpu and wasm. `#include "pool.h"` gives `KERNEL`, vectors and `pool_run`: see
   * docs/kernels.md. On wasm it needs clang and runs in one thread.
   */
  c?: string;
  /** The kernels in CUDA C++. `#include "common.cuh"` gives `KERNEL` and `thread_number()`. */
  cuda?: string;
  /** The dtype of the inputs; default f32. 'any': forward checks them itself. */
  inputs?: Dtype | 'any';
  /** Computes the output or a list of outputs. Runs untraced; it may also be written in ops. */
  forward(context: OpContext, inputs: readonly Tensor[], options: Options): Output;
  /**
   * The gradient of each input, in its shape, null for one without; from the gradient of the output, or a list for a list of
   * outputs. Runs untraced. An op without it has no gradient.
   */
  backward?(context: OpContext, gradient: Output, values: OpValues<Options>): readonly (Tensor | null)[];
  /**
   * The tangent of the output (of each output) from those of the inputs, null for a constant one: for jvp(). Written in ops or in
   * functions of defineOp, so that it has gradients itself.
   */
  tangent?(tangents: readonly (Tensor | null)[], values: OpValues<Options>): Tensor | readonly (Tensor | null)[];
}

const definitionKinds: OptionKinds<OpDefinition<unknown, Tensor>> = {
  name: kinds.text,
  kernels: kinds.object,
  c: kinds.text,
  cuda: kinds.text,
  inputs: oneOf(['any', 'f32', 'bf16', 'f16', 'i32', 'u8', 'bool']),
  forward: kinds.callback,
  backward: kinds.callback,
  tangent: kinds.callback,
};

/** The function of an op of a program's own: tensors, then options if the op has some. */
export type DefinedOp<Options, Output> = (
  ...given: Options extends undefined ? Tensor[] : [...inputs: Tensor[], options: Options]
) => Output;

/**
 * Makes an op of a program's own. It takes tensors, then options if `forward` has some, and returns what `forward` returns, with
 * a place in the gradient graph. Kernels are compiled at their first use, kept in the cache of kernels, and take part in recording.
 * @throws ArgumentError for a definition that does not fit, such as a signature that differs from the kernel's prototype
 * @example
 * const twice = defineOp({
 *   name: 'twice',
 *   kernels: { twice: 'ptr ptr i32' },
 *   c: `#include "pool.h"
 *     KERNEL void twice(const float *x, float *y, int32_t n) { for (int32_t i = 0; i < n; i++) y[i] = 2 * x[i]; }`,
 *   forward({ empty, launch }, [x]) {
 *     const y = empty(x.shape);
 *     launch('twice', [x, y, x.size], { threads: x.size });
 *     return y;
 *   },
 *   backward: (_, gradient) => [mul(gradient, 2)],
 * });
 * twice(tensor([1, 2])); // [2, 4]
 */
export function defineOp<Options = undefined, Output extends Tensor | Tensor[] = Tensor>(
  definition: OpDefinition<Options, Output>,
): DefinedOp<Options, Output>;
export function defineOp<Options = undefined, Output extends Tensor | Tensor[] = Tensor>(
  definition: OpDefinition<Options, Output>,
  ...extra: unknown[]
): DefinedOp<Options, Output> {
  refuseExtra('defineOp', extra);
  const known = definitionKinds as OptionKinds<OpDefinition<Options, Output>>;
  const checked = checkOptions('defineOp', definition, known, ['name', 'forward']);
  const { name, inputs: dtype = 'f32', forward, backward, tangent } = checked;
  if (!/^[A-Za-z]\w*$/.test(name))
    throw new ArgumentError('defineOp', 'a name of letters, digits and _', describeValue(name));
  const sources = declareSources(checked);
  const finish = programOp<Options, Output>({
    name,
    backward: backward
      ? (gradient, values) => backward(contextOf(name, values.output.device, sources), gradient, values)
      : 'its definition has no backward',
    tangent: tangent ?? 'its definition has no tangent',
  });

  return (...given) => {
    const last = given.at(-1) as unknown;
    const inputs = (Tensor.is(last) ? given : given.slice(0, -1)) as Tensor[];
    const options = (Tensor.is(last) ? undefined : last) as Options;
    if (inputs.length === 0) throw new ArgumentError(name, 'at least one tensor', describeOperand(last));
    for (const input of inputs) requireTensor(name, input);
    for (const input of inputs) checkOperands(name, [input], dtype === 'any' ? input.dtype : dtype);
    for (const input of inputs) checkSameDevice(name, inputs[0], input);
    const context = contextOf(name, inputs[0].device, sources);
    const result = noGrad(() => forward(context, inputs, options));
    return finish(inputs, result, options, context.made);
  };
}

interface Sources {
  signatures: Readonly<Record<string, string>>;
  c: KernelModule | undefined;
  cuda: CudaModule | undefined;
}

/** Declares the texts of a definition. @throws ArgumentError for a signature that is invalid or differs from a prototype */
function declareSources({
  name,
  kernels: signatures = {},
  c,
  cuda,
}: Pick<OpDefinition<never, Tensor>, 'name' | 'kernels' | 'c' | 'cuda'>): Sources {
  for (const [kernel, signature] of Object.entries(signatures)) {
    if (!/^[A-Za-z]\w*$/.test(kernel))
      throw new ArgumentError('defineOp', 'names of kernels with letters, digits and _', describeValue(kernel));
    const { parameters, returns } = parsed(kernel, signature);
    for (const language of ['c', 'cuda'] as const) {
      const written = writtenKernels(language, { c, cuda }[language] ?? '').get(kernel);
      if (written !== undefined && written !== parameters.join(' '))
        throw new ArgumentError(
          'defineOp',
          `"${written}" for ${kernel}, as its ${language} text has it`,
          `"${signature}"`,
        );
    }
    if (returns !== 'void') throw new ArgumentError('defineOp', `${kernel} to return nothing`, `"${signature}"`);
  }
  return {
    signatures,
    c: c === undefined ? undefined : textModule('c', name, c, signatures),
    cuda: cuda === undefined ? undefined : textModule('cuda', name, cuda, signatures),
  };
}

/** The kinds that a launch passes by value. */
const VALUE_KINDS = ['ptr', 'i32', 'f32', 'f64'];

function parsed(kernel: string, signature: unknown): ReturnType<typeof parseSignature> {
  try {
    return parseSignature(String(signature), VALUE_KINDS);
  } catch (cause) {
    throw new ArgumentError('defineOp', `a signature for ${kernel}, such as 'ptr ptr i32'`, (cause as Error).message);
  }
}

function contextOf(name: string, device: Device, sources: Sources): OpContext & { made: Set<Tensor> } {
  const made = new Set<Tensor>();
  return {
    device,
    made,
    empty(shape, dtype = 'f32') {
      checkDtype(name, dtype);
      const t = allocate(checkShape(name, shape), { device, dtype });
      made.add(t);
      return t;
    },
    launch(kernel, values, size) {
      const signature = Object.hasOwn(sources.signatures, kernel) ? sources.signatures[kernel] : undefined;
      if (signature === undefined)
        throw new ArgumentError(
          name,
          `a kernel of its definition, ${Object.keys(sources.signatures).join(', ')}`,
          kernel,
        );
      const operands = argumentsOf(name, kernel, signature, values, device);
      const launchGrid = gridOf(name, size);
      if (launchGrid.grid.includes(0)) return;
      const { c, cuda } = sources;
      if (device.kind === 'cuda' && cuda) device.load(cuda)[kernel](launchGrid, ...operands);
      else if (device.kind !== 'cuda' && c) device.load(c)[kernel](...operands);
      else
        throw new DeviceError(
          `[${name}] has no kernels for the device ${device.name}: its definition lacks the text ${device.kind === 'cuda' ? 'cuda' : 'c'}`,
        );
    },
  };
}

function argumentsOf(
  name: string,
  kernel: string,
  signature: string,
  values: readonly KernelArgument[],
  device: Device,
): number[] {
  const { parameters } = parseSignature(signature);
  if (!Array.isArray(values) || values.length !== parameters.length)
    throw new ArgumentError(
      name,
      `${parameters.length} arguments of ${kernel}, "${signature}"`,
      Array.isArray(values) ? `${values.length}` : describeValue(values),
    );
  return parameters.map((kind, i) => {
    const value: unknown = values[i];
    if (kind === 'ptr' && Tensor.is(value)) {
      if (value.device !== device)
        throw new DeviceError(
          `[${name}] expected argument ${i} of ${kernel} on ${device.name}, got ${value.device.name}`,
        );
      return value.address;
    }
    const fits = kind === 'ptr' ? value === 0 : kind === 'i32' ? kinds.int32.accepts(value) : typeof value === 'number';
    if (fits) return value as number;
    const expected =
      kind === 'ptr' ? 'a tensor, or 0 for none' : kind === 'i32' ? 'a whole number of 32 bits' : 'a number';
    throw new ArgumentError(name, `argument ${i} of ${kernel} to be ${expected}`, describeOperand(value));
  });
}

function gridOf(name: string, size: LaunchSize): LaunchGrid {
  if (!kinds.object.accepts(size)) throw new ArgumentError(name, '{ threads } or { grid, block }', describeValue(size));
  if (!('threads' in size)) return checkOptions<LaunchGrid>(name, size, gridOptions, ['grid', 'block']);
  if (!kinds.whole.accepts(size.threads) || size.threads >= 2 ** 31)
    throw new ArgumentError(name, 'a whole number of threads below 2^31', describeValue(size.threads));
  return perElement(size.threads);
}

/* @__NO_SIDE_EFFECTS__ */
function extents(least: number): Kind {
  const fits = (v: unknown[]) => v.length >= 1 && v.length <= 3 && v.every((n) => isWhole(n, least, 2 ** 31 - 1));
  return kind(`a list of one to three whole numbers >= ${least}`, (v) => Array.isArray(v) && fits(v));
}

const gridOptions: OptionKinds<LaunchGrid> = { grid: extents(0), block: extents(1), shared: kinds.whole };
