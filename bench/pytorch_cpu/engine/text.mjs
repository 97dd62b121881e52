// Parts of text to image on our side: the network, the decoder, and a picture of one step. bench/pytorch/text_model.py has the same.
import { add, keep, noGrad, scope, tensor } from '../../../dist/index.js';
import { loadTextToImage } from '../../../dist/run/index.js';

/** sin(i + 1) for element i in PyTorch's order [1, C, H, W], as [1, H, W, C]. */
function waves(device, [height, width, channels]) {
  const values = new Float32Array(height * width * channels);
  for (let c = 0, i = 0; c < channels; c++)
    for (let pixel = 0; pixel < height * width; pixel++) values[pixel * channels + c] = Math.sin(++i);
  return tensor(values, { shape: [1, height, width, channels], device });
}

/** The model, and a function of the part: `network`, `decoder` or `picture`. */
async function open(device, { folder, part, size, weights = 'f32' }) {
  const model = await loadTextToImage(folder, { device, weights, encoder: false });
  const width = model.unet.options.contextChannels;
  model.textEncoder.dispose();
  if (part === 'decoder') model.unet.dispose();
  device.trim();
  const [x, text, tau] = scope(() =>
    keep([
      waves(device, [size, size, 4]),
      tensor(
        Float32Array.from({ length: 77 * width }, (_, i) => Math.sin(i + 1)),
        { shape: [1, 77, width], device },
      ),
      tensor([1000], { device }),
    ]),
  );
  const run = () =>
    scope(() =>
      noGrad(() => {
        if (part === 'decoder') return model.decode(x);
        const v = model.unet.forward(x, tau, text);
        return part === 'network' ? v : model.decode(add(x, v));
      }),
    );
  const dispose = () => {
    for (const one of [x, text, tau]) one.dispose();
    model.dispose();
  };
  return { run, dispose };
}

export async function text(device, options) {
  const { run, dispose } = await open(device, options);
  const time = () => {
    const start = performance.now();
    run().dispose();
    return (performance.now() - start) / 1e3;
  };
  return { time, dispose };
}

/** The numbers of the part's result in PyTorch's order. */
export async function evaluateText(device, options) {
  const { run, dispose } = await open(device, options);
  const y = run();
  const [, height, width, channels] = y.shape;
  const data = await y.data();
  const values = [];
  for (let c = 0; c < channels; c++)
    for (let pixel = 0; pixel < height * width; pixel++) values.push(data[pixel * channels + c]);
  y.dispose();
  dispose();
  return { values };
}
