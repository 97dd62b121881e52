// The networks of text to image on cards: a small one against the device cpu, and those of golden/instaflow against diffusers. The
// emulated card is slow and takes minutes for the latter, so they are in test:full there.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noGrad } from '../../src/autograd/mode.ts';
import { channelsFirst, channelsLast } from '../../src/data/index.ts';
import type { Device } from '../../src/device/device.ts';
import { type ArrayFile, toFloat32 } from '../../src/io/index.ts';
import { randn } from '../../src/kernels/random.ts';
import { Initializer, UNet2DCondition } from '../../src/nn/index.ts';
import { loadTextToImage, type TextToImage } from '../../src/run/index.ts';
import { toBytes } from '../../src/run/text/pictures.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { deviceModes, full, openTestDevice } from '../support/devices.ts';
import { pipelineShapes, readGolden, writePipeline } from '../support/instaflow.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-instaflow-cuda-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** |a - b| / |b|, Euclidean. */
function relative(a: Float32Array, b: Float32Array): number {
  return Math.hypot(...a.map((value, i) => value - b[i])) / Math.hypot(...b);
}

const modes = deviceModes.filter(({ name, precision }) => name.startsWith('cuda') && precision !== 'tf32');

it.each(modes)(
  'a small network on $label is that on the device cpu',
  { timeout: 240_000 },
  async ({ name, ...mode }) => {
    const sizes = { channels: [8, 16], layers: 1, heads: 2, contextChannels: 8, groups: 4 };
    const run = (device: Device) => {
      // The initialiser draws the same numbers on every device.
      using network = new UNet2DCondition(sizes, new Initializer({ device, seed: 3 }));
      return scope(() =>
        noGrad(() => {
          const [x, text] = [
            [2, 4, 4, 4],
            [2, 5, 8],
          ].map((shape, i) => randn(shape, { seed: i, device }));
          return network
            .eval()
            .forward(x, tensor([700, 12.5], { device }), text)
            .dataSync() as Float32Array;
        }),
      );
    };
    const want = run(await openTestDevice('cpu', { exact: true }));
    const got = run(await openTestDevice(name, mode));
    expect(relative(got, want)).toBeLessThan(mode.precision === 'bf16' ? 2e-2 : 2e-6);
  },
);

describe.skipIf(!full && modes.every(({ name }) => name === 'cuda-emulated')).each(modes)(
  'on $label',
  ({ name, ...mode }) => {
    let device: Device;
    let model: TextToImage;
    beforeAll(async () => {
      await writePipeline(folder, pipelineShapes().shapes);
      device = await openTestDevice(name, mode);
      model = await loadTextToImage(folder, { device });
    }, 240_000);
    afterAll(() => model?.dispose());

    const read = async (file: string) => {
      const arrays = await readGolden(file);
      return (key: string) => toFloat32(arrays.get(key) as ArrayFile);
    };
    /** The first sample of an array [N, C, H, W] of latents. */
    const first = (values: Float32Array) =>
      tensor(channelsLast(values.slice(0, 4 * 256), [1, 16, 16, 4]), { shape: [1, 16, 16, 4], device });

    it('the network', { timeout: 600_000 }, async () => {
      const golden = await read('unet');
      scope(() =>
        noGrad(() => {
          const text = tensor(golden('encoder_hidden_states').slice(0, 77 * 64), { shape: [1, 77, 64], device });
          const times = tensor(golden('timesteps').slice(0, 1), { device });
          const y = model.unet.forward(first(golden('sample')), times, text);
          const got = channelsFirst(y.dataSync() as Float32Array, [1, 16, 16, 4]);
          const want = golden('out').slice(0, 4 * 256);
          if (mode.precision === 'bf16') expect(relative(got, want)).toBeLessThan(2e-2);
          else for (let i = 0; i < want.length; i++) expect(Math.abs(got[i] - want[i])).toBeLessThan(1e-5);
        }),
      );
    });

    it('the decoder', { timeout: 3_600_000 }, async () => {
      const golden = await read('vae');
      scope(() =>
        noGrad(() => {
          const image = model.decode(first(golden('latents'))).dataSync() as Float32Array;
          const want = channelsLast(golden('image_f32_first'), [1, 128, 128, 3]);
          if (mode.precision === 'bf16') {
            const [a, b] = [toBytes(image), toBytes(want)];
            expect(a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length).toBeLessThan(2);
          } else for (let i = 0; i < want.length; i++) expect(Math.abs(image[i] - want[i])).toBeLessThan(1e-5);
        }),
      );
    });
  },
);
