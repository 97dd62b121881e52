// What the device wasm takes from Node: the module from its file, compared with the sources, and threads. For a page the
// same interface would fetch the file and start Workers; the device itself knows neither.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { DeviceError } from '../errors.ts';
import { debugLine } from './debug.ts';
import type { KernelModule } from './module.ts';
import type { WasmHost, WorkerStart } from './wasm.ts';
import { builtSources, sourceHash, WASM_URL } from './wasm_module.ts';

const path = fileURLToPath(WASM_URL);
const remedy = 'run `npm run build:wasm` (needs clang and wasm-ld)';

/** @throws DeviceError when the module was not built, or is damaged */
export async function nodeHost(): Promise<WasmHost> {
  const module = await WebAssembly.compile(readModule()).catch((cause) => {
    throw new DeviceError(`${path} is damaged: ${cause.message}; ${remedy}`, { cause });
  });
  const built = builtSources(module);
  return {
    module,
    check: (wanted) => checkSource(wanted, built[wanted.name]),
    startWorker,
  };
}

function readModule(): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new DeviceError(`the device wasm needs ${path}, which is not there: ${remedy}`, { cause });
  }
}

function checkSource(module: KernelModule, hash: string | undefined): void {
  if (hash === undefined) throw new DeviceError(`${path} holds no kernels of ${module.name}.c; ${remedy}`);
  if (hash !== sourceHash(module))
    throw new DeviceError(`${path} was built of another ${module.name}.c than the one that is here; ${remedy}`);
}

/** Settles once the worker has joined the pool. From then on it does not keep the process alive. */
function startWorker(start: WorkerStart): Promise<void> {
  return new Promise((resolve, reject) => {
    // No flags of this process: a loader of TypeScript would start in every worker.
    const worker = new Worker(new URL('./wasm_worker.js', import.meta.url), { workerData: start, execArgv: [] });
    worker.once('message', () => {
      worker.unref();
      resolve();
    });
    worker.on('error', (cause) => {
      debugLine(1, `a worker of the device wasm ended: ${cause.message}`);
      reject(new DeviceError(`a worker of the device wasm did not start: ${cause.message}`, { cause }));
    });
  });
}
