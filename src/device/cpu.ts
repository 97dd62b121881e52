// The CPU device: kernels compiled by the host's C compiler, memory in huge-page slabs, threads in a spinning pool.
import { CachingAllocator, HOST_MOST_UNUSED } from './allocator.ts';
import { CpuCompiler } from './cpu_compiler.ts';
import type { CompileProgress, HostArray } from './device.ts';
import { defaultThreads } from './environment.ts';
import { HostDevice } from './host_device.ts';
import type { Launch } from './launch_recorder.ts';
import type { AnyModule, KernelModule, Launchers } from './module.ts';
import { ffiVersion } from './native/loader.ts';
import { sourceUrl } from './source.ts';

const runtimeModule = {
  language: 'c',
  name: 'cpu_runtime',
  url: sourceUrl('device/cpu_runtime.c'),
  kernels: {
    runtime_reserve: 'f64 -> f64',
    runtime_release: 'f64 f64',
    runtime_copy: 'ptr ptr f64',
    runtime_fill: 'ptr i32 f64',
    runtime_limit_threads: 'i32',
    runtime_bind_pool: 'ptr',
  },
  flags: [],
} satisfies KernelModule;

interface CpuOptions {
  /** The number of threads, including the calling one; default: all that the system allows. */
  threads?: number;
  /** Default false: see Device. */
  exact?: boolean;
  /** The instruction set by the compiler's name, such as `x86-64-v3`; default: RECTIFLOW_MARCH, or the processor's own. */
  march?: string;
}

/** The number of threads that this thread last set for its kernels. */
let activeThreads = 0;

function compilerFor(march: string | undefined): CpuCompiler {
  // Checked first, because nothing needs to be compiled without it.
  ffiVersion();
  return new CpuCompiler(march);
}

export class CpuDevice extends HostDevice {
  protected readonly runtime: Launchers<
    Exclude<keyof typeof runtimeModule.kernels, 'runtime_reserve' | 'runtime_release'>
  >;
  private readonly compiler: CpuCompiler;
  private readonly uploadTo: (target: number, source: HostArray, bytes: number) => void;
  private readonly downloadFrom: (target: HostArray, source: number, bytes: number) => void;

  /** @throws CompileError without a C compiler, DeviceError without koffi */
  constructor(
    { threads: workers = defaultThreads(), exact = false, march }: CpuOptions = {},
    compiler = compilerFor(march),
  ) {
    const library = compiler.library(runtimeModule);
    const bind = (name: keyof typeof runtimeModule.kernels) => library.bind(name, runtimeModule.kernels[name]);
    const reserve = bind('runtime_reserve');
    const release = bind('runtime_release');
    super({
      kind: 'cpu',
      description: `${workers} thread${workers === 1 ? '' : 's'}`,
      workers,
      exact,
      allocator: new CachingAllocator({ reserve, release, mostUnused: HOST_MOST_UNUSED }),
    });
    this.compiler = compiler;
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
  }

  /** Same as the constructor, without blocking the event loop while kernels are compiled. */
  static async open(options: CpuOptions = {}): Promise<CpuDevice> {
    const compiler = compilerFor(options.march);
    await compiler.prepare([runtimeModule]);
    return new CpuDevice(options, compiler);
  }

  async prepare(modules: readonly AnyModule[], onProgress?: (progress: CompileProgress) => void): Promise<void> {
    const own = this.unloaded(modules);
    await this.compiler.prepare(own, onProgress);
    for (const module of own) this.load(module);
  }

  protected write(address: number, source: HostArray): void {
    this.uploadTo(address, source, source.byteLength);
  }

  protected read(address: number, target: HostArray): void {
    this.downloadFrom(target, address, target.byteLength);
  }

  protected bind(module: KernelModule): Launchers {
    const library = this.compiler.library(module);
    this.runtime.runtime_bind_pool(library.address('pool_bind'));
    return Object.fromEntries(
      Object.entries<string>(module.kernels).map(([name, signature]) => {
        return [name, this.launcher(name, signature, this.withThreads(library.bind(name, signature)))];
      }),
    );
  }

  /** Sets the number of threads before a call if another device of this thread has set it in the meantime. */
  private withThreads(kernel: Launch): Launch {
    const { runtime, workers } = this;
    return (...values) => {
      if (activeThreads !== workers) {
        runtime.runtime_limit_threads(workers);
        activeThreads = workers;
      }
      return kernel(...values);
    };
  }
}
