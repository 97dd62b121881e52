// The WebAssembly device: the CPU's kernels as one module on a shared memory of up to 4 GiB. Threads are workers that
// instantiate the same module on the same memory, each with its own stack, and run tasks of the pool (thread_pool.h); the
// thread that calls takes part. Two JavaScript threads each open a device of their own, with a memory of its own.
import { DeviceError } from '../errors.ts';
import { CachingAllocator } from './allocator.ts';
import type { HostArray } from './device.ts';
import { defaultThreads } from './environment.ts';
import { HostDevice } from './host_device.ts';
import type { Launch } from './launch_recorder.ts';
import { LinearMemory, PAGE_BYTES } from './linear_memory.ts';
import type { AnyModule, KernelModule, Launchers } from './module.ts';
import { INITIAL_BYTES, MOST_BYTES, STACK_BYTES, wasmRuntime } from './wasm_module.ts';

/** The module and memory of a worker. */
export interface WorkerStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** The highest address of its stack. */
  stack: number;
}

/** The environment of the device: it provides the compiled module and threads. */
export interface WasmHost {
  readonly module: WebAssembly.Module;
  /** @throws DeviceError if the module lacks these kernels, or was built from other sources than the present ones */
  check(module: KernelModule): void;
  /** Starts a thread. Resolves once it has joined the pool. @throws DeviceError */
  startWorker(start: WorkerStart): Promise<void>;
}

interface WasmOptions {
  /** The number of threads, including the calling one; default: all that the system allows. */
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
    const memory = createMemory();
    const { exports } = new WebAssembly.Instance(host.module, { env: { memory } });
    super({
      kind: 'wasm',
      description: `${workers} thread${workers === 1 ? '' : 's'}, 128-bit SIMD`,
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

  /**
   * Opens the device. Resolves once all threads have started.
   * @throws DeviceError if a thread does not start, or if 4 GiB of address space cannot be reserved
   */
  static async open(host: WasmHost, options: WasmOptions = {}): Promise<WasmDevice> {
    const device = new WasmDevice(host, options.threads ?? defaultThreads(), options.exact ?? false);
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
    this.host.check(module);
    return Object.fromEntries(
      Object.entries<string>(module.kernels).map(([name, signature]) => {
        return [name, this.launcher(name, signature, this.checked(name))];
      }),
    );
  }

  /** The kernel, whose trap becomes an error that names it. */
  private checked(name: string): Launch {
    const kernel = this.exports[name];
    return (...values) => {
      try {
        return kernel(...values);
      } catch (cause) {
        if (!(cause instanceof WebAssembly.RuntimeError)) throw cause;
        this.exports.runtime_failed();
        throw new DeviceError(`${name} trapped; this device wasm can no longer be used: ${cause.message}`, {
          cause,
        });
      }
    };
  }

  protected write(address: number, source: HostArray): void {
    this.bytes(address, source.byteLength).set(bytesOf(source));
  }

  protected read(address: number, target: HostArray): void {
    bytesOf(target).set(this.bytes(address, target.byteLength));
  }

  /** A view of the current memory. Growing the memory replaces its buffer, so views are not kept. */
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
      `the device wasm must reserve ${size} of address space, though it uses only a part of it: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** Whether this thread may wait: the main thread of a web page may not, and spins instead. */
function maySleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
    return true;
  } catch {
    return false;
  }
}
