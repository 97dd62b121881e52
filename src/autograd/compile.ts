// compile(): a function that is recorded once for each set of input shapes, and replayed as one piece of work.
import { checkArgument, checkOptions, describeValue, kinds, type OptionKinds, refuseExtra } from '../arguments.ts';
import type { Device, Recording } from '../device/device.ts';
import { ArgumentError, NotDifferentiableError, RecordingError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { dtypes } from '../tensor/dtype.ts';
import { keep, scope } from '../tensor/scope.ts';
import { requireTensor, Tensor } from '../tensor/tensor.ts';
import { alias, view } from '../tensor/view.ts';
import { activeLevels, isChecking } from './mode.ts';

export interface CompileOptions {
  /** How many recordings, for different shapes, are kept; the least recently used is freed first. Default 8. */
  maxShapes?: number;
}

const compileOptions: OptionKinds<CompileOptions> = { maxShapes: kinds.count };

/** A compiled function. It holds memory until it is disposed. */
export interface CompiledFunction<Inputs extends readonly Tensor[], Output> extends Disposable {
  (...inputs: Inputs): Output;
  /** Frees all recordings. */
  dispose(): void;
}

/** Whether a function is being recorded: a compiled function that it calls runs op by op, as part of the recording. */
let recording = false;

/** The recording for one set of shapes, and the memory that it reads and writes. */
interface Replay {
  recording: Recording;
  inputs: Tensor[];
  /** In the structure of the function's result. */
  output: unknown;
}

/**
 * `fn`, recorded and replayed. The first call with inputs of some shapes runs `fn` op by op, which compiles its kernels; the
 * second records what `fn` enqueues; each later call copies the inputs into the recording's memory and replays it, with the
 * same bits and without the JavaScript of the ops. On CUDA a replay is one graph launch. Small networks gain most.
 *
 * What `fn` reads besides its inputs (parameters, constants) is read from its memory at each replay, so updated weights are
 * used. Everything in JavaScript is fixed at the recording: numbers, branches, the seeds of random draws (give a Counter as
 * their `origin` to draw new numbers). `fn` may call backward(), which adds to the gradients of parameters. An input that
 * requires a gradient is a leaf inside `fn`; gradients() computes its gradient, as backward() cannot. Results carry no
 * gradient. Inside checkFinite(), jvp() and the recording of another compiled function, `fn` runs op by op.
 * @param fn synchronous; takes tensors and returns tensors in lists and plain objects, or nothing
 * @returns the compiled function; dispose it, or declare it with `using`, to free its memory
 * @throws RecordingError, from the second call on, if `fn` reads values back, writes values of the host, or frees memory
 * that it did not allocate; ArgumentError for a result that holds anything but tensors; NotDifferentiableError if backward()
 * reaches an input
 * @example
 * const network = (x) => softmax(matmul(x, ones([2, 2])));
 * const predict = compile((x) => noGrad(() => network(x)));
 * predict(tensor([[1, 2], [3, 4]])); // [[0.5, 0.5], [0.5, 0.5]]
 */
export function compile<Inputs extends Tensor[], Output>(
  fn: (...inputs: Inputs) => Output,
  options?: CompileOptions,
): CompiledFunction<Inputs, Output>;
export function compile<Inputs extends Tensor[], Output>(
  fn: (...inputs: Inputs) => Output,
  options: CompileOptions = {},
  ...extra: unknown[]
): CompiledFunction<Inputs, Output> {
  refuseExtra('compile', extra);
  checkArgument('compile', 'fn', fn, kinds.callback);
  const { maxShapes = 8 } = checkOptions('compile', options, compileOptions);
  /** By device and shapes, the least recently used first; 'met' after the first call. */
  const known = new Map<string, Replay | 'met'>();

  const forget = (key: string) => {
    const replay = known.get(key);
    known.delete(key);
    if (replay !== undefined && replay !== 'met') free(replay);
  };
  const call = (...inputs: Inputs): Output => {
    const device = checkInputs(inputs);
    if (recording || isChecking() || activeLevels().length > 0) return fn(...inputs);
    const key = inputs.map((t) => `${t.device.name} ${t.dtype} ${t.shape} ${t.requiresGrad}`).join();
    const state = known.get(key);
    known.delete(key);
    if (state === undefined) {
      if (known.size >= maxShapes) forget(known.keys().next().value as string);
      known.set(key, 'met');
      return scope(() => {
        const leaves = inputs.map((t) => view(t, t.shape).requireGrad(t.requiresGrad));
        return mapTensors(runOn(fn, leaves), detached);
      }) as Output;
    }
    const replay = state === 'met' ? record(fn, inputs, device) : state;
    known.set(key, replay);
    replay.inputs.forEach((t, i) => {
      copyInto(t, inputs[i]);
    });
    replay.recording.replay();
    return scope(() => mapTensors(replay.output, copyOf)) as Output;
  };
  const dispose = () => {
    for (const key of [...known.keys()]) forget(key);
  };
  return Object.assign(call, { dispose, [Symbol.dispose]: dispose });
}

function checkInputs(inputs: readonly Tensor[]): Device {
  if (inputs.length === 0) throw new ArgumentError('compile', 'at least one input tensor', 'none');
  for (const input of inputs) {
    requireTensor('compile', input, 'inputs that are tensors');
    input.assertAlive('[compile]');
    if (input.device !== inputs[0].device)
      throw new ArgumentError('compile', `inputs on one device, ${inputs[0].device.name}`, input.device.name);
  }
  return inputs[0].device;
}

/** Calls `fn` with leaves that stand for the inputs. */
function runOn<Inputs extends Tensor[]>(fn: (...inputs: Inputs) => unknown, leaves: readonly Tensor[]): unknown {
  const result = fn(...(leaves as Inputs));
  const reached = leaves.findIndex((t) => t.grad);
  if (reached >= 0)
    throw new NotDifferentiableError(
      `[compile] expected no backward() that reaches input ${reached}, because a replay has no access to its grad; return gradients() of it`,
    );
  return result;
}

function record<Inputs extends Tensor[]>(fn: (...inputs: Inputs) => unknown, inputs: Inputs, device: Device): Replay {
  const own = inputs.map(({ shape, dtype, requiresGrad }) => keep(allocate(shape, { device, dtype, requiresGrad })));
  const held: Tensor[] = [...own];
  try {
    let output: unknown;
    const recorded = device.record(() => {
      recording = true;
      scope(() => {
        output = mapTensors(runOn(fn, own), (t) => {
          const handle = alias(t);
          if (t.requiresGrad) handle.blocked = NO_GRADIENT;
          held.push(handle);
          return handle;
        });
      });
    });
    return { recording: recorded, inputs: own, output };
  } catch (error) {
    for (const t of held) t.dispose();
    if (!(error instanceof RecordingError)) throw error;
    throw new RecordingError(`[compile] the function cannot be recorded: ${error.message}`, { cause: error });
  } finally {
    recording = false;
  }
}

function free({ recording, inputs, output }: Replay): void {
  recording[Symbol.dispose]();
  for (const t of inputs) t.dispose();
  mapTensors(output, (t) => {
    t.dispose();
    return t;
  });
}

/** The same structure with `f` applied to each tensor. @throws ArgumentError for anything else in it */
function mapTensors(value: unknown, f: (t: Tensor) => Tensor, path = 'the result'): unknown {
  if (value === undefined) return undefined;
  if (Tensor.is(value)) return f(value);
  if (Array.isArray(value)) return value.map((item, i) => mapTensors(item, f, `${path}[${i}]`));
  const plain = typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  if (!plain)
    throw new ArgumentError(
      'compile',
      'a function that returns tensors in lists and plain objects',
      `${path}: ${describeValue(value)}`,
    );
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapTensors(item, f, `${path}.${key}`)]));
}

const NO_GRADIENT =
  '[compile] has no gradient: results are replayed; call backward() or gradients() inside the function';

/** A view without a graph, as a replay returns it. */
function detached(t: Tensor): Tensor {
  const own = view(t, t.shape);
  if (t.requiresGrad) own.blocked = NO_GRADIENT;
  return own;
}

function copyOf(t: Tensor): Tensor {
  const copy = allocate(t.shape, { device: t.device, dtype: t.dtype });
  copyInto(copy, t);
  copy.blocked = t.blocked;
  return copy;
}

function copyInto(target: Tensor, source: Tensor): void {
  if (source.size > 0) target.device.copy(target.address, source.address, source.size * dtypes[source.dtype].bytes);
}
