// Members of the NCSN++ family compared with the official PyTorch implementation: names, order and shapes of the
// parameters, the output and every gradient. The numbers are in fixtures/nn/family.*, written by make_family.py there,
// which states the formula by which both sides fill weights and images.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { toFloat32 } from '../../src/io/array.ts';
import { readNpz } from '../../src/io/numpy/npz.ts';
import {
  ddpmppCifar10,
  fromOfficial,
  Initializer,
  ncsnpp256,
  type OfficialEntry,
  officialEntries,
  toOfficial,
  UNet,
} from '../../src/nn/index.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { deviceModes, openTestDevice } from '../support/devices.ts';
import { buildMember, checkMember, type Family } from '../support/family.ts';

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/nn/${name}`, import.meta.url));
const family = JSON.parse(readFileSync(fixture('family.json'), 'utf8')) as Family;

let device: Device;
let arrays: Awaited<ReturnType<typeof readNpz>>;
beforeAll(async () => {
  device = await openTestDevice('cpu');
  arrays = await readNpz(fixture('family.npz'));
}, 120_000);

function stored(name: string): Float32Array {
  const array = arrays.get(name);
  if (!array) throw new Error(`the fixture lacks ${name}`);
  return toFloat32(array);
}

/** The further devices on which a member is computed: GPUs, for the members of the presets. */
const cardsFor = (member: string) =>
  ['ddpmpp', 'ncsnpp'].includes(member) ? deviceModes.filter(({ name }) => name.startsWith('cuda')) : [];

const keysOf = (entries: OfficialEntry[]) => entries.map(({ official, shape }) => `${official} ${shape.join()}`);

describe.each(Object.keys(family.members))('%s', (name) => {
  test('names, order and shapes of the parameters', () => {
    using network = buildMember(family, name, device);
    const { data } = arrays.get(`${name}/keys`) ?? {};
    const keys = new TextDecoder().decode(data as Uint8Array).split('\n');
    expect(keysOf(officialEntries(network))).toEqual(keys);
  });

  test('output and gradients', () => checkMember(family, name, stored, device));

  test.each(cardsFor(name))(
    'output and gradients on $label',
    async (mode) => checkMember(family, name, stored, await openTestDevice(mode.name, mode)),
    240_000,
  );
});

test.each([
  ['ddpmppCifar10', ddpmppCifar10, 61_804_419, 0],
  ['ncsnpp256', ncsnpp256, 65_574_421, 128],
] as const)(
  '%s has the parameters of the official configuration',
  (name, options, trainable, fixed) => {
    using network = new UNet(options, new Initializer({ device }));
    const entries = officialEntries(network);
    const count = (kind: boolean) =>
      entries.filter((entry) => entry.trainable === kind).reduce((total, { shape }) => total + sizeOf(shape), 0);
    expect([count(true), count(false)]).toEqual([trainable, fixed]);
    const sha256 = createHash('sha256').update(keysOf(entries).join('\n')).digest('hex');
    expect({ trainable, keys: entries.length, sha256 }).toEqual(family.large[name]);
  },
  120_000,
);

test.each([
  ['conv', [2, 3, 5, 7], [2, 5, 7, 3]],
  ['nin', [3, 2], [2, 3]],
  ['nin_conv', [3, 2], [2, 1, 1, 3]],
  ['same', [4, 3], [4, 3]],
] as const)('converts layout %s there and back', (layout, official, ours) => {
  const array = { shape: official, data: Float32Array.from({ length: sizeOf(official) }, (_, i) => i) };
  const here = fromOfficial(layout, array);
  expect(here.shape).toEqual(ours);
  expect(toOfficial(layout, here)).toEqual(array);
});

test('converts a convolution and a NIN weight to the right places', () => {
  const conv = fromOfficial('conv', { shape: [1, 2, 1, 3], data: Float32Array.of(1, 2, 3, 10, 20, 30) });
  expect([...conv.data]).toEqual([1, 10, 2, 20, 3, 30]);
  const nin = fromOfficial('nin', { shape: [2, 3], data: Float32Array.of(1, 2, 3, 10, 20, 30) });
  expect([...nin.data]).toEqual([1, 10, 2, 20, 3, 30]);
});
