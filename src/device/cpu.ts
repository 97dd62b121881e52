// The CPU device: kernels compiled by the host's C compiler, memory in huge-page slabs, threads in a spinning pool.
import { DeviceError } from '../errors.ts';
import { CachingAllocator } from './allocator.ts';
import { CpuCompiler } from './cpu_compiler.ts';
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
import { ffiVersion } from './native/loader.ts';
import { sourceUrl } from './source.ts';
import { Tables } from './tables.ts';
import { defaultThreads } from './threads.ts';

const runtimeModule = {
  language: 'c',
  name: 'cpu_runtime',
  url: sourceUrl('device/cpu_runtime.c'),
  kernels: {
    runtime_reserve: 'f64 -> f64',
    runtime_copy: 'ptr ptr f64',
    runtime_fill: 'ptr i32 f64',
    runtime_limit_threads: 'i32',
    runtime_bind_pool: 'ptr',
  },
  flags: [],
} satisfies KernelModule;

export interface CpuOptions {
  /** Threads that kernels use, the calling one included; default: what the system grants. */
  threads?: number;
  /** Default false: see Device. */
  exact?: boolean;
  /** Instruction set of the kernels, by the compiler's name: `x86-64-v3`; default RECTIFLOW_MARCH, or the processor's own. */
  march?: string;
}

/** The pool width set last in this thread. */
let activeThreads = 0;

function compilerOf({ march }: CpuOptions): CpuCompiler {
  // Asked first: without it nothing need be compiled.
  ffiVersion();
  return new CpuCompiler(march);
}

export class CpuDevice implements Device {
  readonly precision = 'fp32';
  readonly kind = 'cpu';
  readonly computesBf16 = false;
  readonly name = 'cpu';
  readonly exact: boolean;
  readonly workers: number;
  readonly description: string;
  private readonly compiler: CpuCompiler;
  private readonly runtime: Launchers<Exclude<keyof typeof runtimeModule.kernels, 'runtime_reserve'>>;
  private readonly uploadTo: (target: number, source: HostArray, bytes: number) => void;
  private readonly downloadFrom: (target: HostArray, source: number, bytes: number) => void;
  private readonly allocator: CachingAllocator;
  private readonly loaded = new Map<AnyModule, Launchers>();
  private readonly recorder: LaunchRecorder;
  private readonly tables: Tables;

  /** @throws CompileError without a C compiler, DeviceError without koffi */
  constructor(options: CpuOptions = {}, compiler = compilerOf(options)) {
    registerDevice(this);
    this.workers = options.threads ?? defaultThreads();
    this.exact = options.exact ?? false;
    this.compiler = compiler;
    this.description = `${this.workers} thread${this.workers === 1 ? '' : 's'}`;
    const library = compiler.library(runtimeModule);
    const bind = (name: keyof typeof runtimeModule.kernels) => library.bind(name, runtimeModule.kernels[name]);
    const reserve = bind('runtime_reserve');
    this.allocator = new CachingAllocator({ reserve: (bytes) => reserve(bytes) });
    this.recorder = new LaunchRecorder(this.allocator);
    const wrap = (name: keyof typeof runtimeModule.kernels) =>
      this.recorder.wrapLauncher(name, runtimeModule.kernels[name], bind(name));
    this.runtime = {
      runtime_copy: wrap('runtime_copy'),
      runtime_fill: wrap('runtime_fill'),
      runtime_limit_threads: bind('runtime_limit_threads'),
      runtime_bind_pool: bind('runtime_bind_pool'),
    };
    this.uploadTo = library.bindKinds<number | HostArray>('runtime_upload', ['ptr', 'array', 'f64'], 'void');
    this.downloadFrom = library.bindKinds<number | HostArray>('runtime_download', ['array', 'ptr', 'f64'], 'void');
    // Tables are made at once and for good, also while work is recorded.
    this.tables = new Tables({
      allocate: (bytes) => this.allocator.allocate(bytes),
      upload: (address, source) => this.uploadTo(address, source, source.byteLength),
    });
  }

  /** As the constructor; where something is to be compiled, the event loop goes on meanwhile. */
  static async open(options: CpuOptions = {}): Promise<CpuDevice> {
    const compiler = compilerOf(options);
    await compiler.prepare([runtimeModule]);
    return new CpuDevice(options, compiler);
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
    this.uploadTo(address, source, source.byteLength);
  }

  download(address: number, target: HostArray): void {
    if (target.byteLength === 0) return;
    this.recorder.refuse('reading a value');
    this.downloadFrom(target, address, target.byteLength);
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
      throw new DeviceError(`${module.name}.cu holds kernels of CUDA, not of the device cpu`);
    const library = this.compiler.library(module);
    this.runtime.runtime_bind_pool(library.address('pool_bind'));
    const launchers: Record<string, (...values: number[]) => number> = {};
    for (const [name, signature] of Object.entries<string>(module.kernels)) {
      launchers[name] = this.launcher(name, signature, library.bind(name, signature));
    }
    this.loaded.set(module, launchers);
    return launchers;
  }

  async prepare(modules: readonly AnyModule[], onProgress?: (progress: CompileProgress) => void): Promise<void> {
    const own = modules.filter((module) => module.language === 'c').filter((module) => !this.loaded.has(module));
    await this.compiler.prepare(own, onProgress);
    for (const module of own) this.load(module);
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

  /** The pool's width belongs to the thread that calls, not to the device: set it when another device used it last. */
  private launcher(name: string, signature: Signature, kernel: Launch): Launch {
    const { runtime, workers } = this;
    const launch = (...values: number[]) => {
      if (activeThreads !== workers) {
        runtime.runtime_limit_threads(workers);
        activeThreads = workers;
      }
      return kernel(...values);
    };
    return this.recorder.wrapLauncher(name, signature, debugLevel() >= 2 ? traceLaunch(name, launch) : launch);
  }
}
