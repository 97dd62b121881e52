// TensorFlow.js with its backend in WebAssembly, on as many threads as it chooses.
import * as tf from '@tensorflow/tfjs-core';
// The package's own entry point registers no gradients.
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import { getThreadsCount, setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { BATCH, nextBatch, RATE, SIZES } from './batches.js';

setWasmPaths('/');
await tf.setBackend('wasm');
await tf.ready();
const layers = SIZES.slice(1).map((size, i) => ({
  weight: tf.variable(tf.randomUniform([SIZES[i], size], -1 / Math.sqrt(SIZES[i]), 1 / Math.sqrt(SIZES[i]))),
  bias: tf.variable(tf.zeros([size])),
}));
const optimizer = tf.train.adam(RATE);
const silu = (x) => tf.mul(x, tf.sigmoid(x));
const forward = (x) =>
  layers.reduce((h, { weight, bias }, i) => tf.add(tf.matMul(i === 0 ? h : silu(h), weight), bias), x);

function step() {
  const batch = nextBatch();
  return tf.tidy(() => {
    const [input, target] = [tf.tensor2d(batch.input, [BATCH, 3]), tf.tensor2d(batch.target, [BATCH, 2])];
    const loss = optimizer.minimize(() => tf.mean(tf.square(tf.sub(forward(input), target))), true);
    return loss.dataSync()[0];
  });
}

globalThis.about = `${getThreadsCount()} threads`;
globalThis.train = (steps) => {
  const start = performance.now();
  for (let i = 0; i < steps; i++) globalThis.loss = step();
  return performance.now() - start;
};
