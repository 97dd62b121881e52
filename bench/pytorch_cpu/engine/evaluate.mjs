// Computes velocity and gradients of a network with random weights. Freshly initialised weights would not do: the last layers start
// near zero and would hide errors in the layers before them. cpu.py computes the same from the file written here.
import { writeFileSync } from 'node:fs';
import { mse, randn, scope, tensor } from '../../../dist/index.js';
import { buildModel } from '../../../dist/run/checkpoints/model.js';

/**
 * Writes two files of concatenated f32 arrays. `input` receives every parameter, images [N, H, W, C] and labels [N]; `output` receives
 * the velocity and the gradient of mean((velocity - images)^2) with respect to every parameter.
 */
export function evaluate(device, { config, batch, input, output }) {
  const { image_size: size, num_channels: channels } = config.data;
  const model = buildModel(config, device).eval();
  try {
    return scope(() => {
      const parameters = [...model.namedParameters()];
      const draw = (shape, stream) => randn(shape, { seed: 1, first: 0, stream, device }).dataSync();
      const weights = parameters.map(([path, { shape }], i) => {
        const noise = draw(shape, i);
        const deviation = shape.length > 1 ? Math.sqrt(shape[0] / noise.length) : 0.2;
        const mean = shape.length === 1 && path.endsWith('weight') ? 1 : 0;
        return noise.map((value) => mean + deviation * value);
      });
      const state = parameters.map(([path, { shape }], i) => [path, { shape, data: weights[i] }]);
      model.loadStateDict(new Map(state));
      const imageShape = [batch, size, size, channels];
      const images = draw(imageShape, parameters.length);
      const labels = Float32Array.from({ length: batch }, (_, i) => (999 * (i + 1)) / (batch + 1));
      const x = tensor(images, { shape: imageShape, device });
      const velocity = model.forward(x, tensor(labels, { device }));
      mse(velocity, x).backward();
      writeArrays(input, [...weights, images, labels]);
      writeArrays(output, [velocity.dataSync(), ...parameters.map(([, parameter]) => parameter.grad.dataSync())]);
      return { parameters: model.parameterCount() };
    });
  } finally {
    model.dispose();
  }
}

function writeArrays(path, arrays) {
  writeFileSync(
    path,
    Buffer.concat(arrays.map((array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength))),
  );
}
