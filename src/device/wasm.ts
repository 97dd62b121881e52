// The WebAssembly device: the CPU's kernels as one module on a shared memory of up to 4 GiB. Threads are workers that
// instantiate the same module on the same memory, each with its own stack, and run tasks of the pool (thread_pool.h); the
// thread that calls takes part. Two JavaScript threads each open a device of their own, with a memory of its own.
import { DeviceError } from '../errors.ts';
import { CachingAllocator } from './allocator.ts';
import { debugLevel, traceLaunch } from './debug.ts';
import { type Device, type HostArray, type MemoryFigures, type Recording, registerDevice } from './device.ts';
import { type Launch, LaunchRecorder } from './launch_recorder.ts';
import { LinearMemory, PAGE_BYTES } from './linear_memory.ts';
import type { AnyModule, CudaLaunchers, CudaModule, KernelModule, Launchers, Signature } from './module.ts';
import { Tables } from './tables.ts';
import { defaultThreads } from './threads.ts';
import { INITIAL_BYTES, MOST_BYTES, STACK_BYTES, wasmRuntime } from './wasm_module.ts';

/** What a worker instantiates the module with. */
export interface WorkerStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** The highest address of its stack. */
  stack: number;
}

/** Where the module comes from, and threads. */
export interface WasmHost {
  readonly module: WebAssembly.Module;
  /** @throws DeviceError when the module does not hold these kernels, built of the sources that are here */
  check(module: KernelModule): void;
  /** Starts a thread that joins the pool; settles when it has. @throws DeviceError */
  startWorker(start: WorkerStart): Promise<void>;
}

export interface WasmOptions {
  /** Threads that kernels use, the calling one included; default: what the system grants. */
  threads?: number;
  /** Default false: see Device. */
  exact?: boolean;
}

export class WasmDevice implements Device {
  readonly precision = 'fp32';
  readonly kind = 'wasm';
  readonly computesBf16 = false;
  readonly name = 'wasm';
  readonly exact: boolean;
  readonly workers: number;
  readonly description: string;
  private readonly host: WasmHost;
  private readonly memoryOfDevice: WebAssembly.Memory;
  private readonly exports: WebAssembly.Instance['exports'];
  private readonly runtime: Launchers<keyof typeof wasmRuntime.kernels>;
  private readonly allocator: CachingAllocator;
  private readonly loaded = new Map<AnyModule, Launchers>();
  private readonly recorder: LaunchRecorder;
  private readonly tables: Tables;

  private constructor(host: WasmHost, workers: number, exact: boolean) {
    registerDevice(this);
    this.host = host;
    this.workers = workers;
    this.exact = exact;
    this.description = `${workers} thread${workers === 1 ? '' : 's'}, 128-bit SIMD`;
    this.memoryOfDevice = createMemory();
    this.exports = new WebAssembly.Instance(host.module, { env: { memory: this.memoryOfDevice } }).exports;
    this.allocator = new CachingAllocator(new LinearMemory(this.memoryOfDevice), MOST_BYTES);
    this.recorder = new LaunchRecorder(this.allocator);
    this.runtime = this.load(wasmRuntime);
    this.runtime.runtime_configure(workers, maySleep() ? 1 : 0);
    // Tables are made at once and for good, also while work is recorded.
    this.tables = new Tables({
      allocate: (bytes) => this.allocator.allocate(bytes),
      upload: (address, source) => this.write(address, source),
    });
  }

  /** Settles when all threads have started. @throws DeviceError when one does not, or without address space of 4 GiB */
  static async open(host: WasmHost, options: WasmOptions = {}): Promise<WasmDevice> {
    const device = new WasmDevice(host, options.threads ?? defaultThreads(), options.exact ?? false);
    await device.startWorkers();
    return device;
  }

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
    bytesOf(target).set(this.bytes(address, target.byteLength));
  }

  copy(target: number, source: number, bytes: number): void {
    this.runtime.runtime_copy(target, source, bytes);
  }

  fill(address: number, bytes: number, byte: number): void {
    this.runtime.runtime_fill(address, byte, bytes);
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
      throw new DeviceError(`${module.name}.cu holds kernels of CUDA, not of the device wasm`);
    this.host.check(module);
    const launchers = Object.fromEntries(
      Object.entries<string>(module.kernels).map(([name, signature]) => [name, this.launcher(name, signature)]),
    );
    this.loaded.set(module, launchers);
    return launchers;
  }

  async prepare(modules: readonly AnyModule[]): Promise<void> {
    for (const module of modules) if (module.language === 'c') this.load(module);
  }

  table(values: readonly number[]): number {
    return this.tables.address(values);
  }

  async synchronize(): Promise<void> {
    // Kernels run in the calling thread: when a launch has returned, its work is done.
  }

  memory(): MemoryFigures {
    return this.allocator.memory();
  }

  resetHighWater(): void {
    this.allocator.resetHighWater();
  }

  private async startWorkers(): Promise<void> {
    const { host, memoryOfDevice: memory, workers } = this;
    const stacks = memory.buffer.byteLength;
    memory.grow(((workers - 1) * STACK_BYTES) / PAGE_BYTES);
    const start = (_: unknown, i: number) =>
      host.startWorker({ module: host.module, memory, stack: stacks + (i + 1) * STACK_BYTES });
    await Promise.all(Array.from({ length: workers - 1 }, start));
  }

  private launcher(name: string, signature: Signature): Launch {
    const kernel = this.exports[name];
    const launch = (...values: number[]) => {
      try {
        return kernel(...values);
      } catch (cause) {
        if (!(cause instanceof WebAssembly.RuntimeError)) throw cause;
        this.exports.runtime_failed();
        throw new DeviceError(`${name} failed on the device wasm, which is of no use any more: ${cause.message}`, {
          cause,
        });
      }
    };
    return this.recorder.wrapLauncher(name, signature, debugLevel() >= 2 ? traceLaunch(name, launch) : launch);
  }

  private write(address: number, source: HostArray): void {
    this.bytes(address, source.byteLength).set(bytesOf(source));
  }

  /** A view of the memory as it is now: growing it makes another buffer. */
  private bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.memoryOfDevice.buffer, address, length);
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: HostArray): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function createMemory(): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({
      initial: INITIAL_BYTES / PAGE_BYTES,
      maximum: MOST_BYTES / PAGE_BYTES,
      shared: true,
    });
  } catch (cause) {
    const size = `${(MOST_BYTES / 2 ** 20).toFixed(0)} MiB`;
    throw new DeviceError(
      `the device wasm needs ${size} of address space, of which it uses what it needs: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** The first thread of a page may not wait; it spins instead. */
function maySleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
    return true;
  } catch {
    return false;
  }
}
