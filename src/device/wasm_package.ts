// Packs the WebAssembly module: wasm/kernels.wasm, which scripts/build_wasm.ts builds and the repository holds, becomes
// dist/wasm/kernels.js. A custom section has a hash of each source, so that a module older than its sources is refused.
import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { KernelModule } from './module.ts';
import { amalgamate } from './source.ts';

/** Path below the repository's folder. */
export const WASM_SOURCE = 'wasm/kernels.wasm';

/** Name of the custom section: JSON, module name -> source hash. */
export const SOURCES_SECTION = 'rectiflow.sources';

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
  return `export const packed =\n  '${gzipSync(binary, { level: 9 }).toString('base64')}';\n${lastLine(binary)}`;
}

/** Whether a text is packedModule() of the module: packing takes a second. */
export function isPacked(text: string, binary: Uint8Array): boolean {
  return text.endsWith(lastLine(binary));
}

function lastLine(binary: Uint8Array): string {
  return `// gzip of a module with the SHA-256 ${createHash('sha256').update(binary).digest('hex')}\n`;
}

/** @param packed what WASM_FILE exports @throws Error for a damaged text */
export function unpack(packed: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(gunzipSync(Buffer.from(packed, 'base64')));
}
