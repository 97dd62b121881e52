// The workloads that our side is timed on: a training step and sampling as in the product, single layers, and the optimiser's pass.
// Each is an object { time, dispose }; `time` runs the workload once and returns the seconds.
import { sample } from '../../../dist/flow/index.js';
import { networkVelocity, replayable } from '../../../dist/flow/velocity.js';
import { attention, conv2d, groupNorm, keep, matmul, noGrad, randn, scope } from '../../../dist/index.js';
import { buildModel } from '../../../dist/run/checkpoints/model.js';
import { flowObjective } from '../../../dist/run/training/objective.js';
import { trainingState } from '../../../dist/run/training/session.js';
import { BatchUpdate } from '../../../dist/run/training/update.js';

/** Calls a function and returns the seconds that it took. */
function secondsOf(work) {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1e3;
}

/** One update. Images stay the same; noise, times and masks are drawn anew. */
export function training(device, { config, batch }) {
  const { model, optimizer } = trainingState(config, device);
  const { image_size: size, num_channels: channels } = config.data;
  const imageShape = [size, size, channels];
  const images = Float32Array.from({ length: batch * size * size * channels }, () => 2 * Math.random() - 1);
  const objective = flowObjective({ imageShape, batch: async () => images }, { model, config, device });
  const update = new BatchUpdate({ model, optimizer, objective, device, batchSize: batch });
  let step = 0;
  return {
    time: () => secondsOf(() => update.run(step++, [images])),
    dispose() {
      update[Symbol.dispose]();
      optimizer.dispose();
    },
  };
}

/** Sampling by Euler steps; the time is that of one evaluation. */
export function sampling(device, { config, batch, steps }) {
  const model = buildModel(config, device).eval();
  const { image_size: size, num_channels: channels } = config.data;
  const velocity = replayable(networkVelocity(model));
  const options = { shape: [size, size, channels], count: batch, solver: 'euler', steps, seed: 0, device };
  return {
    async time() {
      const start = performance.now();
      await sample(velocity, options);
      return (performance.now() - start) / 1e3 / steps;
    },
    dispose: () => model.dispose(),
  };
}

/** One layer: forward without a graph, or backward alone with the gradients of input, weight and bias. */
export function layer(device, { shape, batch, backward }) {
  let run;
  const operands = scope(() => {
    const made = layers[shape.op](shape, batch, device);
    run = made.run;
    return keep(made.operands);
  });
  const once = () => scope(() => noGrad(() => run(...operands)));
  const cotangent = scope(() => keep(once()));
  return {
    time() {
      if (!backward) return secondsOf(() => scope(() => void once()));
      for (const operand of operands) operand.requireGrad();
      return scope(() => {
        const y = run(...operands);
        const seconds = secondsOf(() => y.backward(cotangent));
        for (const operand of operands) {
          operand.grad?.dispose();
          operand.grad = null;
        }
        return seconds;
      });
    },
    dispose() {
      for (const tensor of [...operands, cotangent]) tensor.dispose();
    },
  };
}

/** By kind: the operands of a layer, and a function that computes its result from them. */
const layers = {
  conv({ size, inputs, outputs, kernel }, batch, device) {
    const operands = drawn(device, [batch, size, size, inputs], [outputs, kernel, kernel, inputs], [outputs]);
    return { operands, run: (x, weight, bias) => conv2d(x, weight, { bias, padding: (kernel - 1) / 2 }) };
  },
  norm({ size, inputs }, batch, device) {
    const options = { groups: Math.min(inputs / 4, 32), eps: 1e-6, activation: 'silu' };
    const operands = drawn(device, [batch, size, size, inputs], [inputs], [inputs]);
    return { operands, run: (x, weight, bias) => groupNorm(x, weight, bias, options) };
  },
  attention({ size, inputs }, batch, device) {
    const shape = [batch, size * size, inputs];
    return { operands: drawn(device, shape, shape, shape), run: attention };
  },
  linear({ inputs, outputs }, batch, device) {
    const operands = drawn(device, [batch, inputs], [outputs, inputs], [outputs]);
    return { operands, run: (x, weight, bias) => matmul(x, weight, { transposeB: true, bias }) };
  },
};

function drawn(device, ...shapes) {
  return shapes.map((shape, stream) => randn(shape, { seed: 0, first: 0, stream, device }));
}

/** Clip, Adam and moving average over a network's parameters. The gradients are restored before each pass. */
export function optimizer(device, { config }) {
  const { optimizer } = trainingState(config, device);
  const { gradients } = optimizer.arena;
  const drawnOnce = scope(() => keep(drawn(device, gradients.shape)[0]));
  return {
    time() {
      device.copy(gradients.address, drawnOnce.address, 4 * gradients.size);
      return secondsOf(() => scope(() => void optimizer.step()));
    },
    dispose() {
      drawnOnce.dispose();
      optimizer.dispose();
    },
  };
}
