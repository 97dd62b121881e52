// `npm run build:wasm` compiles all C kernels and their runtime into one SIMD WebAssembly module with shared memory,
// wasm/kernels.wasm, which is committed, and packs it into dist/wasm/kernels.js. A module of the same sources and flags is kept, whichever
// clang built it; only another one needs clang and wasm-ld (CLANG and WASM_LD name others). Warnings are errors.
// `--check` exits with 1 if the module is not of these sources.
// Run with `node --import jiti/register`, because it imports the kernels' declarations from TypeScript.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { declaredModules, type KernelModule } from '../src/device/module.ts';
import { amalgamate } from '../src/device/source.ts';
import { wasmCompileFlags, wasmLinkFlags } from '../src/device/wasm_compiler.ts';
import { INITIAL_BYTES, STACK_BYTES, WASM_FILE, wasmRuntime, workerFunctions } from '../src/device/wasm_module.ts';
import {
  builtSources,
  isPacked,
  packedModule,
  SOURCES_SECTION,
  sourceHash,
  WASM_SOURCE,
} from '../src/device/wasm_package.ts';
import '../src/kernels/index.ts';
import '../src/kernels/inner/optimizer.ts';

const kernelFolder = fileURLToPath(new URL('../src/kernels', import.meta.url));
const file = fileURLToPath(new URL(`../${WASM_SOURCE}`, import.meta.url));
const packed = fileURLToPath(new URL(`../${WASM_FILE}`, import.meta.url));

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
  .update([...wasmCompileFlags([]), ...linkFlags].join('\0'))
  .digest('hex');
const sources = { ...Object.fromEntries(modules.map((module) => [module.name, sourceHash(module)])), recipe };
const changed = differences(sources, present());
if (process.argv.includes('--check')) {
  if (changed.length > 0)
    fail(
      `${WASM_SOURCE} was built from other sources (${changed.join(', ')}); run \`npm run build:wasm\` and commit it`,
    );
} else {
  if (changed.length === 0) console.log(`${WASM_SOURCE} is up to date`);
  else {
    const bytes = build();
    write(file, bytes);
    console.log(`${WASM_SOURCE}: ${modules.length} files, ${(bytes.length / 2 ** 10).toFixed(0)} KiB; commit it`);
  }
  const binary = readFileSync(file);
  const text = existsSync(packed) ? readFileSync(packed, 'utf8') : '';
  if (!isPacked(text, binary)) write(packed, packedModule(binary));
}

/** Names with different values: of kernel files, and `recipe` for the flags of all. */
function differences(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => a[name] !== b[name]);
}

function write(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.${process.pid}`, content);
  renameSync(`${path}.${process.pid}`, path);
}

function fail(text: string): never {
  console.error(`build:wasm: ${text}`);
  process.exit(1);
}

/** The source hashes of the existing module; empty if it is missing or damaged. */
function present(): Readonly<Record<string, string>> {
  try {
    return builtSources(new WebAssembly.Module(readFileSync(file)));
  } catch {
    return {};
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
