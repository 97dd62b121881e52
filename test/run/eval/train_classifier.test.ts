// `classifier`: its accuracy on the digits, its file, and that its features are never confused with others.
import { copyFileSync, existsSync, mkdtempSync, readFileSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { digitsDataset } from '../../../src/data/index.ts';
import type { Device } from '../../../src/device/device.ts';
import { ConfigError, FileError, ShapeError } from '../../../src/errors.ts';
import { Classifier, extractFeatures, loadClassifier } from '../../../src/eval/index.ts';
import { readNpz, readSafetensors, writeSafetensors } from '../../../src/io/index.ts';
import { statisticsPath } from '../../../src/run/eval/reference_statistics.ts';
import {
  type ClassifierOptions,
  dataStatistics,
  openFeatures,
  scoreFeatures,
  trainClassifier,
} from '../../../src/run/index.ts';
import { configWith } from '../../support/config.ts';
import { deviceNames, openTestDevice } from '../../support/devices.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-classifier-'));
const at = (name: string) => join(folder, name);
process.env.RECTIFLOW_DATA = at('data');

let device: Device;
const train = async (name: string, options: Partial<ClassifierOptions> = {}, values: Record<string, unknown> = {}) =>
  trainClassifier(await configWith('digits', values), { device, out: at(name), ...options });

beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 120_000);

describe('training', () => {
  it('has at least 95 % accuracy on the held-out digits; the file describes its data', async () => {
    const losses: number[] = [];
    const trained = await train('digits.safetensors', { onStep: ({ loss }) => losses.push(loss) });
    expect(trained).toMatchObject({ path: at('digits.safetensors'), classes: 10, steps: losses.length });
    expect(trained.accuracy).toBeGreaterThan(0.95);
    expect(losses[0]).toBeGreaterThan(Math.log(10) / 2);
    expect(losses.at(-1)).toBeLessThan(0.3);
    const { metadata } = await readSafetensors(trained.path);
    expect(JSON.parse(metadata.images)).toEqual({ imageSize: 8, channels: 1, centered: true });
    expect(JSON.parse(metadata.data)).toMatchObject({ dataset: 'DIGITS', image_size: 8, num_channels: 1 });
    expect(metadata).toMatchObject({ classes: '10', accuracy: String(trained.accuracy), seed: '42' });
    // The loaded network has the stated accuracy.
    const { network, accuracy } = await loadClassifier(trained.path, { device });
    using classifier = network;
    const heldOut = await digitsDataset('heldOut');
    const images = await heldOut.load(Int32Array.from({ length: heldOut.count }, (_, i) => i));
    const { features, logits } = await extractFeatures(classifier, images, [heldOut.count, 8, 8, 1]);
    expect(features).toMatchObject({ rows: 397, columns: 64 });
    const right = heldOut.labels?.filter((label, i) => {
      const row = logits.values.subarray(10 * i, 10 * (i + 1));
      return row.indexOf(Math.max(...row)) === label;
    });
    expect((right?.length ?? 0) / heldOut.count).toBe(accuracy);
    expect(accuracy).toBe(trained.accuracy);
  });

  it('equal seeds give equal weights, different seeds different ones', async () => {
    const weights = async (name: string, seed: number) => {
      await train(name, { steps: 5 }, { seed });
      return [...(await readSafetensors(at(name))).tensors];
    };
    const first = await weights('a.safetensors', 1);
    expect(await weights('b.safetensors', 1)).toEqual(first);
    expect(await weights('c.safetensors', 2)).not.toEqual(first);
  });

  it('stops between two steps and leaves no file', async () => {
    const controller = new AbortController();
    const stopped = train('stopped.safetensors', {
      signal: controller.signal,
      onStep: ({ step }) => step === 2 && controller.abort(),
    });
    await expect(stopped).rejects.toThrow(/abort/);
    expect(existsSync(at('stopped.safetensors'))).toBe(false);
  });

  it('refuses a set without labels by its name', async () => {
    const images = train('x.safetensors', {}, { 'data.dataset': 'FOLDER', 'data.root_path': '/nowhere' });
    await expect(images).rejects.toThrow(ConfigError);
    await expect(images).rejects.toThrow('data.dataset FOLDER has no labels');
  });
});

