// What a text-to-image model holds: weights of 16 bits, which give the same pictures, no encoder where nothing is encoded, networks
// that are freed in turn, and estimates that are not below what is taken.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { NotDifferentiableError, sum, type Tensor, UseAfterFreeError, zeros } from '../../../src/index.ts';
import { inspectTextToImage, loadTextToImage, saveTextToImage } from '../../../src/run/index.ts';
import { pictureMemory, requirePictureMemory } from '../../../src/run/text/costs.ts';
import type { TextToImageOptions } from '../../../src/run/text/generate_options.ts';
import type { LoadTextToImageOptions } from '../../../src/run/text/load.ts';
import { scope } from '../../../src/tensor/scope.ts';
import { openTestDevice } from '../../support/devices.ts';
import { golden, pipelineShapes, writePipeline } from '../../support/instaflow.ts';

const root = mkdtempSync(join(tmpdir(), 'rectiflow-text-memory-'));
const folder = join(root, 'model');
let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
  await writePipeline(folder, pipelineShapes().shapes);
}, 60_000);
afterAll(() => rmSync(root, { recursive: true, force: true }));

const load = (options: LoadTextToImageOptions = {}) => loadTextToImage(folder, { device, ...options });
const request: TextToImageOptions = { prompt: ['a cat', 'a dog'], negative: 'a bird', guidance: 2, size: 64, seed: 3 };
const live = () => device.memory().live;

test('loading takes little more than the weights', async () => {
  device.trim();
  const before = live();
  device.resetHighWater();
  using model = await load();
  const { memory, parts } = await inspectTextToImage(folder);
  expect(model.unet.parameterCount()).toBe(parts[0].parameters);
  const taken = device.memory().highWater - before;
  // Blocks are an eighth larger at most; a piece of 8 MiB at most is in memory as in the file, in f32 and turned.
  expect(taken).toBeLessThan(1.13 * memory + 3 * 8 * 2 ** 20);
});

describe('weights as files have them', () => {
  test('half the memory, the same pictures, with low-rank changes too', async () => {
    const before = live();
    using wide = await load();
    const wideBytes = live() - before;
    using narrow = await load({ weights: 'files' });
    const narrowBytes = live() - before - wideBytes;
    // The network and the text network are f16 in the files, the autoencoder f32.
    const [f32, files] = [await inspectTextToImage(folder), await inspectTextToImage(folder, { weights: 'files' })];
    expect(files.memory).toBeLessThan(0.62 * f32.memory);
    expect(narrowBytes / wideBytes).toBeCloseTo(files.memory / f32.memory, 1);
    expect(narrow.unet.conv_in.weight.dtype).toBe('f16');
    expect(narrow.unet.conv_in.bias.dtype).toBe('f32');
    expect(narrow.vae.decoder.conv_in.weight.dtype).toBe('f32');
    const [a, b] = [await wide.generate(request), await narrow.generate(request)];
    expect(b.latents).toEqual(a.latents);
    expect(b.images).toEqual(a.images);
    for (const model of [wide, narrow]) await model.addLora(join(golden, 'lora.safetensors'), 0.8);
    expect((await narrow.generate(request)).latents).toEqual((await wide.generate(request)).latents);
  }, 60_000);

  test('gradients flow through them, and none to them', async () => {
    using wide = await load();
    using narrow = await load({ weights: 'files' });
    const gradientOf = ({ unet }: typeof wide) =>
      scope(() => {
        const x = zeros([1, 8, 8, 4], { device }).requireGrad();
        const text = zeros([1, 77, unet.options.contextChannels], { device });
        sum(unet.forward(x, zeros([1], { device }), text)).backward();
        return [...((x.grad as Tensor).dataSync() as Float32Array)];
      });
    expect(gradientOf(narrow)).toEqual(gradientOf(wide));
    narrow.unet.conv_in.weight.requireGrad();
    expect(() => gradientOf(narrow)).toThrow(NotDifferentiableError);
    expect(() => gradientOf(narrow)).toThrow('[conv2d] a weight of f16 is frozen');
  });

  test('wider weights are rounded if that is asked for', async () => {
    using model = await load({ weights: 'bf16' });
    expect(model.vae.decoder.conv_in.weight.dtype).toBe('bf16');
    const { images } = await model.generate(request);
    using exact = await load();
    const wanted = (await exact.generate(request)).images;
    expect(images).not.toEqual(wanted);
    const off = images.reduce((total, value, i) => total + Math.abs(value - wanted[i]), 0) / images.length;
    expect(off).toBeLessThan(16);
  });
});

