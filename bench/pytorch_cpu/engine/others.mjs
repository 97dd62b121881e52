// A convolution in onnxruntime-node and in TensorFlow.js on WebAssembly, with the requests of engine.mjs. --folder names the folder
// where the packages are installed.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { convolutionModel } from './onnx.mjs';
import { answerLines } from './requests.mjs';

const { values: flags } = parseArgs({ options: { folder: { type: 'string' }, threads: { type: 'string' } } });
const threads = Number(flags.threads);
const require = createRequire(join(flags.folder, 'package.json'));

const libraries = {
  async 'onnxruntime-node'({ size, inputs, outputs, kernel }, batch) {
    const { InferenceSession, Tensor } = require('onnxruntime-node');
    const [weight, bias] = [numbers(outputs * inputs * kernel * kernel), numbers(outputs)];
    const model = convolutionModel({ batch, size, inputs, outputs, kernel, weight, bias });
    const session = await InferenceSession.create(model, { intraOpNumThreads: threads, interOpNumThreads: 1 });
    const shape = [batch, inputs, size, size];
    const x = new Tensor('float32', numbers(batch * inputs * size * size), shape);
    return { run: () => session.run({ x }), dispose: () => session.release() };
  },
  async 'tfjs-backend-wasm'({ size, inputs, outputs, kernel }, batch) {
    const tf = require('@tensorflow/tfjs-core');
    const wasm = require('@tensorflow/tfjs-backend-wasm');
    wasm.setThreadsCount(threads);
    wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
    await tf.setBackend('wasm');
    const x = tf.tensor4d(numbers(batch * size * size * inputs), [batch, size, size, inputs]);
    const weight = tf.tensor4d(numbers(kernel * kernel * inputs * outputs), [kernel, kernel, inputs, outputs]);
    const bias = tf.tensor1d(numbers(outputs));
    const run = () => tf.fused.conv2d({ x, filter: weight, strides: 1, pad: 'same', bias }).dispose();
    return { run, dispose: () => [x, weight, bias].forEach((tensor) => tensor.dispose()) };
  },
};

const opened = new Map();

function numbers(count) {
  return Float32Array.from({ length: count }, () => 2 * Math.random() - 1);
}

await answerLines({
  about: () => ({
    'onnxruntime-node': require('onnxruntime-node/package.json').version,
    'tfjs-backend-wasm': require('@tensorflow/tfjs-backend-wasm/package.json').version,
  }),
  async open({ name, library, shape, batch }) {
    opened.set(name, await libraries[library](shape, batch));
    return {};
  },
  async run({ name, calls }) {
    const { run } = opened.get(name);
    const seconds = [];
    for (let i = 0; i < calls; i++) {
      const start = performance.now();
      await run();
      seconds.push((performance.now() - start) / 1e3);
    }
    return { seconds };
  },
  async close({ name }) {
    await opened.get(name).dispose();
    opened.delete(name);
    return {};
  },
});
