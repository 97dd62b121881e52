// A tensor: a window of device memory with a shape and a dtype, contiguous and row-major. Images are [N, H, W, C],
// conv weights [Cout, kh, kw, Cin]. This file knows the gradient graph only through the interface GradientSource.
import {
  checkArgument,
  checkOptions,
  describeValue,
  hostArray,
  isDetached,
  isWhole,
  type Kind,
  kinds,
  type OptionKinds,
  plainArray,
} from '../arguments.ts';
import type { Device, HostArray } from '../device/device.ts';
import {
  ArgumentError,
  formatShape,
  NotDifferentiableError,
  RecordingError,
  ShapeError,
  UseAfterFreeError,
  ValueError,
} from '../errors.ts';
import { type Dtype, dtypes, requireFloating } from './dtype.ts';
import { formatTensor } from './format.ts';
import type { Scope } from './scope.ts';
import { type Shape, sameShape, sizeOf } from './shape.ts';
import { Storage } from './storage.ts';

/** What the autograd engine attaches to the output of an op. */
export interface GradientSource {
  readonly name: string;
  retain(): void;
  release(): void;
  backward(root: Tensor, cotangent: Tensor | undefined, options: BackwardOptions): void;
  /** The hooks of each output. */
  readonly hooks: Map<number, Set<GradientHook>>;
}

/**
 * Receives the gradient of a tensor, summed over its uses, when backward() or gradients() has computed it. A tensor of the
 * same shape and dtype that it returns takes the place of the gradient.
 */
export type GradientHook = (gradient: Tensor) => Tensor | undefined;

/** What forward mode attaches to a tensor: its tangents, freed with it. */
export interface TangentHolder {
  dispose(): void;
}

export interface BackwardOptions {
  /** Keep the saved tensors of the graph for another backward; by default each op's are freed once its rule has run. */
  retainGraph?: boolean;
}

const backwardOptions: OptionKinds<BackwardOptions> = { retainGraph: kinds.boolean };

/**
 * Shared by every copy of this package, so that a tensor of another copy is recognised and rejected with a clear
 * message.
 */
const BRAND = Symbol.for('rectiflow.Tensor');

/**
 * A window of device memory with a shape and a dtype; made by `tensor`, `zeros` and the ops, freed by its scope or
 * `dispose`.
 * @example
 * const x = tensor([[1, 2], [3, 4]], { requiresGrad: true });
 * x instanceof Tensor; // true
 * x.shape; // [2, 2]
 * sum(square(x)).backward();
 * x.grad; // [[2, 4], [6, 8]]
 * await x.data(); // [1, 2, 3, 4]
 * x.dispose();
 */
export class Tensor {
  /** A name for messages; for a parameter, its path in the module. */
  label: string | undefined;
  /** For a parameter: a bf16 copy of its values, which the optimiser keeps in sync. @internal */
  bf16: Tensor | null = null;
  /** The op that made it, as long as gradients can flow through that op. @internal */
  source: GradientSource | undefined;
  /** Which output of `source` this is. @internal */
  sourceOutput = 0;
  /** Set if an op without a gradient cuts the path to the parameters: why that op has none. @internal */
  blocked: string | undefined;
  /** For a leaf: what registerHook() added. @internal */
  leafHooks: Set<GradientHook> | undefined;
  /** Its tangents in the calls of jvp() that are running. @internal */
  tangents: TangentHolder | undefined;
  /** The scope that frees it. @internal */
  owner: Scope | undefined;
  // Private, because kernels rely on these values without checking them.
  readonly #storage: Storage;
  readonly #byteOffset: number;
  readonly #shape: Shape;
  readonly #dtype: Dtype;
  readonly #size: number;
  #requiresGrad = false;
  #grad: Tensor | null = null;
  #freed = false;
  #clearedAt = -1;

