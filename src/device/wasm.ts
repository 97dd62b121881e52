// The WebAssembly device: the CPU kernels as one module with a shared memory of up to 4 GiB. Threads are workers that
// instantiate the same module on the same memory, each with its own stack, and run tasks of the pool (thread_pool.h); the
// calling thread also runs tasks. Each JavaScript thread opens a device of its own, with its own memory.
import { DeviceError } from '../errors.ts';
import { CachingAllocator } from './allocator.ts';
import type { HostArray } from './device.ts';
import { defaultThreads } from './environment.ts';
import { HostDevice } from './host_device.ts';
import type { Launch } from './launch_recorder.ts';
import { LinearMemory, PAGE_BYTES } from './linear_memory.ts';
import { type AnyModule, type KernelModule, type Launchers, parseSignature, type Signature } from './module.ts';
import { isGivenText } from './source.ts';
import { INITIAL_BYTES, LINK_BYTES, MOST_BYTES, STACK_BYTES, wasmRuntime } from './wasm_module.ts';

/** The arguments with which a worker instantiates the module. */
export interface WorkerStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** The highest address of its stack. */
  stack: number;
}

/** The part of the device's memory that a module may use for its data and its stack. */
export interface LinkPlace {
  base: number;
  bytes: number;
  /** Size of the memory now. */
  memory: number;
}

/** What the device needs from its environment: the module, and threads. */
export interface WasmHost {
  readonly module: WebAssembly.Module;
  /** Whether the module's memory is shared, which threads need. */
  readonly shared: boolean;
  /** @throws DeviceError if the module lacks these kernels or was built from other sources than those present */
  check(module: KernelModule): void;
  /**
   * Compiles kernels that a program gave as text to a module on the memory of the device, with its data and its stack in
   * the bytes from `base`. Absent where there is no compiler, as in a browser.
   * @throws CompileError
   */
  link?(module: KernelModule, place: LinkPlace): WebAssembly.Module;
  /** Starts a thread and resolves when it has joined the pool. @throws DeviceError */
  startWorker(start: WorkerStart): Promise<void>;
}

interface WasmOptions {
  /** Number of threads that kernels use, including the calling one; default: all that the system grants. */
  threads?: number;
  /** Default false: see Device. */
  exact?: boolean;
}

export class WasmDevice extends HostDevice {
  protected readonly runtime: Launchers<keyof typeof wasmRuntime.kernels>;
  private readonly host: WasmHost;
  private readonly memoryOfDevice: WebAssembly.Memory;
  private readonly exports: WebAssembly.Instance['exports'];

  private constructor(host: WasmHost, workers: number, exact: boolean) {
    const memory = createMemory(host.shared);
    const { exports } = new WebAssembly.Instance(host.module, { env: { memory } });
    super({
      kind: 'wasm',
      description: `${workers} thread${workers === 1 ? '' : 's'}, 128-bit SIMD${host.shared ? '' : ', memory not shared'}`,
      workers,
      exact,
      allocator: new CachingAllocator(new LinearMemory(memory), MOST_BYTES),
    });
    this.host = host;
    this.memoryOfDevice = memory;
    this.exports = exports;
    this.runtime = this.load(wasmRuntime);
    this.runtime.runtime_configure(workers, maySleep() ? 1 : 0);
  }

  /** Resolves when all threads have started. @throws DeviceError if one does not, or without 4 GiB of address space */
  static async open(host: WasmHost, options: WasmOptions = {}): Promise<WasmDevice> {
    const threads = options.threads ?? defaultThreads();
    if (threads > 1 && !host.shared)
      throw new DeviceError(
        `expected 1 thread, got ${threads}: memory can be shared only in a page that is cross-origin isolated (the headers ` +
          'Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp)',
      );
    const device = new WasmDevice(host, threads, options.exact ?? false);
    await device.startWorkers();
    return device;
  }

  async prepare(modules: readonly AnyModule[]): Promise<void> {
    for (const module of this.unloaded(modules)) this.load(module);
  }

  private async startWorkers(): Promise<void> {
    const { host, memoryOfDevice: memory, workers } = this;
    const stacks = memory.buffer.byteLength;
    memory.grow(((workers - 1) * STACK_BYTES) / PAGE_BYTES);
    const start = (_: unknown, i: number) =>
      host.startWorker({ module: host.module, memory, stack: stacks + (i + 1) * STACK_BYTES });
    await Promise.all(Array.from({ length: workers - 1 }, start));
  }

  protected bind(module: KernelModule): Launchers {
    const given = isGivenText(module.url);
    if (!given) this.host.check(module);
    const exports = given ? this.linked(module) : this.exports;
    return Object.fromEntries(
      Object.entries<string>(module.kernels).map(([name, signature]) => {
        return [name, this.launcher(name, signature, this.bindKernel(name, signature, exports[name]))];
      }),
    );
  }

  /** The exports of a module that was given as text. Its kernels run in the calling thread. */
  private linked(module: KernelModule): WebAssembly.Instance['exports'] {
    this.recorder.refuse(`loading ${module.name}`);
    const { host, memoryOfDevice: memory } = this;
    if (!host.link)
      throw new DeviceError(`the device wasm cannot compile ${module.name}.c here; it needs clang and Node`);
    const base = this.allocate(LINK_BYTES);
    try {
      this.fill(base, LINK_BYTES, 0);
      const compiled = host.link(module, { base, bytes: LINK_BYTES, memory: memory.buffer.byteLength });
      return new WebAssembly.Instance(compiled, { env: { memory } }).exports;
    } catch (error) {
      this.free(base);
      throw error;
    }
  }

  /**
   * A kernel that throws an error with its name if it traps. WebAssembly ignores surplus arguments and reads missing
   * ones as 0, so the launcher counts them.
   */
  private bindKernel(name: string, signature: Signature, kernel: WebAssembly.Instance['exports'][string]): Launch {
    const count = parseSignature(signature).parameters.length;
    return (...values) => {
      if (values.length !== count)
        throw new DeviceError(`${name} takes ${count} arguments (${signature}), got ${values.length}`);
      try {
        return kernel(...values);
      } catch (cause) {
        if (!(cause instanceof WebAssembly.RuntimeError)) throw cause;
        this.exports.runtime_failed();
        throw new DeviceError(`${name} trapped; the wasm device can no longer be used: ${cause.message}`, { cause });
      }
    };
  }

  protected write(address: number, source: HostArray): void {
    this.bytes(address, source.byteLength).set(bytesOf(source));
  }

  protected read(address: number, target: HostArray): void {
    bytesOf(target).set(this.bytes(address, target.byteLength));
  }

  /** A view of the memory's current buffer. Growing the memory replaces its buffer. */
  private bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.memoryOfDevice.buffer, address, length);
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: HostArray): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function createMemory(shared: boolean): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({
      initial: INITIAL_BYTES / PAGE_BYTES,
      maximum: MOST_BYTES / PAGE_BYTES,
      shared,
    });
  } catch (cause) {
    const size = `${(MOST_BYTES / 2 ** 20).toFixed(0)} MiB`;
    throw new DeviceError(
      `the wasm device must reserve ${size} of address space (committed on demand): ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** Whether this thread may block in Atomics.wait. A browser page's main thread may not, and spins instead. */
function maySleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
    return true;
  } catch {
    return false;
  }
}
