// The WebAssembly module of all CPU kernels and src/device/wasm_runtime.c, as the package holds it: dist/wasm/kernels.js, compressed text
// in a JavaScript module, so that bundlers include it.
import type { KernelModule } from './module.ts';
import { sourceUrl } from './source.ts';

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