  /** Takes over one reference to `storage`. @internal */
  constructor(storage: Storage, byteOffset: number, shape: Shape, dtype: Dtype) {
    if (!(storage instanceof Storage))
      throw new ArgumentError(
        'Tensor',
        'memory of a device (tensors are made by tensor(), zeros() and the ops)',
        describeValue(storage),
      );
    if (!Array.isArray(shape)) throw new ArgumentError('Tensor', 'a shape', describeValue(shape));
    if (!Object.hasOwn(dtypes, dtype)) throw new ArgumentError('Tensor', 'a dtype', describeValue(dtype));
    this.#storage = storage;
    this.#byteOffset = byteOffset;
    this.#shape = Object.isFrozen(shape) ? shape : Object.freeze([...shape]);
    this.#dtype = dtype;
    this.#size = sizeOf(this.#shape);
    const end = byteOffset + this.#size * dtypes[dtype].bytes;
    if (!(byteOffset >= 0 && end <= storage.bytes && areDimensions(this.#shape)))
      throw new ShapeError(
        'Tensor',
        `a window within memory of ${storage.bytes} bytes`,
        `${dtype} ${formatShape(this.#shape)} at byte ${byteOffset}`,
      );
  }

  /** Whether `value` is a tensor of this copy of the package. */
  static is(value: unknown): value is Tensor {
    return typeof value === 'object' && value !== null && #storage in value;
  }

  /** Marks tensors of every copy of this package. @internal */
  get [BRAND](): true {
    return true;
  }

  get shape(): Shape {
    return this.#shape;
  }

  get dtype(): Dtype {
    return this.#dtype;
  }

  /** Number of elements. */
  get size(): number {
    return this.#size;
  }

  /** The memory in which it is a window. @internal */
  get storage(): Storage {
    return this.#storage;
  }

  /** For a gradient: whether it counts as 0, because nothing has been added since its optimiser's update. @internal */
  get isCleared(): boolean {
    return this.#clearedAt === this.#storage.writes;
  }

  /** @internal */
  set isCleared(cleared: boolean) {
    this.#clearedAt = cleared ? this.#storage.writes : -1;
  }

  /** First byte within the storage. @internal */
  get byteOffset(): number {
    return this.#byteOffset;
  }

  /**
   * Accumulated gradient of a leaf after `backward`. It can be set to a tensor of the same shape and device, or to
   * null.
   */
  get grad(): Tensor | null {
    return this.#grad;
  }

  set grad(value: Tensor | null) {
    if (value !== null) {
      requireTensor('grad', value, 'a gradient');
      value.assertAlive('grad');
      requireFloating('grad', value.dtype);
      if (!sameShape(value.shape, this.#shape) || value.device !== this.device)
        throw new ShapeError('grad', `a gradient ${formatShape(this.#shape)} on ${this.device.name}`, value.describe());
    }
    this.#grad = value;
  }

  get device(): Device {
    return this.#storage.device;
  }

  /**
   * Whether gradients are computed for it: true for a leaf marked by `requireGrad`, and for results computed from one.
   */
  get requiresGrad(): boolean {
    return this.#requiresGrad;
  }

  /** @throws ArgumentError; DtypeError for an integer dtype; NotDifferentiableError for false on the result of an op */
  set requiresGrad(value: boolean) {
    if (typeof value !== 'boolean') throw new ArgumentError('requireGrad', 'true or false', describeValue(value));
    if (value) requireFloating('requireGrad', this.dtype);
    else if (this.source)
      throw new NotDifferentiableError(
        `${this.describe()} was computed from a tensor that requires a gradient; compute it in noGrad() instead`,
      );
    this.#requiresGrad = value;
  }

  get rank(): number {
    return this.#shape.length;
  }

  get disposed(): boolean {
    return this.#freed;
  }

  /** Device address of the first element. @throws UseAfterFreeError @internal */
  get address(): number {
    this.assertAlive('an op');
    return this.#storage.address + this.#byteOffset;
  }

  /** @throws UseAfterFreeError naming this tensor and `user`, the op that needs it @internal */
  assertAlive(user: string): void {
    if (this.#freed)
      throw new UseAfterFreeError(
        `${user} used ${this.describe()} after it was disposed; return it from its scope() or keep() it`,
      );
  }

  /** A description for messages, such as "tensor 'blocks.0.weight' f32 [3, 4]". @internal */
  describe(): string {
    const origin = this.label ? ` '${this.label}'` : this.source ? ` of ${this.source.name}` : '';
    return `tensor${origin} ${this.dtype} ${formatShape(this.shape)}`;
  }

  /** Copies the elements to the host after all enqueued work; bf16 and f16 come as 16-bit patterns, bool as 0 and 1. */
  async data(): Promise<HostArray> {
    this.assertAlive('data()');
    await this.device.synchronize();
    return this.dataSync();
  }

  /** Like `data`, but blocking. Only native devices support it. */
  dataSync(): HostArray {
    this.assertAlive('data()');
    const target = hostArray<HostArray>('data', dtypes[this.dtype].array, this.size);
    try {
      this.device.download(this.address, target);
    } catch (error) {
      if (!(error instanceof RecordingError)) throw error;
      throw new RecordingError(`${this.describe()}: ${error.message}`, { cause: error });
    }
    return target;
  }

  /**
   * Overwrites its elements, for all tensors that share its memory. backward() of a graph that saved them then throws.
   * @param values one per element, in the typed array of its dtype (Float32Array for f32); for bool, any value but 0
   * counts as 1
   * @throws ArgumentError for an array of another type or length
   */
  write(values: HostArray): void {
    this.assertAlive('write()');
    const { array } = dtypes[this.dtype];
    const plain = plainArray<HostArray>(values, array);
    if (!plain || plain.length !== this.size || isDetached(plain))
      throw new ArgumentError('write', `a ${array.name} of ${this.size} for ${this.describe()}`, describeValue(values));
    const isBool = this.dtype === 'bool';
    this.device.upload(this.address, isBool ? Uint8Array.from(plain, (value) => (value === 0 ? 0 : 1)) : plain);
    this.#storage.markWritten();
  }

  /** The one element of a tensor of size 1. */
  item(): number {
    if (this.size !== 1) throw new ShapeError('item', 'a tensor of one element', formatShape(this.shape));
    return this.dataSync()[0];
  }

  /**
   * Marks a leaf, so that `backward` accumulates its gradient in `grad`. Returns this.
   * @throws ArgumentError; DtypeError for an integer dtype; NotDifferentiableError for false on the result of an op
   */
  requireGrad(value = true): this {
    this.requiresGrad = value;
    return this;
  }

  /**
   * Accumulates d(this)/d(leaf) in `grad` of every leaf that requires it.
   * @param cotangent same shape; may be left out for a tensor of one element (then 1)
   */
  backward(cotangent?: Tensor, options: BackwardOptions = {}): void {
    this.assertAlive('backward()');
    const checked = checkOptions('backward', options, backwardOptions);
    if (!this.source) {
      const reason = this.requiresGrad
        ? 'it is a leaf; begin at what was computed from it'
        : 'nothing it was made from requires a gradient';
      throw new NotDifferentiableError(this.blocked ?? `backward() of ${this.describe()}: ${reason}`);
    }
    this.source.backward(this, cotangent, checked);
  }

  /**
   * Calls `hook` with the gradient of this tensor in each backward pass, as PyTorch's register_hook does: to look at a
   * gradient, or to clip, scale or replace it. Hooks run untraced, in the order in which they were added.
   * @returns a handle that removes the hook
   * @throws NotDifferentiableError for a tensor that requires no gradient
   * @example
   * const x = tensor([1, 2], { requiresGrad: true });
   * const handle = x.registerHook((gradient) => clamp(gradient, { max: 3 }));
   * sum(square(x)).backward();
   * x.grad; // [2, 3]
   * handle.remove();
   */
  registerHook(hook: GradientHook): HookHandle {
    checkArgument('registerHook', 'hook', hook, kinds.callback);
    this.assertAlive('registerHook()');
    if (!this.#requiresGrad)
      throw new NotDifferentiableError(this.blocked ?? `[registerHook] ${this.describe()} does not require a gradient`);
    if (!this.source) this.leafHooks ??= new Set<GradientHook>();
    const hooks = this.leafHooks ?? getOrInsert((this.source as GradientSource).hooks, this.sourceOutput);
    // The same function may be added twice.
    const own: GradientHook = (gradient) => hook(gradient);
    hooks.add(own);
    const remove = () => {
      hooks.delete(own);
    };
    return { remove, [Symbol.dispose]: remove };
  }

  /** Frees its memory unless other tensors share it; safe to call twice. */
  dispose(): void {
    if (this.#freed) return;
    this.#freed = true;
    this.owner = undefined;
    this.source?.release();
    this.tangents?.dispose();
    this.grad?.dispose();
    this.bf16?.dispose();
    this.#storage.release();
  }

  /** For `using t = ...`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Shape, dtype and elements; the middle of long axes is left out. */
  toString(): string {
    return this.#freed ? `${this.describe()} (disposed)` : formatTensor(this);
  }

  /** For console.log. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

/** Removes what it was returned for. */
export interface HookHandle extends Disposable {
  /** Removes the hook; safe to call twice. */
  remove(): void;
}

function getOrInsert(map: Map<number, Set<GradientHook>>, key: number): Set<GradientHook> {
  const known = map.get(key) ?? new Set<GradientHook>();
  map.set(key, known);
  return known;
}

/**
 * @param what what the message says was expected: "a tensor", "a bias"
 * @throws ArgumentError for anything but a tensor of this copy of the package
 */
export function requireTensor(op: string, value: unknown, what = 'a tensor'): asserts value is Tensor {
  if (Tensor.is(value)) return;
  throw new ArgumentError(op, what, describeOperand(value));
}

/**
 * The result of a function that returns a tensor or a list of tensors, as a list.
 * @throws ValueError for any other result
 */
export function tensorsOf(op: string, result: unknown): Tensor[] {
  const list: unknown[] = Array.isArray(result) ? result : [result];
  if (list.length > 0 && list.every((t) => Tensor.is(t))) return list;
  const got = list.length === 0 ? 'an empty list' : describeOperand(list.find((t) => !Tensor.is(t)));
  throw new ValueError(`[${op}] expected a function that returns a tensor or a list of tensors, got ${got}`);
}

/** A plain loop for speed, because this runs for every new tensor. */
function areDimensions(shape: Shape): boolean {
  for (const dim of shape) if (!isWhole(dim)) return false;
  return true;
}

/** The kind of an option that holds a tensor. */
export const tensorKind: Kind = { expected: 'a tensor', accepts: Tensor.is };

/** Like describeValue, but also describes tensors, and says when one comes from another copy of this package. */
export function describeOperand(value: unknown): string {
  if (Tensor.is(value)) return value.describe();
  const foreign = typeof value === 'object' && value !== null && BRAND in value;
  return foreign
    ? 'a tensor of another copy of rectiflow (two installations, or its source next to its build, cannot share tensors)'
    : describeValue(value);
}