describe('as features', () => {
  const configOf = (name: string, values: Record<string, unknown> = {}) =>
    configWith('digits', { 'eval.features': `classifier:${at(name)}`, ...values });
  const opened = async (name: string, values?: Record<string, unknown>) =>
    openFeatures(await configOf(name, values), { device });

  it('are identified by their weights, not by their file', async () => {
    copyFileSync(at('digits.safetensors'), at('copy.safetensors'));
    const [digits, copy, other] = await Promise.all(
      ['digits', 'copy', 'a'].map((name) => opened(`${name}.safetensors`)),
    );
    expect(digits.name).toMatch(/^classifier digits\.safetensors \([0-9a-f]{8}\)$/);
    expect(copy.key).toBe(digits.key);
    expect(other.key).not.toBe(digits.key);
    const config = await configOf('digits.safetensors');
    expect(statisticsPath(config, digits)).toBe(at(`data/statistics/digits-8-train-${digits.key}.npz`));
    for (const network of [digits, copy, other]) network[Symbol.dispose]();
  });

  it('real held-out digits score far better than noise, by Frechet distance and Inception score', async () => {
    const config = await configOf('digits.safetensors');
    using network = await openFeatures(config, { device });
    const statistics = await dataStatistics(config, network, { device });
    const heldOut = await digitsDataset('heldOut');
    const images = await heldOut.load(Int32Array.from({ length: heldOut.count }, (_, i) => i));
    const noise = Uint8Array.from(images, (_, i) => (i * 2654435761) % 256);
    const scoreOf = async (pixels: Uint8Array) =>
      scoreFeatures(network.name, await network.extract(pixels, [heldOut.count, 8, 8, 1]), statistics);
    const [good, bad] = [await scoreOf(images), await scoreOf(noise)];
    expect(good.features).toBe(network.name);
    expect(bad.frechetDistance).toBeGreaterThan(20 * good.frechetDistance);
    expect(good.inceptionScore).toBeGreaterThan(7);
    expect(bad.inceptionScore).toBeLessThan(4);
  });

  it('statistics of other features are refused even with the same number of columns', async () => {
    const pixels = await configWith('digits', { 'eval.features': 'pixels' });
    using network = await openFeatures(pixels, { device });
    const { path, features, activations } = await dataStatistics(pixels, network, { device });
    expect([features, activations?.columns]).toEqual(['pixels', 64]);
    expect(Buffer.from((await readNpz(path)).get('features')?.data as Uint8Array).toString()).toBe('pixels');
    const mixed = await configOf('digits.safetensors', { 'eval.statistics': path });
    using classifier = await openFeatures(mixed, { device });
    await expect(dataStatistics(mixed, classifier, { device })).rejects.toThrow(
      `${path} holds statistics of pixels, but eval.features is ${classifier.key}`,
    );
  });

  it.each([
    [{ 'data.image_size': 32 }, '32 x 32 of 1 channels in [-1, 1]'],
    [{ 'data.num_channels': 3 }, '8 x 8 of 3 channels in [-1, 1]'],
    [{ 'data.centered': false }, '8 x 8 of 1 channels in [0, 1]'],
  ])('a classifier of other images is refused by name: %o', async (values, wanted) => {
    const wrong = opened('digits.safetensors', values);
    await expect(wrong).rejects.toThrow(ConfigError);
    await expect(wrong).rejects.toThrow(
      `the classifier ${at('digits.safetensors')} expects images 8 x 8 of 1 channels in [-1, 1], but this configuration has ${wanted}`,
    );
  });

  it('files that are not classifiers are refused', async () => {
    const refused = async (name: string, text: string | RegExp) => {
      await expect(opened(name)).rejects.toThrow(FileError);
      await expect(opened(name)).rejects.toThrow(text);
    };
    const { metadata, tensors } = await readSafetensors(at('digits.safetensors'));
    const written = async (name: string, change: Record<string, string>, without?: string) => {
      const kept = new Map([...tensors].filter(([tensor]) => tensor !== without));
      await writeSafetensors(at(name), kept, { ...metadata, ...change });
      return name;
    };
    await refused('absent.safetensors', 'no such file');
    await refused(
      await written('other.safetensors', { format: 'x' }),
      'is not a classifier: its metadata has format "x"',
    );
    await refused(await written('images.safetensors', { images: '{"imageSize":8}' }), 'does not describe its images');
    await refused(await written('large.safetensors', { images: '{"imageSize":1e9}' }), 'does not describe its images');
    await refused(await written('none.safetensors', { images: 'null' }), 'does not describe its images');
    await refused(await written('classes.safetensors', { classes: '1' }), 'its number of classes is "1"');
    await refused(await written('eleven.safetensors', { classes: '11' }), /does not fit this model/);
    await refused(await written('share.safetensors', { accuracy: 'good' }), 'its accuracy is "good"');
    await refused(await written('headless.safetensors', {}, 'head.bias'), '1 missing: head.bias');
    copyFileSync(at('digits.safetensors'), at('cut.safetensors'));
    truncateSync(at('cut.safetensors'), readFileSync(at('digits.safetensors')).length - 4);
    await refused('cut.safetensors', 'it is truncated or damaged');
  });
});

it.each([
  [1, 1],
  [5, 3],
  [28, 1],
  [32, 3],
])('images of %i pixels and %i channels give 64 features', async (imageSize, channels) => {
  using network = new Classifier({ imageSize, channels, centered: false }, 3, { device });
  const images = new Uint8Array(2 * imageSize * imageSize * channels).fill(7);
  const { features, logits } = await extractFeatures(network, images, [2, imageSize, imageSize, channels]);
  expect([features.columns, logits.columns]).toEqual([64, 3]);
  expect(features.values.every(Number.isFinite)).toBe(true);
  const larger = [1, imageSize + 1, imageSize + 1, channels];
  const ofLarger = extractFeatures(network, new Uint8Array((imageSize + 1) ** 2 * channels), larger);
  await expect(ofLarger).rejects.toThrow(ShapeError);
  await expect(ofLarger).rejects.toThrow('[classifier]');
});

describe.each(deviceNames)('on %s', (name) => {
  it('has the same features as on the CPU', async () => {
    const other = await openTestDevice(name);
    const heldOut = await digitsDataset('heldOut');
    const images = await heldOut.load(Int32Array.of(0, 1));
    const featuresOn = async (where: Device) => {
      const { network } = await loadClassifier(at('digits.safetensors'), { device: where });
      using classifier = network;
      return (await extractFeatures(classifier, images, [2, 8, 8, 1])).features.values;
    };
    const [got, want] = [await featuresOn(other), await featuresOn(device)];
    got.forEach((value, i) => {
      expect(value).toBeCloseTo(want[i], 4);
    });
  }, 120_000);
});
