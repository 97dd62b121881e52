// Neighbours across the domains of a transfer: how well they agree with classes that they never saw, the pairs of a step, refusals.
import { beforeAll, expect, it } from 'vitest';
import { type ImageDataset, memoryDataset } from '../../../src/data/index.ts';
import { type Config, loadDataset } from '../../../src/run/index.ts';
import { loadSource } from '../../../src/run/source.ts';
import { findNeighbours, type Neighbours } from '../../../src/run/training/neighbours.ts';
import { domainBatches } from '../../../src/run/training/transfer.ts';
import { configWith } from '../../support/config.ts';

const K = 4;
let config: Config;
let source: ImageDataset;
let target: ImageDataset;
let found: Neighbours;
beforeAll(async () => {
  config = await configWith('digits_bold', { 'training.neighbours': K, 'training.batch_size': 6 });
  [source, target] = [await loadSource(config, 'train'), await loadDataset(config, 'train')];
  found = await findNeighbours(source, target, K);
}, 60_000);

it('nine of ten have the class of their image, where the nearest pixels have it in seven of ten', async () => {
  const share = (of: Int32Array, own: ArrayLike<number>, other: ArrayLike<number>) =>
    of.reduce((same, j, at) => same + Number(own[Math.floor(at / K)] === other[j]), 0) / of.length;
  const [a, b] = [source.labels as Int32Array, target.labels as Int32Array];
  expect(share(found.ofSource, a, b)).toBeGreaterThan(0.88);
  expect(share(found.ofTarget, b, a)).toBeGreaterThan(0.88);
});

it('a step pairs images of each domain in turn with one of their neighbours, the same in every run', async () => {
  const exact = { ...config, data: { ...config.data, uniform_dequantization: false } };
  const { source: from, target: to } = await domainBatches(exact);
  const [x0, x1] = [await from.batch(5), await to.batch(5)];
  const bytes = async (set: ImageDataset) => set.load(Int32Array.from({ length: set.count }, (_, i) => i));
  const [all0, all1] = [await bytes(source), await bytes(target)];
  /** The numbers of the images that equal the one at that place. */
  const numbersOf = (images: Float32Array, all: Uint8Array, place: number) =>
    Array.from({ length: all.length / 64 }, (_, i) => i).filter((i) =>
      images
        .subarray(64 * place, 64 * place + 64)
        .every((value, j) => Math.round((value + 1) * 127.5) === all[64 * i + j]),
    );
  for (let place = 0; place < 6; place++) {
    const [i, j] = [numbersOf(x0, all0, place), numbersOf(x1, all1, place)];
    const [own, of, other] = place % 2 === 0 ? [i, found.ofSource, j] : [j, found.ofTarget, i];
    const near = own.flatMap((number) => Array.from(of.subarray(K * number, K * number + K)));
    expect(other.some((number) => near.includes(number))).toBe(true);
  }
  using again = (await domainBatches(exact)).source;
  expect(await again.batch(5)).toEqual(x0);
  from[Symbol.dispose]();
  to[Symbol.dispose]();
}, 60_000);

it('an image and its neighbour are mirrored together', async () => {
  const flips = { 'data.random_flip': true, 'source.random_flip': true, 'training.neighbours': 1 };
  const same = { 'source.half': 'second', 'data.change': 'none', 'training.batch_size': 16, ...flips };
  const { source: from, target: to } = await domainBatches(await configWith('digits_bold', same));
  // In two equal sets, each image is its own neighbour.
  expect(await from.batch(0)).toEqual(await to.batch(0));
  expect((await from.batch(1)).slice(0, 64)).not.toEqual((await from.batch(0)).slice(0, 64));
}, 60_000);

it('refuses domains of few or many images, one domain, and images that are mirrored apart', async () => {
  const images = (count: number) => memoryDataset('dots', new Uint8Array(count), [count, 1, 1, 1]);
  await expect(findNeighbours(images(3), images(20), 1)).rejects.toThrow(
    /training\.neighbours 1 needs 10 to 5000 training images in each domain; dots has 3/,
  );
  await expect(findNeighbours(images(20), images(5001), 1)).rejects.toThrow(/dots has 5001/);
  await expect(configWith('digits', { 'training.neighbours': 2 })).rejects.toThrow(
    /training\.neighbours: expected 0 with sampling\.init_type gaussian, which has one domain/,
  );
  await expect(configWith('digits_bold', { 'training.neighbours': 2, 'data.random_flip': true })).rejects.toThrow(
    /source\.random_flip: expected true as data\.random_flip/,
  );
});
