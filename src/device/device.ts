// The interface of a device: memory, compiled kernels, and a queue of work. A device knows nothing about ops, shapes or gradients.
// Addresses are opaque numbers that only their device understands. Work is enqueued in order; reads wait for it.
import { kind } from '../arguments.ts';
import { nearestName } from '../errors.ts';
import type { AnyModule, CudaLaunchers, CudaModule, KernelModule, Launchers } from './module.ts';

export type HostArray = Float32Array | Float64Array | Int32Array | Uint32Array | Uint16Array | Uint8Array;

export interface MemoryFigures {
  /** Bytes that tensors use now. */
  live: number;
  /** Peak bytes in use since the last reset. */
  highWater: number;
  /** Bytes taken from the system, including those kept for reuse. */
  reserved: number;
}

/** Work that was recorded once and can be replayed on the same memory. */
export interface Recording extends Disposable {
  /** Enqueues all of it. */
  replay(): void;
}

/** Reads of some bytes of device memory that do not wait for work which is enqueued after them. */
export interface LateReads extends Disposable {
  /**
   * Enqueues a read.
   * @returns a function that waits for it and returns the bytes; it must be called before `read` has been called two more times
   */
  read(address: number): () => Uint8Array;
}

export interface CompileProgress {
  done: number;
  total: number;
  module: string;
}

/**
 * How convolutions, matrix products and attention multiply, and what networks store. `fp32`: exact f32. `tf32`: f32 with the
 * factors rounded to 10 bits of mantissa, on tensor cores. `bf16`: networks store activations and copies of their weights in
 * bfloat16; products of f32 tensors stay exact.
 */
export const precisions = ['fp32', 'tf32', 'bf16'] as const;
export type Precision = (typeof precisions)[number];

/**
 * Tensor maps: descriptions of bf16 tensors for the card's copy engine (TMA). A tile has 128 bytes of each row, that is 64 columns
 * or channels, swizzled. Each method returns a host address for a kernel argument `map`. The address is valid until a thousand
 * other maps have been requested; a launch keeps its own copy. Tensors must begin at multiples of 16 bytes.
 */
export interface TensorMaps {
  /** Tiles of `count` rows of a matrix. */
  rows(address: number, shape: readonly [rows: number, columns: number], count: number): number;
  /**
   * Tiles of `count` patches of images [N, H, W, C], one pixel of each patch. Patches start between the pixel `lower` (vertical
   * first) and the last pixel plus `upper`: -padding and padding - (kernel - 1).
   */
  patches(
    address: number,
    shape: readonly number[],
    lower: readonly [number, number],
    upper: readonly [number, number],
    count: number,
  ): number;
  /** An array of at most 32 maps for an argument `maps:N`; valid until the next call. */
  together(maps: readonly number[]): number;
}

/** Which of the fast builds of kernels a card runs: see fast_builds.ts. */
export interface FastBuilds {
  /**
   * @param builds that can do the work
   * @param usual the one that was chosen among them by shape
   * @returns the build to launch; undefined where its twin serves in its place
   */
  choose<Build extends { readonly module: CudaModule }>(builds: readonly Build[], usual: Build): Build | undefined;
}

/** Names of devices. Groups: the kind, unless it is cuda; the number of the card. */
export const deviceNames = /^(?:(cpu|wasm)|cuda(?::(\d+))?)$/;

/** The device that another name probably means: "gpu" is cuda. */
export function nearestDevice(name: string): string | undefined {
  if (/^(gpu|nvidia)/i.test(name)) return 'cuda';
  return nearestName(name.replace(/:.*/, ''), ['cpu', 'wasm', 'cuda']);
}

export interface Device {
  readonly kind: 'cpu' | 'cuda' | 'wasm';
  /** The name given to openDevice: 'cpu', 'cuda:1'. */
  readonly name: string;
  /** Always fp32 on the CPU. */
  readonly precision: Precision;
  /** Whether ops compute on bf16 activations. Elsewhere bf16 is for storage only. */
  readonly computesBf16: boolean;
  /**
   * Whether every convolution is a direct sum. If false, 3x3 convolutions may use Winograd's algorithm on the CPU and in
   * WebAssembly: faster, with about ten times the rounding error of a direct sum. Always true on CUDA.
   */
  readonly exact: boolean;
  /** A short description for people. */
  readonly description: string;
  /**
   * Bytes of a CUDA device's memory. Absent on other devices, whose tensors are in the machine's memory.
   * @internal
   */
  readonly totalMemory?: number;
  /**
   * The maximum number of workers that run tasks of a kernel at once; per-worker scratch memory is sized by it.
   * @internal
   */
  readonly workers: number;
  /** Present on CUDA devices of sm_90a, whose kernels read through tensor maps. @internal */
  readonly tensorMaps?: TensorMaps;
  /** Absent where every build is used as it is. @internal */
  readonly fastBuilds?: FastBuilds;

