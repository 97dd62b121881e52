// jax-js with its backend in WebAssembly, on as many threads as it chooses. The whole step is compiled by jit, Adam included: its library of
// optimisers is a package of its own.
import { defaultDevice, init, jit, nn, numpy as np, tree, valueAndGrad } from '@jax-js/jax';
import { BATCH, nextBatch, RATE, SIZES } from './batches.js';

await init('wasm');
defaultDevice('wasm');
const [BETA1, BETA2] = [0.9, 0.999];
const filled = (shape, value) =>
  np.array(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => value()),
    { shape, dtype: 'float32' },
  );
const shapes = SIZES.slice(1).flatMap((size, i) => [[SIZES[i], size], [size]]);
let params = shapes.map((shape) =>
  filled(shape, () => (shape.length === 2 ? (2 * Math.random() - 1) / Math.sqrt(shape[0]) : 0)),
);
let [first, second] = [shapes.map((shape) => filled(shape, () => 0)), shapes.map((shape) => filled(shape, () => 0))];

/** An array that is passed on is given away, so `ref` keeps it. */
const lossOf = (weights, input, target) => {
  let h = input;
  for (let i = 0; i < weights.length; i += 2)
    h = np.matmul(i === 0 ? h : nn.silu(h), weights[i]).add(weights[i + 1]);
  return np.square(h.sub(target)).mean();
};
const step = jit((weights, means, squares, scales, input, target) => {
  const [loss, gradients] = valueAndGrad(lossOf)(tree.ref(weights), input, target);
  const [a, b] = [scales.ref.slice(0), scales.slice(1)];
  const newMeans = means.map((m, i) => m.mul(BETA1).add(gradients[i].ref.mul(1 - BETA1)));
  const newSquares = squares.map((v, i) => v.mul(BETA2).add(np.square(gradients[i]).mul(1 - BETA2)));
  const next = weights.map((w, i) =>
    w.sub(
      newMeans[i].ref
        .mul(a.ref)
        .div(np.sqrt(newSquares[i].ref.mul(b.ref)).add(1e-8))
        .mul(RATE),
    ),
  );
  a.dispose();
  b.dispose();
  return [loss, next, newMeans, newSquares];
});

let count = 0;
async function train(steps) {
  const start = performance.now();
  for (let k = 0; k < steps; k++) {
    count++;
    const batch = nextBatch();
    const scales = np.array(Float32Array.of(1 / (1 - BETA1 ** count), 1 / (1 - BETA2 ** count)));
    const input = np.array(batch.input, { shape: [BATCH, 3], dtype: 'float32' });
    const target = np.array(batch.target, { shape: [BATCH, 2], dtype: 'float32' });
    const [loss, ...next] = step(params, first, second, scales, input, target);
    [params, first, second] = next;
    globalThis.loss = (await loss.data())[0];
  }
  return performance.now() - start;
}
globalThis.about = 'its own number of threads';
globalThis.train = train;
