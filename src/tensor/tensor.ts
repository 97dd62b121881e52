// A tensor: a window of device memory with a shape and a dtype, contiguous and row-major. Images are [N, H, W, C],
// conv weights [Cout, kh, kw, Cin]. What it may carry of a gradient graph is known here only by interface.
import { inspect } from 'node:util';
import type { Device, HostArray } from '../device/device.ts';
import { formatShape, NotDifferentiableError, RecordingError, ShapeError, UseAfterFreeError } from '../errors.ts';
import { type Dtype, dtypes, requireFloating } from './dtype.ts';
import { formatTensor } from './format.ts';
import type { Scope } from './scope.ts';
import { type Shape, sizeOf } from './shape.ts';
import type { Storage } from './storage.ts';

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

/** A window of device memory with a shape and a dtype; made by `tensor`, `zeros` and the ops, freed by its scope or `dispose`. */
export class Tensor {
  readonly shape: Shape;
  readonly dtype: Dtype;
  readonly size: number;
  readonly storage: Storage;
  /** First byte within the storage. */
  readonly byteOffset: number;
  /** For messages; a parameter's is its path in the module. */
  label: string | undefined;
  /** Accumulated gradient of a leaf after `backward`. */
  grad: Tensor | null = null;
  /** Of a parameter: its values as bf16, which the optimiser keeps up to date. */
  bf16: Tensor | null = null;
  /** The op that made it, while gradients may be asked through it. */
  source: GradientSource | undefined;
  /** Which output of `source` this is. */
  sourceOutput = 0;
  /** Set where the path to parameters ends in an op without a gradient: that op's reason. */
  blocked: string | undefined;
  owner: Scope | undefined;
  private freed = false;
  #requiresGrad = false;

  /** Takes over one reference to `storage`. */
  constructor(storage: Storage, byteOffset: number, shape: Shape, dtype: Dtype) {
    this.storage = storage;
    this.byteOffset = byteOffset;
    this.shape = shape;
    this.dtype = dtype;
    this.size = sizeOf(shape);
  }

  get device(): Device {
    return this.storage.device;
  }

  /** Whether gradients are asked for it: a leaf that is marked so, or what an op computed from one. */
  get requiresGrad(): boolean {
    return this.#requiresGrad;
  }

  /** @throws DtypeError for whole numbers; NotDifferentiableError for false on what an op computed */
  set requiresGrad(value: boolean) {
    if (value) requireFloating('requireGrad', this.dtype);
    else if (this.source)
      throw new NotDifferentiableError(
        `${this.describe()} was computed from what requires a gradient and cannot give it up; compute it in noGrad()`,
      );
    this.#requiresGrad = value;
  }

  get rank(): number {
    return this.shape.length;
  }

  get disposed(): boolean {
    return this.freed;
  }

  /** Where the first element lies, as a number of the device. @throws UseAfterFreeError */
  get address(): number {
    this.assertAlive('an op');
    return this.storage.address + this.byteOffset;
  }

  /** @throws UseAfterFreeError naming this tensor and what wanted it */
  assertAlive(user: string): void {
    if (this.freed)
      throw new UseAfterFreeError(
        `${user} used ${this.describe()} after it was disposed; return it from its scope() or keep() it`,
      );
  }

  /** "tensor 'blocks.0.weight' f32 [3, 4]", for messages. */
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
    const target = new dtypes[this.dtype].array(this.size);
    this.assertAlive('data()');
    try {
      this.device.download(this.address, target);
    } catch (error) {
      if (!(error instanceof RecordingError)) throw error;
      throw new RecordingError(`${this.describe()}: ${error.message}`, { cause: error });
    }
    return target;
  }

  /** The one element of a tensor of size 1. */
  item(): number {
    if (this.size !== 1) throw new ShapeError('item', 'a tensor of one element', formatShape(this.shape));
    return this.dataSync()[0];
  }

  /**
   * Marks a leaf whose gradient `backward` shall accumulate in `grad`. Returns this.
   * @throws DtypeError for whole numbers; NotDifferentiableError for false on what an op computed
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
    if (!this.source) {
      const reason = this.requiresGrad
        ? 'it is a leaf; begin at what was computed from it'
        : 'nothing it was made from requires a gradient';
      throw new NotDifferentiableError(this.blocked ?? `backward() of ${this.describe()}: ${reason}`);
    }
    this.source.backward(this, cotangent, options);
  }

  /** Frees its memory unless other tensors share it; safe to call twice. */
  dispose(): void {
    if (this.freed) return;
    this.freed = true;
    this.owner = undefined;
    this.source?.release();
    this.grad?.dispose();
    this.bf16?.dispose();
    this.storage.release();
  }

  /** For `using t = ...`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Shape, dtype and elements, the middle of long axes left out. */
  toString(): string {
    return this.freed ? `${this.describe()} (disposed)` : formatTensor(this);
  }

  /** For console.log. */
  [inspect.custom](): string {
    return this.toString();
  }
}
