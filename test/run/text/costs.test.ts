// What pictures cost, by the options of the networks alone: the products of the real networks as counted by hooks in PyTorch, and the
// memory that a network takes when it runs.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadTextToImage } from '../../../src/run/index.ts';
import type { JsonObject } from '../../../src/run/text/configurations.ts';
import { decoderWork, pictureWork, textWork, unetWork, type Work } from '../../../src/run/text/costs.ts';
import { estimateTextToImage } from '../../../src/run/text/estimate.ts';
import { openTestDevice } from '../../support/devices.ts';
import { pipelineShapes, readJson, shapesOf, writePipeline } from '../../support/instaflow.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-costs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** GFLOP. */
const giga = ({ convolution, linear, attention }: Work) => (convolution + linear + attention) / 1e9;

it('counts the products of the real networks', () => {
  const read = (name: string) => readJson<JsonObject>('full', `${name}_config.json`);
  const { networks } = shapesOf({ unet: read('unet'), vae: read('vae'), text_encoder: read('text_encoder') });
  const unet = unetWork(networks.unet.options, [64, 64]);
  // The convolutions of stride 1 and 2.
  expect(unet.convolution / 1e9).toBeCloseTo(394.7 + 5.7, 0);
  expect(unet.linear / 1e9).toBeCloseTo(43.6 + 233.3, 0);
  expect(unet.attention / 1e9).toBeCloseTo(126.1, 0);
  expect(giga(unet)).toBeCloseTo(803.3, 0);
  expect(giga(unetWork(networks.unet.options, [96, 96]))).toBeCloseTo(2148, 0);
  expect(giga(decoderWork(networks.vae.options, [64, 64]))).toBeCloseTo(2514.5, 0);
  expect(giga(textWork(networks.text_encoder.options))).toBeCloseTo(13.3, 1);
});

it('the memory of activations is about what networks take', async () => {
  const device = await openTestDevice('cpu');
  await writePipeline(join(folder, 'model'), pipelineShapes().shapes);
  using model = await loadTextToImage(join(folder, 'model'), { device });
  const networks = { unet: model.unet.options, vae: model.vae.options, text_encoder: model.textEncoder.options };
  for (const request of [{ size: 256 }, { size: 256, guidance: 2 }, { size: 512, tile: 16 }]) {
    const before = device.memory().live;
    device.resetHighWater();
    await model.generate({ prompt: 'a cat', ...request });
    const taken = device.memory().highWater - before;
    const { memory } = pictureWork(networks, { ...request, size: [request.size, request.size] });
    expect(memory / taken, JSON.stringify(request)).toBeGreaterThan(0.8);
    expect(memory / taken, JSON.stringify(request)).toBeLessThan(2);
  }
  const { stages, summary, memory } = await estimateTextToImage(join(folder, 'model'), device, { size: 64, steps: 3 });
  expect(summary.parameters).toBe(summary.parts.reduce((sum, part) => sum + part.parameters, 0));
  expect(memory).toBeGreaterThan(summary.memory);
  for (const { seconds, low, high } of stages) expect(0 < low && low <= seconds && seconds <= high).toBe(true);
}, 60_000);