test.each([true, false])('progress ends at the bytes that are loaded, with the encoder %s', async (encoder) => {
  let [read, expected] = [0, 0];
  using _model = await load({
    encoder,
    onFound: ({ loadedBytes }) => {
      expected = loadedBytes;
    },
    onProgress: ({ bytes }) => {
      read += bytes;
    },
  });
  expect(read).toBe(expected);
  const { bytes } = await inspectTextToImage(folder);
  expect(bytes - read > 0).toBe(!encoder);
});

test('without its encoder a model decodes, and says why it cannot encode or be saved', async () => {
  using whole = await load();
  using model = await load({ encoder: false });
  expect((await model.generate(request)).images).toEqual((await whole.generate(request)).images);
  const { memory } = await inspectTextToImage(folder, { encoder: false });
  expect(memory).toBeLessThan((await inspectTextToImage(folder)).memory);
  expect(() => model.vae.encode(zeros([1, 8, 8, 3], { device }))).toThrow('expected an encoder, got none');
  await expect(saveTextToImage(join(root, 'copy'), model)).rejects.toThrow('load it with encoder: true');
});

test('the last pictures of a model: each network is freed when its part is done', async () => {
  using kept = await load();
  const { images } = await kept.generate(request);
  kept.dispose();
  const before = live();
  const model = await load({ weights: 'files', encoder: false });
  const { parts } = await inspectTextToImage(folder, { weights: 'files', encoder: false });
  const weights = live() - before;
  const seen: Record<string, number> = {};
  const last = await model.generate({
    ...request,
    last: true,
    onProgress: ({ stage, done }) => {
      if (stage !== 'decoding' || done === 0) seen[stage] ??= live() - before;
    },
  });
  expect(last.images).toEqual(images);
  expect(live()).toBe(before);
  const bytes = Object.fromEntries(parts.map(({ name, memory }) => [name, memory]));
  // Blocks are an eighth larger at most, and a few latents and states are there too.
  expect(seen.text).toBeGreaterThanOrEqual(weights);
  expect(seen.network).toBeLessThan(1.2 * (bytes.unet + bytes.vae) + 1e6);
  expect(seen.decoding).toBeLessThan(1.2 * bytes.vae + 1e6);
  await expect(model.generate(request)).rejects.toThrow(UseAfterFreeError);
});

test('estimates are not below what is taken, nor twice as high', async () => {
  const weights = 'files';
  const summary = await inspectTextToImage(folder, { weights, encoder: false });
  const besides =
    pictureMemory(summary, { size: [8, 8] }, 'cpu').peak - pictureMemory(summary, { size: [8, 8] }, 'cuda').peak;
  for (const size of [256, 384]) {
    device.trim();
    const before = live();
    const model = await load({ weights, encoder: false });
    device.resetHighWater();
    await model.generate({ prompt: 'a cat', size, last: true });
    const taken = device.memory().highWater - before;
    const estimate = pictureMemory(summary, { size: [size, size], last: true }, 'cpu').peak;
    expect(estimate).toBeGreaterThan(taken);
    expect(estimate - besides).toBeLessThan(2 * taken);
  }
}, 60_000);

test('all pictures of a call count, before weights are read', async () => {
  const summary = await inspectTextToImage(folder, { encoder: false });
  const peak = (count: number) => pictureMemory(summary, { size: [64, 64], count }, 'cpu').peak;
  // Bytes of pixels, twice; noise and latents of 8 x 8 x 4 numbers in f32.
  expect(peak(1001) - peak(1)).toBe(1000 * (2 * 3 * 64 * 64 + 8 * 4 * 8 * 8));
  const small = { kind: 'cpu', name: 'cpu', totalMemory: 1e9, memory: () => ({ live: 0 }) } as unknown as Device;
  const require = (count: number, size = 64) => requirePictureMemory(summary, { size: [size, size], count }, small);
  expect(() => require(1000)).not.toThrow();
  expect(() => require(50_000)).toThrow(
    /with 50000 pictures of 64 x 64 .*; fewer pictures, or a smaller size, needs less/,
  );
  expect(() => require(1, 4096)).toThrow(/with pictures of 4096 x 4096 .*; tiles, or a smaller size, needs less/);
  const large = { ...small, totalMemory: 1e15 } as Device;
  expect(() => requirePictureMemory(summary, { size: [64, 64], count: 1e9 }, large)).toThrow(
    'expected at most 2147483648 bytes of pictures, got 1000000000 of 64 x 64 pixels',
  );
});
