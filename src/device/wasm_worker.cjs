// A thread of the wasm device: instantiates the module on the device's memory with its own stack and runs tasks until the device
// closes. Plain CommonJS, because Node runs it from its text, which is in the package (texts.ts).
const { parentPort, workerData } = require('node:worker_threads');

const { module: wasm, memory, stack } = workerData;
const { exports: functions } = new WebAssembly.Instance(wasm, { env: { memory } });
functions.__stack_pointer.value = stack;
const worker = functions.runtime_join();
parentPort.postMessage('joined');
try {
  functions.runtime_work(worker);
} catch (error) {
  functions.runtime_failed();
  throw error;
}
