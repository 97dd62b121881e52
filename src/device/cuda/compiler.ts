// Turns a .cu file into an image that the driver loads, from the cache or with NVRTC.
import { writeFileSync } from 'node:fs';
import { cacheKey, KernelCache } from '../cache.ts';
import { reportCompile } from '../debug.ts';
import type { CompileProgress } from '../device.ts';
import type { CudaModule } from '../module.ts';
import type { Compilation, Nvrtc } from '../native/libnvrtc.ts';
import { amalgamate } from '../source.ts';
import type { Target } from './architecture.ts';

/** How many files are compiled at once: the number of koffi's threads. */
const AT_ONCE = 4;

/** One file to compile, and where its image goes. */
interface Request {
  key: string;
  name: string;
  file: string;
  source: string;
  options: string[];
}

export class CudaCompiler {
  readonly cache: KernelCache;
  private readonly nvrtc: Nvrtc;
  private readonly target: Target;
  /** Keys of images that this process compiled. */
  private readonly own = new Set<string>();
  /** Images that were compiled before their first use. */
  private readonly unused = new Map<string, Uint8Array>();

  constructor(nvrtc: Nvrtc, target: Target) {
    this.nvrtc = nvrtc;
    this.target = target;
    this.cache = new KernelCache(undefined, { source: 'cu', binary: target.binary });
  }

  /** @throws CompileError with NVRTC's whole log */
  image(module: CudaModule): Uint8Array {
    const request = this.request(module);
    const { key, file, source, options } = request;
    const start = performance.now();
    const image = this.unused.get(key) ?? this.cache.read(key);
    this.unused.delete(key);
    return image ?? this.store(request, this.nvrtc.compile(file, source, options), start);
  }

  /** The name of a module's image in the cache, which follows from all that determines it. */
  keyOf(module: CudaModule): string {
    return this.request(module).key;
  }

  /** Drops an image that the driver refused. @returns whether another process compiled it, so that compiling again may help */
  forget(module: CudaModule): boolean {
    const { key } = this.request(module);
    this.cache.remove(key);
    return !this.own.has(key);
  }

  /**
   * Compiles the modules that the cache lacks, a few at a time.
   * @throws CompileError with NVRTC's whole log
   */
  async fill(modules: readonly CudaModule[], onProgress?: (progress: CompileProgress) => void): Promise<void> {
    const missing = modules.map((module) => this.request(module)).filter(({ key }) => !this.cache.find(key));
    const total = missing.length;
    let done = 0;
    const worker = async () => {
      for (let next = missing.pop(); next; next = missing.pop()) {
        const start = performance.now();
        const compilation = await this.nvrtc.compileInBackground(next.file, next.source, next.options);
        this.unused.set(next.key, this.store(next, compilation, start));
        onProgress?.({ done: ++done, total, module: next.name });
      }
    };
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, total) }, worker));
  }

  private request({ name, url, flags }: CudaModule): Request {
    const source = amalgamate(url);
    const options = cudaOptions(this.target.name, flags);
    const key = cacheKey(name, ['cuda', source, this.nvrtc.version, ...options]);
    return { key, name, file: `${name}.cu`, source, options };
  }

  private store({ key, file, source }: Request, { image }: Compilation, start: number): Uint8Array {
    this.own.add(key);
    let path = file;
    if (this.cache.folder !== undefined) {
      const staged = this.cache.stage(key, source);
      try {
        writeFileSync(staged.output, image, { mode: 0o600 });
        path = staged.commit();
      } finally {
        staged.discard();
      }
    }
    reportCompile(`${file} for ${this.target.name}`, performance.now() - start, path);
    return image;
  }
}

/** The options of all .cu files plus those of this one. */
export function cudaOptions(target: string, flags: readonly string[]): string[] {
  return [`--gpu-architecture=${target}`, '--std=c++17', ...flags];
}
