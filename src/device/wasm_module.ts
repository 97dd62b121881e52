// The WebAssembly module of all CPU kernels and src/device/wasm_runtime.c: wasm/kernels.wasm, which scripts/build_wasm.ts builds and the
// repository holds, and dist/wasm/kernels.js, the same as compressed text in a JavaScript module, so that bundlers include it. A custom
// section has a hash of each source, so that a module older than its sources is refused.
import { createHash } from 'node:crypto';
import { brotliCompressSync, brotliDecompressSync } from 'node:zlib';
import type { KernelModule } from './module.ts';
import { amalgamate, sourceUrl } from './source.ts';

/** Path below the repository's folder. */
export const WASM_SOURCE = 'wasm/kernels.wasm';
/** Path below the package's folder. */
export const WASM_FILE = 'dist/wasm/kernels.js';

/** Stack size of each thread. The first stack is at the lowest addresses, so that its overflow traps. */
export const STACK_BYTES = 2 ** 20;
/** Room for the first thread's stack and the module's data. */
export const INITIAL_BYTES = 2 * 2 ** 20;
/** Room for the data and the stack of kernels that a program gave as text. */
export const LINK_BYTES = 2 ** 18;
/** One page below 4 GiB, so that the end of a block is also an address. */
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

/** The exports that a worker calls; see wasm_worker.cjs. */
export const workerFunctions = ['runtime_join', 'runtime_work', 'runtime_failed'] as const;

/** A hash of the source and the flags of its declaration. */
export function sourceHash({ url, flags }: KernelModule): string {
  return createHash('sha256')
    .update([amalgamate(url), ...flags].join('\0'))
    .digest('hex');
}

/** The hashes in a module; empty for a file that this project did not build. */
export function builtSources(module: WebAssembly.Module): Readonly<Record<string, string>> {
  const [section] = WebAssembly.Module.customSections(module, SOURCES_SECTION);
  return section ? JSON.parse(new TextDecoder().decode(section)) : {};
}

/** The text of WASM_FILE. */
export function packedModule(binary: Uint8Array): string {
  return `export const packed =\n  '${brotliCompressSync(binary).toString('base64')}';\n${lastLine(binary)}`;
}

/** Whether a text is packedModule() of the module: packing takes a second. */
export function isPacked(text: string, binary: Uint8Array): boolean {
  return text.endsWith(lastLine(binary));
}

function lastLine(binary: Uint8Array): string {
  return `// SHA-256 of the module: ${createHash('sha256').update(binary).digest('hex')}\n`;
}

/** @param packed what that file exports @throws Error for a damaged text */
export function unpack(packed: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(brotliDecompressSync(Buffer.from(packed, 'base64')));
}
