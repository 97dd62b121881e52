// The Node host of the WebAssembly device: reads the module from dist/wasm and runs threads as workers. wasm_browser.ts is the
// host in browsers.
import { Worker } from 'node:worker_threads';
import { DeviceError } from '../errors.ts';
import { debugLine } from './debug.ts';
import type { KernelModule } from './module.ts';
import { sourceUrl } from './source.ts';
import { readText } from './texts.ts';
import type { WasmHost, WorkerStart } from './wasm.ts';
import { linkText } from './wasm_compiler.ts';
import { WASM_FILE } from './wasm_module.ts';
import { builtSources, sourceHash, unpack } from './wasm_package.ts';

const remedy = 'run `npm run build:wasm` (needs clang and wasm-ld)';

/** @throws DeviceError if the module was not built or is damaged */
export async function nodeHost(): Promise<WasmHost> {
  const packed = await readPacked();
  const module = await compile(packed).catch(throwDamaged);
  const built = builtSources(module);
  return {
    module,
    shared: true,
    check: (wanted) => checkSource(wanted, built[wanted.name]),
    link: linkText,
    startWorker,
  };
}

/** The module is imported rather than read, so that bundlers include it. */
async function readPacked(): Promise<string> {
  // @ts-expect-error The build creates it; the path is the same from src/device and from dist/device.
  const imported = await import('../../dist/wasm/kernels.js').catch((cause: NodeJS.ErrnoException) =>
    cause.code === 'ERR_MODULE_NOT_FOUND' ? {} : throwDamaged(cause),
  );
  const { packed } = imported as { packed?: string };
  if (packed === undefined)
    throw new DeviceError(`the device wasm needs ${WASM_FILE}, which does not exist: ${remedy}`);
  return packed;
}

async function compile(packed: string): Promise<WebAssembly.Module> {
  return WebAssembly.compile(unpack(packed));
}

function throwDamaged(cause: Error): never {
  throw new DeviceError(`${WASM_FILE} is damaged: ${cause.message}; ${remedy}`, { cause });
}

function checkSource(module: KernelModule, hash: string | undefined): void {
  if (hash === undefined) throw new DeviceError(`${WASM_FILE} has no kernels of ${module.name}.c; ${remedy}`);
  if (hash !== sourceHash(module))
    throw new DeviceError(`${WASM_FILE} was built from another version of ${module.name}.c; ${remedy}`);
}

/** Resolves once the worker has joined the pool. From then on it does not keep the process alive. */
function startWorker(start: WorkerStart): Promise<void> {
  return new Promise((resolve, reject) => {
    // The worker runs from its text, which bundles contain. It gets no flags of this process, which may load a TypeScript loader.
    const text = readText(sourceUrl('device/wasm_worker.cjs'));
    const worker = new Worker(text, { eval: true, workerData: start, execArgv: [] });
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