  /**
   * Wraps work of the host, a function of a number, as something to enqueue: it is done in its place among the kernels, also when they are
   * replayed. Absent on devices that do not run in the calling thread.
   * @internal
   */
  hostWork?(name: string, work: (value: number) => void): (value: number) => void;

  /**
   * @throws DeviceError when no memory is left.
   * @internal
   */
  allocate(bytes: number): number;
  /**
   * Frees memory for reuse.
   * @throws DeviceError for an address that is not allocated
   * @internal
   */
  free(address: number): void;
  /** Copies all of `source` from the host to the device. @internal */
  upload(address: number, source: HostArray): void;
  /** Copies from the device to the host after all enqueued work is done. @internal */
  download(address: number, target: HostArray): void;
  /**
   * Memory for reads of `bytes` that return their values later. Absent where work is done when it is enqueued.
   * @internal
   */
  lateReads?(bytes: number): LateReads;
  /** Copies within the device. @internal */
  copy(target: number, source: number, bytes: number): void;
  /** Sets every byte to `byte`. @internal */
  fill(address: number, bytes: number, byte: number): void;

  /**
   * The kernels of a module, compiled at first use.
   * @throws CompileError, DeviceError for a module of another device
   * @internal
   */
  load<Names extends string>(module: KernelModule<Names>): Launchers<Names>;
  /** The same for CUDA modules; the launchers take a grid first and return nothing. @internal */
  load<Names extends string>(module: CudaModule<Names>): CudaLaunchers<Names>;
  /** Compiles the modules that are written for this device before their first use. @internal */
  prepare(modules: readonly AnyModule[], onProgress?: (progress: CompileProgress) => void): Promise<void>;
  /**
   * The address of an int32 table (strides, sizes) with these values; uploaded once and kept for the device's lifetime.
   * @internal
   */
  table(values: readonly number[]): number;

  /**
   * Records what `work` enqueues without running it. Memory that `work` allocates belongs to the recording until it is disposed.
   * Launch arguments are fixed at recording time; everything that changes between replays must be read from device memory that
   * existed before.
   * @throws RecordingError, naming the last kernel, if `work` reads values back, uploads values, compiles, or frees memory that was
   * allocated before the recording
   * @param expectedBytes estimated peak memory of `work`, reserved in one piece to avoid fragmentation
   * @internal
   */
  record(work: () => void, expectedBytes?: number): Recording;
  /**
   * Milliseconds that the device needs for what `work` enqueues; waits for it. Absent where the host's clock suffices.
   * @internal
   */
  time?(work: () => void): number;
  /**
   * Median milliseconds of each kernel that `work` enqueues, recorded and replayed; gaps are included. Absent where the host's clock
   * suffices.
   * @throws RecordingError like `record`
   * @internal
   */
  profile?(work: () => void, replays: number): { kernel: string; milliseconds: number }[];
  /** Waits for all work enqueued so far. */
  synchronize(): Promise<void>;
  /** Memory that all tensors of this thread use on this device. */
  memory(): MemoryFigures;
  /** Resets `highWater` to the bytes in use now. */
  resetHighWater(): void;
  /**
   * Returns memory that is kept for reuse to the system. WebAssembly's memory cannot shrink: there it becomes free for tensors of
   * other sizes.
   * @returns how many bytes that were
   */
  trim(): number;
}

const devices = new WeakSet<object>();

/** Every device registers itself when it is created, so that look-alike objects are refused as arguments. */
export function registerDevice(device: Device): void {
  devices.add(device);
}

/** The kind of an option that holds a device. */
export const deviceKind = kind('a device that openDevice() returned', (value) => {
  return typeof value === 'object' && value !== null && devices.has(value);
});
