// `npm run build:wasm` compiles all C kernels and their runtime into one SIMD WebAssembly module with shared memory,
// dist/wasm/kernels.js. It needs clang and wasm-ld (CLANG and WASM_LD name others). A current module is kept.
// Run with `node --import jiti/register`, because it imports the kernels' declarations from TypeScript.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { declaredModules, type KernelModule } from '../src/device/module.ts';
import { amalgamate } from '../src/device/source.ts';
import { wasmCompileFlags, wasmLinkFlags } from '../src/device/wasm_compiler.ts';
import {
  builtSources,
  INITIAL_BYTES,
  packedModule,
  SOURCES_SECTION,
  STACK_BYTES,
  sourceHash,
  unpack,
  WASM_FILE,
  wasmRuntime,
  workerFunctions,
} from '../src/device/wasm_module.ts';
import '../src/kernels/index.ts';
import '../src/kernels/inner/optimizer.ts';

const kernelFolder = fileURLToPath(new URL('../src/kernels', import.meta.url));
const target = fileURLToPath(new URL(`../${WASM_FILE}`, import.meta.url));

const linkFlags = [
  ...wasmLinkFlags,
  '--stack-first',
  '-z',
  `stack-size=${STACK_BYTES}`,
  `--initial-memory=${INITIAL_BYTES}`,
  '--export=__stack_pointer',
];

const modules = [wasmRuntime, ...declaredModules().filter((module): module is KernelModule => module.language === 'c')];
const undeclared = readdirSync(kernelFolder, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.c'))
  .filter((file) => !modules.some(({ url }) => fileURLToPath(url) === join(kernelFolder, file)));
if (undeclared.length > 0) fail(`no launch code declares ${undeclared.join(', ')}`);

const recipe = createHash('sha256')
  .update(readFileSync(fileURLToPath(import.meta.url)))
  .digest('hex');
const sources = { ...Object.fromEntries(modules.map((module) => [module.name, sourceHash(module)])), recipe };
if (JSON.stringify(sources) === JSON.stringify(await present())) {
  console.log(`${target} is up to date`);
} else {
  const bytes = build();
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(`${target}.${process.pid}`, packedModule(bytes));
  renameSync(`${target}.${process.pid}`, target);
  console.log(`${target}: ${modules.length} files, ${(bytes.length / 2 ** 10).toFixed(0)} KiB`);
}

function fail(text: string): never {
  console.error(`build:wasm: ${text}`);
  process.exit(1);
}

/** The source hashes of the existing module; undefined if it is missing or damaged. */
async function present(): Promise<Readonly<Record<string, string>> | undefined> {
  try {
    const { packed } = await import(pathToFileURL(target).href);
    return builtSources(new WebAssembly.Module(unpack(packed)));
  } catch {
    return undefined;
  }
}

function run(command: string, variable: string, args: readonly string[]): void {
  const { error, status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT')
    fail(
      `needs ${command}, which was not found (Debian, Ubuntu: apt-get install clang lld); or name one by ${variable}`,
    );
  if (status !== 0) fail(`${command} failed:\n${error?.message ?? stderr}`);
}

function build(): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-wasm-'));
  try {
    const objects = modules.map(({ name, url, flags }, i) => {
      const source = join(folder, `${i}.c`);
      writeFileSync(source, amalgamate(url));
      const object = join(folder, `${i}.o`);
      console.log(`clang ${name}.c`);
      run(process.env.CLANG ?? 'clang', 'CLANG', [
        ...wasmCompileFlags(flags),
        '-Wall',
        '-Wextra',
        '-Werror',
        '-c',
        source,
        '-o',
        object,
      ]);
      return object;
    });
    const exported = [...modules.flatMap(({ kernels }) => Object.keys(kernels)), ...workerFunctions];
    const linked = join(folder, 'kernels.wasm');
    run(process.env.WASM_LD ?? 'wasm-ld', 'WASM_LD', [
      ...linkFlags,
      ...exported.map((name) => `--export=${name}`),
      ...objects,
      '-o',
      linked,
    ]);
    return Buffer.concat([readFileSync(linked), customSection(SOURCES_SECTION, JSON.stringify(sources))]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A custom section (id 0) of the binary format: size, length of the name, name, content. */
function customSection(name: string, content: string): Buffer {
  const body = Buffer.concat([lebOf(Buffer.byteLength(name)), Buffer.from(name), Buffer.from(content)]);
  return Buffer.concat([Buffer.of(0), lebOf(body.length), body]);
}

/** An unsigned LEB128 integer: groups of seven bits, lowest first. */
function lebOf(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.of(...bytes, rest);
}
