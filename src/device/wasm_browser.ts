// The host of the WebAssembly device in browsers: unpacks the module that the package holds, and runs threads as Web Workers where the
// page is cross-origin isolated. Elsewhere memory cannot be shared, and the device has one thread.
import { DeviceError } from '../errors.ts';
import type { WasmHost, WorkerStart } from './wasm.ts';
import { WASM_FILE } from './wasm_module.ts';
import { withoutSharing } from './wasm_sharing.ts';

/** The part of a Web Worker that is needed here; Node's types omit it. */
declare class Worker {
  constructor(url: string, options?: { name?: string });
  onmessage: ((event: { data: string }) => void) | null;
  onerror: ((event: { message?: string }) => void) | null;
  postMessage(message: WorkerStart): void;
}

/** A thread of the device; wasm_worker.cjs is the same for Node. */
const WORKER = `
self.onmessage = ({ data: { module, memory, stack } }) => {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  exports.__stack_pointer.value = stack;
  const worker = exports.runtime_join();
  postMessage('joined');
  try {
    exports.runtime_work(worker);
  } catch (error) {
    exports.runtime_failed();
    throw error;
  }
};
`;

/** @throws DeviceError if the browser cannot compile the module or the package's copy is damaged */
export async function browserHost(): Promise<WasmHost> {
  const shared = (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated === true;
  const binary = await unpacked();
  const module = await WebAssembly.compile(shared ? binary : withoutSharing(binary)).catch((cause: Error) => {
    throw new DeviceError(`this browser cannot compile the kernels; they need SIMD in WebAssembly: ${cause.message}`, {
      cause,
    });
  });
  return { module, shared, check: () => {}, startWorker };
}

async function unpacked(): Promise<Uint8Array> {
  // @ts-expect-error The build creates it; the path is the same from src/device and from dist/device.
  const { packed } = (await import('../../dist/wasm/kernels.js')) as { packed: string };
  try {
    const bytes = Uint8Array.from(atob(packed), (one) => one.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch (cause) {
    throw new DeviceError(`${WASM_FILE} is damaged: ${(cause as Error).message}`, { cause });
  }
}

/** Resolves once the worker has joined the pool. */
function startWorker(start: WorkerStart): Promise<void> {
  const url = URL.createObjectURL(new Blob([WORKER], { type: 'text/javascript' }));
  return new Promise<void>((resolve, reject) => {
    const worker = new Worker(url, { name: 'rectiflow' });
    worker.onmessage = () => resolve();
    worker.onerror = ({ message = 'the page may forbid workers from blob: addresses (worker-src)' }) =>
      reject(new DeviceError(`a worker of the device wasm did not start: ${message}`));
    worker.postMessage(start);
  }).finally(() => URL.revokeObjectURL(url));
}
