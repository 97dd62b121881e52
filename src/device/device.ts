// What a device is: memory, compiled kernels, a queue of work. It knows nothing of ops, shapes or gradients.
// Addresses are opaque numbers of their device. Work is enqueued in order; reading waits for it.
import { kind } from '../arguments.ts';
import type { AnyModule, CudaLaunchers, CudaModule, KernelModule, Launchers } from './module.ts';

export type HostArray = Float32Array | Float64Array | Int32Array | Uint32Array | Uint16Array | Uint8Array;

export interface MemoryFigures {
  /** Bytes in use by tensors now. */
  live: number;
  /** The most that were in use at once since the last reset. */
  highWater: number;
  /** Bytes taken from the system and kept for reuse. */
  reserved: number;
}

/** Work that was recorded once, to be done again and again on the same memory. */
export interface Recording extends Disposable {
  /** Enqueues all of it. */
  replay(): void;
}

export interface CompileProgress {
  done: number;
  total: number;
  module: string;
}

/**
 * How the products of convolutions, matrix products and attention are computed, and what networks store. `fp32`: exact f32.
 * `tf32`: f32 with factors rounded to 10 bits of fraction, on tensor cores. `bf16`: networks keep activations and copies of
 * their weights in bfloat16; products of f32 tensors are exact.
 */
export const precisions = ['fp32', 'tf32', 'bf16'] as const;
export type Precision = (typeof precisions)[number];

/**
 * Descriptions of bf16 tensors for a card's copy engine, whose pieces have 128 bytes of each row: 64 columns or channels,
 * swizzled. Each is the host's address of one, for a kernel argument `map`, and is good until a thousand others have been asked
 * for: what is launched keeps a copy. Tensors begin at multiples of 16 bytes.
 */
export interface TensorMaps {
  /** Pieces of `count` rows of a matrix. */
  rows(address: number, shape: readonly [rows: number, columns: number], count: number): number;
  /**
   * Of images [N, H, W, C], pieces of `count` patches, one pixel of each. Patches begin between the pixel `lower`, vertical first,
   * and `upper` away from the last pixel: -padding and padding - (kernel - 1).
   */
  patches(
    address: number,
    shape: readonly number[],
    lower: readonly [number, number],
    upper: readonly [number, number],
    count: number,
  ): number;
  /** Copies of these, at most 32, side by side, for an argument `maps:N`; good until it is asked for again. */
  together(maps: readonly number[]): number;
}

export interface Device {
  readonly kind: 'cpu' | 'cuda' | 'wasm';
  /** As given to openDevice: 'cpu', 'cuda:1'. */
  readonly name: string;
  /** Of the CPU always fp32. */
  readonly precision: Precision;
  /** Whether ops compute on bf16 activations. Elsewhere bf16 is for storage only. */
  readonly computesBf16: boolean;
  /**
   * Whether every convolution is a direct sum. Otherwise those of 3 x 3 may go by Winograd's algorithm on the CPU and in
   * WebAssembly: faster, with an error some ten times that of a sum. Of CUDA always true.
   */
  readonly exact: boolean;
  /** What it is, in a few words, for people. */
  readonly description: string;
  /** The most workers that run tasks of a kernel at once; per-worker scratch is sized by it. */
  readonly workers: number;
  /** Of CUDA on sm_90a, where there are kernels that read by them. */
  readonly tensorMaps?: TensorMaps;

  /** @throws DeviceError when no memory is left. */
  allocate(bytes: number): number;
  /** Gives memory back for reuse. @throws DeviceError for an address that is not allocated */
  free(address: number): void;
  /** From the host; as many bytes as `source` has. */
  upload(address: number, source: HostArray): void;
  /** To the host, once all enqueued work is done. */
  download(address: number, target: HostArray): void;
  /** Within the device. */
  copy(target: number, source: number, bytes: number): void;
  /** Sets every byte. */
  fill(address: number, bytes: number, byte: number): void;

  /** The kernels of a module, compiled at first use. @throws CompileError, DeviceError for a module of another device */
  load<Names extends string>(module: KernelModule<Names>): Launchers<Names>;
  /** As for the CPU's; the launchers take a grid and return nothing. */
  load<Names extends string>(module: CudaModule<Names>): CudaLaunchers<Names>;
  /** Compiles those of several modules that are written for this device, ahead of their first use. */
  prepare(modules: readonly AnyModule[], onProgress?: (progress: CompileProgress) => void): Promise<void>;
  /** The address of an int32 table (strides, sizes) with these values; made once, kept for the device's life. */
  table(values: readonly number[]): number;

  /**
   * Notes what `work` enqueues, without doing it. Memory that `work` allocates belongs to the recording until that is disposed.
   * What must not change between replays may be launch arguments, all else is read from memory that was there before.
   * @throws RecordingError, naming the last kernel, where `work` reads or writes values of the host, compiles, or frees memory
   * that was there before
   * @param expectedBytes what `work` is likely to have in use at once: taken in one piece, of which nothing is lost between blocks
   */
  record(work: () => void, expectedBytes?: number): Recording;
  /** Milliseconds that the device takes over what `work` enqueues; waits for it. Absent where the host's clock will do. */
  time?(work: () => void): number;
  /** Waits for all work enqueued so far. */
  synchronize(): Promise<void>;
  /** Of this device, by all tensors of this thread. */
  memory(): MemoryFigures;
  /** Starts a new measurement of `highWater` from the bytes in use now. */
  resetHighWater(): void;
}

const devices = new WeakSet<object>();

/** Every device does this when it is made, so that arguments can be told from objects that only look like one. */
export function registerDevice(device: Device): void {
  devices.add(device);
}

/** The kind of an option that holds a device. */
export const deviceKind = kind('a device that openDevice() returned', (value) => {
  return typeof value === 'object' && value !== null && devices.has(value);
});
