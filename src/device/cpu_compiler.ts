// Turns a C file into a library loaded in this process, from the cache or with the compiler. A compiled library enters the cache only
// after it has been loaded.
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { CompileError } from '../errors.ts';
import { libraryFault } from './binary.ts';
import { cacheKey, KernelCache, type Staged } from './cache.ts';
import {
  compile,
  compilerFlags,
  compilerTitle,
  compileSync,
  cpuIdentity,
  findCompiler,
  lookForCompilerAsync,
} from './cc.ts';
import { debugLine, reportCompile } from './debug.ts';
import type { CompileProgress } from './device.ts';
import { fromEnvironment } from './environment.ts';
import type { KernelModule } from './module.ts';
import { Library } from './native/loader.ts';
import { amalgamate, isGivenText } from './source.ts';

/** One file to compile. */
interface Request {
  key: string;
  flags: readonly string[];
  source: string;
  module: KernelModule;
}

function defaultMarch(): string {
  return fromEnvironment('RECTIFLOW_MARCH') ?? 'native';
}

/** Libraries of this process by cache key. Devices with different thread counts share them. */
const libraries = new Map<string, Library>();

export class CpuCompiler {
  readonly cache = new KernelCache();
  private readonly march: string;

  /** @param march the instruction set by the compiler's name */
  constructor(march = defaultMarch()) {
    this.march = march;
  }

  /** The library of a module; the calling thread waits. @throws CompileError with the first lines of the compiler's log */
  library(module: KernelModule): Library {
    const request = this.request(module);
    const known = this.find(request);
    if (known) return known;
    const staged = this.cache.stage(request.key, request.source);
    try {
      const start = performance.now();
      compileSync(module.name, staged.source, staged.output, request.flags);
      return keep(request, staged, start);
    } finally {
      staged.discard();
    }
  }

  /** Loads the libraries of these modules and compiles those that the cache lacks, without blocking the event loop. */
  async prepare(modules: readonly KernelModule[], onProgress?: (progress: CompileProgress) => void): Promise<void> {
    await lookForCompilerAsync();
    const missing = modules.map((module) => this.request(module)).filter((request) => !this.find(request));
    const total = missing.length;
    let done = 0;
    const worker = async () => {
      for (let next = missing.pop(); next; next = missing.pop()) {
        await this.build(next);
        onProgress?.({ done: ++done, total, module: next.module.name });
      }
    };
    await Promise.all(Array.from({ length: Math.min(availableParallelism(), total) }, worker));
  }

  private request(module: KernelModule): Request {
    const source = amalgamate(module.url);
    const { version, leading } = findCompiler();
    const flags = compilerFlags(module.flags, this.march);
    const key = cacheKey(module.name, [source, version, ...leading, cpuIdentity(), ...flags]);
    return { key, flags, source, module };
  }

  /** The library if this process or the cache has it. A cached file that does not load is removed. */
  private find({ key, module }: Request): Library | undefined {
    const known = libraries.get(key);
    if (known) return known;
    const path = this.cache.find(key);
    if (path === undefined) return undefined;
    try {
      const library = load(path, module);
      libraries.set(key, library);
      return library;
    } catch (error) {
      debugLine(1, `compiling ${module.name} again: ${(error as Error).message}`);
      this.cache.remove(key);
      return undefined;
    }
  }

  private async build(request: Request): Promise<void> {
    const { key, source, flags, module } = request;
    const staged = this.cache.stage(key, source);
    try {
      const start = performance.now();
      await compile(module.name, staged.source, staged.output, flags);
      keep(request, staged, start);
    } finally {
      staged.discard();
    }
  }
}

/** Loads the compiler's output and puts it into the cache. @throws CompileError naming the compiler, if it is not a usable library */
function keep({ key, module }: Request, staged: Staged, start: number): Library {
  let library: Library;
  try {
    // Devices that are opened at the same time may compile the same file. Loaded twice, it would have two pools of threads.
    library = libraries.get(key) ?? load(staged.output, module);
  } catch (cause) {
    if (isGivenText(module.url))
      throw new CompileError(`${module.name}.c does not export what is declared: ${(cause as Error).message}`, {
        cause,
      });
    const own = compilerTitle(findCompiler());
    throw new CompileError(
      `${own} compiled ${module.name}.c to a file that cannot be used: ${(cause as Error).message}. Name another compiler by ` +
        'CC or, where the compiler is in order, another folder by RECTIFLOW_CACHE',
      { cause },
    );
  }
  libraries.set(key, library);
  reportCompile(module.name, performance.now() - start, staged.commit());
  return library;
}

/** @throws Error for a file that is not a library for this machine, or lacks a kernel */
function load(path: string, { kernels }: KernelModule): Library {
  const fault = libraryFault(readFileSync(path));
  if (fault) throw new CompileError(`${path}: ${fault}`);
  const library = new Library(path);
  for (const name in kernels) library.address(name);
  return library;
}

/**
 * Compiles a one-line file and loads it from the folder that kernels are loaded from.
 * @throws CompileError, DeviceError saying what does not work
 */
export function tryCompiler(cache: KernelCache): void {
  const module: KernelModule = {
    language: 'c',
    name: 'probe',
    url: new URL('rectiflow:/probe.c'),
    kernels: { rectiflow_probe: '' },
    flags: [],
  };
  const source = 'void rectiflow_probe(void) {}\n';
  const staged = cache.stage('probe', source);
  try {
    compileSync(module.name, staged.source, staged.output, compilerFlags([], defaultMarch()));
    load(staged.output, module);
  } finally {
    staged.discard();
  }
}
