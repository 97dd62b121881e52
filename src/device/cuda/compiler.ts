// From a .cu file to an image that the driver loads: through the cache, or through NVRTC and into the cache.
import { writeFileSync } from 'node:fs';
import { cacheKey, KernelCache } from '../cache.ts';
import { reportCompile } from '../debug.ts';
import type { CudaModule } from '../module.ts';
import type { Nvrtc } from '../native/libnvrtc.ts';
import { amalgamate } from '../source.ts';
import type { Target } from './architecture.ts';

export class CudaCompiler {
  readonly cache: KernelCache;
  private readonly nvrtc: Nvrtc;
  private readonly target: Target;

  constructor(nvrtc: Nvrtc, target: Target) {
    this.nvrtc = nvrtc;
    this.target = target;
    this.cache = new KernelCache(undefined, { source: 'cu', binary: target.binary });
  }

  /** @throws CompileError with NVRTC's whole log */
  image(module: CudaModule): Uint8Array {
    const source = amalgamate(module.url);
    const options = cudaOptions(this.target.name, module.flags);
    const key = cacheKey(module.name, ['cuda', source, this.nvrtc.version, ...options]);
    const image = this.cache.read(key) ?? this.build(key, module, source, options);
    this.cache.loaded(key);
    return image;
  }

  private build(key: string, module: CudaModule, text: string, options: readonly string[]): Uint8Array {
    const start = performance.now();
    const { image } = this.nvrtc.compile(`${module.name}.cu`, text, options);
    const staged = this.cache.stage(key, text);
    try {
      writeFileSync(staged.output, image, { mode: 0o600 });
      const milliseconds = performance.now() - start;
      const source = staged.commit().replace(/\.\w+$/, '.cu');
      reportCompile(`${module.name}.cu for ${this.target.name}`, milliseconds, source);
    } finally {
      staged.discard();
    }
    return image;
  }
}

/** The options of every .cu file, and those of this one. */
export function cudaOptions(target: string, flags: readonly string[]): string[] {
  return [`--gpu-architecture=${target}`, '--std=c++17', ...flags];
}
