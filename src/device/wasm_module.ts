// dist/wasm/kernels.js: every kernel of the CPU and src/device/wasm_runtime.c in one WebAssembly module, as
// scripts/build_wasm.ts makes it and the device wasm reads it: compressed, as text in a JavaScript module, which bundlers take
// along. It carries, in a section of its own, a hash of each source it was built of, so that one which is older than the
// sources beside it is refused instead of misread.
import { createHash } from 'node:crypto';
import { brotliCompressSync, brotliDecompressSync } from 'node:zlib';
import type { KernelModule } from './module.ts';
import { amalgamate, sourceUrl } from './source.ts';

/** Below the package's folder. */
export const WASM_FILE = 'dist/wasm/kernels.js';

/** Of each thread, at the lowest addresses: an overflow of the first one traps. */
export const STACK_BYTES = 2 ** 20;
/** The first thread's stack and the module's own data. */
export const INITIAL_BYTES = 2 * 2 ** 20;
/** One page below 4 GiB, so that the end of a block is an address too. */
export const MOST_BYTES = 2 ** 32 - 2 ** 16;

/** Name of the custom section: JSON, module name -> source hash. */
export const SOURCES_SECTION = 'rectiflow.sources';

export const wasmRuntime = {
  language: 'c',
  name: 'wasm_runtime',
  url: sourceUrl('device/wasm_runtime.c'),
  kernels: {
    runtime_copy: 'ptr ptr f64',
    runtime_fill: 'ptr i32 f64',
    runtime_configure: 'i32 i32',
  },
  flags: [],
} satisfies KernelModule;

/** What a worker calls; see wasm_worker.js. */
export const workerFunctions = ['runtime_join', 'runtime_work', 'runtime_failed'] as const;

/** The flags of a kernel's declaration are part of it. */
export function sourceHash({ url, flags }: KernelModule): string {
  return createHash('sha256')
    .update([amalgamate(url), ...flags].join('\0'))
    .digest('hex');
}

/** The hashes in a module; none in a file that this project did not build. */
export function builtSources(module: WebAssembly.Module): Readonly<Record<string, string>> {
  const [section] = WebAssembly.Module.customSections(module, SOURCES_SECTION);
  return section ? JSON.parse(new TextDecoder().decode(section)) : {};
}

/** The text of WASM_FILE. */
export function packedModule(binary: Uint8Array): string {
  return `export const packed =\n  '${brotliCompressSync(binary).toString('base64')}';\n`;
}

/** @param packed what that file exports @throws Error for a damaged text */
export function unpack(packed: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(brotliDecompressSync(Buffer.from(packed, 'base64')));
}
