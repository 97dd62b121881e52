// rectiflow, on one thread: a recorded training step, as PlaneSession trains.
import { Adam, MLP, mean, openDevice, scope, square, sub, zeros } from 'rectiflow';
import { BATCH, nextBatch, RATE, SIZES } from './batches.js';

const device = await openDevice('wasm', { threads: 1 });
const network = new MLP(SIZES);
const optimizer = new Adam(network, { learningRate: RATE });
const [input, target] = [zeros([BATCH, 3], { device }), zeros([BATCH, 2], { device })];
const kept = zeros([], { device });
let recording;

function work() {
  scope(() => {
    const loss = mean(square(sub(network.forward(input), target)));
    device.copy(kept.address, loss.address, 4);
    loss.backward();
  });
  scope(() => void optimizer.update());
}

function step() {
  const batch = nextBatch();
  input.write(batch.input);
  target.write(batch.target);
  optimizer.advance();
  if (recording) recording.replay();
  else {
    work();
    recording = device.record(work);
  }
  return kept.item();
}

globalThis.about = device.description;
globalThis.train = (steps) => {
  const start = performance.now();
  for (let i = 0; i < steps; i++) globalThis.loss = step();
  return performance.now() - start;
};
