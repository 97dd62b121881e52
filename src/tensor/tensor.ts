// A tensor: a window of device memory with a shape and a dtype, contiguous and row-major. Images are [N, H, W, C],
// conv weights [Cout, kh, kw, Cin]. What it may carry of a gradient graph is known here only by interface.
import { inspect } from 'node:util';
import {
  checkOptions,
  describeValue,
  hostArray,
  isDetached,
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
} from '../errors.ts';
import { type Dtype, dtypes, requireFloating } from './dtype.ts';
import { formatTensor } from './format.ts';
import type { Scope } from './scope.ts';
import { type Shape, sameShape, sizeOf } from './shape.ts';
import { Storage } from './storage.ts';

/** What the autograd engine hangs on the output of an op. */
export interface GradientSource {
  readonly name: string;
  retain(): void;
  release(): void;
  backward(root: Tensor, cotangent: Tensor | undefined, options: BackwardOptions): void;
}

export interface BackwardOptions {
  /** Keep what the graph saved, for another backward; default false: freed as each op's backward has run. */
  retainGraph?: boolean;
}

const backwardOptions: OptionKinds<BackwardOptions> = { retainGraph: kinds.boolean };

/** Known to every copy of this package: a tensor of another copy is recognised, and refused by name. */
const BRAND = Symbol.for('rectiflow.Tensor');

/** A window of device memory with a shape and a dtype; made by `tensor`, `zeros` and the ops, freed by its scope or `dispose`. */
export class Tensor {
  /** For messages; a parameter's is its path in the module. */
  label: string | undefined;
  /** A parameter's values as bf16, which the optimiser keeps up to date. @internal */
  bf16: Tensor | null = null;
  /** The op that made it, while gradients may be asked through it. @internal */
  source: GradientSource | undefined;
  /** Which output of `source` this is. @internal */
  sourceOutput = 0;
  /** Set where the path to parameters ends in an op without a gradient: that op's reason. @internal */
  blocked: string | undefined;
  /** The scope that frees it. @internal */
  owner: Scope | undefined;
  // Kernels trust these, so nobody can change them from outside.
  readonly #storage: Storage;
  readonly #byteOffset: number;
  readonly #shape: Shape;
  readonly #dtype: Dtype;
  readonly #size: number;
  #requiresGrad = false;
  #grad: Tensor | null = null;
  #freed = false;

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

  /** Whether it is a tensor of this copy of the package. */
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

  /** First byte within the storage. @internal */
  get byteOffset(): number {
    return this.#byteOffset;
  }

  /** Accumulated gradient of a leaf after `backward`. Setting it takes a tensor of the same shape and device, or null. */
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

  /** Whether gradients are asked for it: a leaf that is marked so, or what an op computed from one. */
  get requiresGrad(): boolean {
    return this.#requiresGrad;
  }

  /** @throws ArgumentError, DtypeError for whole numbers; NotDifferentiableError for false on what an op computed */
  set requiresGrad(value: boolean) {
    if (typeof value !== 'boolean') throw new ArgumentError('requireGrad', 'true or false', describeValue(value));
    if (value) requireFloating('requireGrad', this.dtype);
    else if (this.source)
      throw new NotDifferentiableError(
        `${this.describe()} was computed from what requires a gradient and cannot give it up; compute it in noGrad()`,
      );
    this.#requiresGrad = value;
  }

  get rank(): number {
    return this.#shape.length;
  }

  get disposed(): boolean {
    return this.#freed;
  }

  /**
   * Where the first element lies, as a number of the device.
   * @throws UseAfterFreeError
   * @internal
   */
  get address(): number {
    this.assertAlive('an op');
    return this.#storage.address + this.#byteOffset;
  }

  /**
   * @throws UseAfterFreeError naming this tensor and what wanted it
   * @internal
   */
  assertAlive(user: string): void {
    if (this.#freed)
      throw new UseAfterFreeError(
        `${user} used ${this.describe()} after it was disposed; return it from its scope() or keep() it`,
      );
  }

  /** "tensor 'blocks.0.weight' f32 [3, 4]", for messages. @internal */
  describe(): string {
    const origin = this.label ? ` '${this.label}'` : this.source ? ` of ${this.source.name}` : '';
    return `tensor${origin} ${this.dtype} ${formatShape(this.shape)}`;
  }

  /** Its elements, once all enqueued work is done; bf16 and f16 as 16-bit patterns, bool as 0 and 1. */
  async data(): Promise<HostArray> {
    this.assertAlive('data()');
    await this.device.synchronize();
    return this.dataSync();
  }

  /** As `data`, blocking; native devices only. */
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
   * Replaces its elements by those of the host, for all tensors that share its memory. A graph that saved them refuses backward().
   * @param values as many as the tensor has, in the typed array of its dtype (Float32Array for f32); for bool everything but 0 is 1
   * @throws ArgumentError for another array or another number of elements
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
   * Marks a leaf whose gradient `backward` shall accumulate in `grad`. Returns this.
   * @throws ArgumentError, DtypeError for whole numbers; NotDifferentiableError for false on what an op computed
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

  /** Frees its memory unless other tensors share it; safe to call twice. */
  dispose(): void {
    if (this.#freed) return;
    this.#freed = true;
    this.owner = undefined;
    this.source?.release();
    this.grad?.dispose();
    this.bf16?.dispose();
    this.#storage.release();
  }

  /** For `using t = ...`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Shape, dtype and elements, the middle of long axes left out. */
  toString(): string {
    return this.#freed ? `${this.describe()} (disposed)` : formatTensor(this);
  }

  /** For console.log. */
  [inspect.custom](): string {
    return this.toString();
  }
}

/**
 * @param what the words for a message: "a tensor", "a bias"
 * @throws ArgumentError for anything but a tensor of this copy of the package
 */
export function requireTensor(op: string, value: unknown, what = 'a tensor'): asserts value is Tensor {
  if (Tensor.is(value)) return;
  throw new ArgumentError(op, what, describeOperand(value));
}

/** A loop, since every tensor that is made comes by here. */
function areDimensions(shape: Shape): boolean {
  for (const dim of shape) if (!(dim >= 0 && Number.isInteger(dim))) return false;
  return true;
}

/** The kind of an option that holds a tensor. */
export const tensorKind: Kind = { expected: 'a tensor', accepts: Tensor.is };

/** As describeValue, for what may be a tensor; one of another copy of this package is named as such. */
export function describeOperand(value: unknown): string {
  if (Tensor.is(value)) return value.describe();
  const foreign = typeof value === 'object' && value !== null && BRAND in value;
  return foreign
    ? 'a tensor of another copy of rectiflow (two installations, or its source beside its build, cannot share tensors)'
    : describeValue(value);
}
