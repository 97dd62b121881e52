// A thread of the device wasm: the module on the device's memory, with a stack of its own, and tasks until the device
// goes. Plain JavaScript, because Node starts it as it is, from the sources as from dist.
import { parentPort, workerData } from 'node:worker_threads';

const { module, memory, stack } = workerData;
const { exports } = new WebAssembly.Instance(module, { env: { memory } });
exports.__stack_pointer.value = stack;
const worker = exports.runtime_join();
parentPort.postMessage('joined');
try {
  exports.runtime_work(worker);
} catch (error) {
  exports.runtime_failed();
  throw error;
}
