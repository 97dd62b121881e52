// The common part of the CPU and WebAssembly devices: kernels run in the calling thread, so a launch returns when its work is done.
import { DeviceError } from '../errors.ts';
import type { CachingAllocator } from './allocator.ts';
import { debugLevel, traceLaunch } from './debug.ts';
import {
  type CompileProgress,
  type Device,
  type HostArray,
  type MemoryFigures,
  type Recording,
  registerDevice,
} from './device.ts';
import { type Launch, LaunchRecorder } from './launch_recorder.ts';
import type { AnyModule, CudaLaunchers, CudaModule, KernelModule, Launchers, Signature } from './module.ts';
import { Tables } from './tables.ts';

interface HostDeviceParts {
  kind: 'cpu' | 'wasm';
  description: string;
  workers: number;
  exact: boolean;
  allocator: CachingAllocator;
}

export abstract class HostDevice implements Device {
  readonly precision = 'fp32';
  readonly computesBf16 = false;
  readonly kind: 'cpu' | 'wasm';
  readonly name: string;
  readonly description: string;
  readonly workers: number;
  readonly exact: boolean;
  protected readonly recorder: LaunchRecorder;
  protected abstract readonly runtime: Launchers<'runtime_copy' | 'runtime_fill'>;
  private readonly allocator: CachingAllocator;
  private readonly loaded = new Map<AnyModule, Launchers>();
  private readonly tables: Tables;

  protected constructor({ kind, description, workers, exact, allocator }: HostDeviceParts) {
    registerDevice(this);
    this.kind = kind;
    this.name = kind;
    this.description = description;
    this.workers = workers;
    this.exact = exact;
    this.allocator = allocator;
    this.recorder = new LaunchRecorder(allocator);
    // Tables are uploaded immediately and kept, even while work is recorded.
    this.tables = new Tables({
      allocate: (bytes) => allocator.allocate(bytes),
      upload: (address, source) => this.write(address, source),
    });
  }

  /** Copies from host memory to device memory. */
  protected abstract write(address: number, source: HostArray): void;

  /** Copies from device memory to host memory. */
  protected abstract read(address: number, target: HostArray): void;

  /** The launchers of a C module's kernels. */
  protected abstract bind(module: KernelModule): Launchers;

  abstract prepare(modules: readonly AnyModule[], onProgress?: (progress: CompileProgress) => void): Promise<void>;

  allocate(bytes: number): number {
    return this.allocator.allocate(bytes);
  }

  free(address: number): void {
    this.allocator.free(address);
  }

  upload(address: number, source: HostArray): void {
    if (source.byteLength === 0) return;
    this.recorder.refuse('writing values of the host');
    this.write(address, source);
  }

  download(address: number, target: HostArray): void {
    if (target.byteLength === 0) return;
    this.recorder.refuse('reading a value');
    this.read(address, target);
  }

  copy(target: number, source: number, bytes: number): void {
    this.runtime.runtime_copy(target, source, bytes);
  }

  fill(address: number, bytes: number, byte: number): void {
    this.runtime.runtime_fill(address, byte, bytes);
  }

  hostWork(name: string, work: (value: number) => void): (value: number) => void {
    // Nobody reads what a launch without a result returns.
    return this.recorder.wrapLauncher(name, 'i32', work as Launch);
  }

  record(work: () => void): Recording {
    return this.recorder.record(work);
  }

  load<Names extends string>(module: KernelModule<Names>): Launchers<Names>;
  load<Names extends string>(module: CudaModule<Names>): CudaLaunchers<Names>;
  load(module: AnyModule): Launchers | CudaLaunchers {
    const known = this.loaded.get(module);
    if (known) return known;
    if (module.language !== 'c')
      throw new DeviceError(`${module.name}.cu holds CUDA kernels, which the device ${this.name} cannot run`);
    const launchers = this.bind(module);
    this.loaded.set(module, launchers);
    return launchers;
  }

  table(values: readonly number[]): number {
    return this.tables.address(values);
  }

  async synchronize(): Promise<void> {
    // A launch returns when its work is done.
  }

  memory(): MemoryFigures {
    return this.allocator.memory();
  }

  resetHighWater(): void {
    this.allocator.resetHighWater();
  }

  trim(): number {
    return this.allocator.trim();
  }

  /** The C modules among these that are not loaded yet. */
  protected unloaded(modules: readonly AnyModule[]): KernelModule[] {
    return modules.filter((module) => module.language === 'c').filter((module) => !this.loaded.has(module));
  }

  /** A launcher that can be recorded, and that prints its time if RECTIFLOW_DEBUG is 2 or more. */
  protected launcher(name: string, signature: Signature, launch: Launch): Launch {
    return this.recorder.wrapLauncher(name, signature, debugLevel() >= 2 ? traceLaunch(name, launch) : launch);
  }
}
