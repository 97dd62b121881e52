// Compiles kernels that a program gave as text for the device wasm, by clang and wasm-ld: the object once, into the cache of kernels,
// and a module of it for each device, whose data and stack lie in that device's memory. Also the flags of the package's own build.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompileError } from '../errors.ts';
import { cacheKey, KernelCache } from './cache.ts';
import { runSync } from './command.ts';
import { reportCompile } from './debug.ts';
import { fromEnvironment } from './environment.ts';
import type { KernelModule } from './module.ts';
import { amalgamate } from './source.ts';
import type { LinkPlace } from './wasm.ts';
import { MOST_BYTES } from './wasm_module.ts';

const LIMIT_MS = 600_000;
const STACK_BYTES = 2 ** 16;

// Relaxed SIMD is off: its fused multiply-add may round once or twice depending on the engine. Without it every engine computes the
// same bits.
const FLAGS = [
  '--target=wasm32',
  '-O3',
  '-std=gnu11',
  '-msimd128',
  '-mbulk-memory',
  '-matomics',
  '-mmutable-globals',
  '-nostdlib',
  '-ffreestanding',
  '-fno-math-errno',
  '-fno-trapping-math',
  '-fvisibility=hidden',
];

/** The flags of clang for a C kernel file. @param own the module's */
export function wasmCompileFlags(own: readonly string[]): string[] {
  const contraction = own.some((flag) => flag.startsWith('-ffp-contract')) ? [] : ['-ffp-contract=fast'];
  return [...FLAGS, ...contraction, ...own];
}

/** The flags of wasm-ld for every module. */
export const wasmLinkFlags = [
  '--no-entry',
  '--import-memory',
  '--shared-memory',
  `--max-memory=${MOST_BYTES}`,
  '--strip-all',
];

/** Its tasks run one after another in the calling thread: the pool of the device belongs to the device's own module. */
const SERIAL_POOL = `
#ifdef RECTIFLOW_POOL_H
void pool_run(pool_body body, void *context, int32_t tasks) {
  for (int32_t task = 0; task < tasks; task++) body(context, task, 0);
}
#endif
`;

/** @throws CompileError without clang or wasm-ld, with their log, or for data that does not fit into the place */
export function linkText(module: KernelModule, { base, bytes, memory }: LinkPlace): WebAssembly.Module {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-wasm-'));
  try {
    const object = join(folder, 'kernels.o');
    writeFileSync(object, objectOf(module));
    const linked = join(folder, 'kernels.wasm');
    const flags = [...wasmLinkFlags, '-z', `stack-size=${STACK_BYTES}`, `--global-base=${base}`];
    const exports = [...Object.keys(module.kernels), '__heap_base'].map((name) => `--export=${name}`);
    call(module, 'WASM_LD', 'wasm-ld', [...flags, `--initial-memory=${memory}`, ...exports, object, '-o', linked]);
    const compiled = new WebAssembly.Module(readFileSync(linked));
    const end = heapBase(compiled, memory);
    if (end > base + bytes)
      throw new CompileError(
        `${module.name}.c: expected at most ${bytes} bytes of data and stack on the device wasm, got ${end - base}`,
      );
    return compiled;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The compiled object, from the cache or by clang. */
function objectOf(module: KernelModule): Uint8Array {
  const cache = new KernelCache(undefined, { source: 'c', binary: 'o' });
  const source = amalgamate(module.url) + SERIAL_POOL;
  const flags = wasmCompileFlags(module.flags);
  const { stdout: version } = call(module, 'CLANG', 'clang', ['--version']);
  const key = cacheKey(module.name, ['wasm', source, version, ...flags]);
  const known = cache.read(key);
  if (known) return known;
  const start = performance.now();
  const staged = cache.stage(key, source);
  try {
    call(module, 'CLANG', 'clang', [...flags, '-c', '-x', 'c', staged.source, '-o', staged.output]);
    const object = readFileSync(staged.output);
    reportCompile(module.name, performance.now() - start, staged.commit());
    return object;
  } finally {
    staged.discard();
  }
}

/** Runs a tool. @throws CompileError with its log */
function call(module: KernelModule, variable: 'CLANG' | 'WASM_LD', usual: string, words: readonly string[]) {
  const named = fromEnvironment(variable);
  const command = named ?? usual;
  const outcome = runSync(command, words, LIMIT_MS);
  if (outcome.error?.code === 'ENOENT')
    throw new CompileError(
      named === undefined
        ? `the device wasm needs ${usual} to compile ${module.name}.c, which was not found (Debian, Ubuntu: ` +
            `\`apt-get install clang lld\`); or name one by ${variable}`
        : `${variable} names "${named}", which was not found; fix it, or unset ${variable}`,
    );
  const output = words.at(-1) as string;
  if (outcome.status !== 0 || (words.includes('-o') && !existsSync(output)))
    throw new CompileError(
      `${module.name}.c did not compile with ${command}:\n${outcome.stderr || outcome.error?.message}`,
    );
  return outcome;
}

/** Where the data and the stack of a module end. The linker puts them after its base. */
function heapBase(compiled: WebAssembly.Module, memory: number): number {
  const scratch = new WebAssembly.Memory({
    initial: memory / 2 ** 16,
    maximum: MOST_BYTES / 2 ** 16,
    shared: true,
  });
  const { __heap_base: end } = new WebAssembly.Instance(compiled, { env: { memory: scratch } }).exports;
  return (end as unknown as WebAssembly.Global).value;
}
