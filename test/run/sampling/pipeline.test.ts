// Pipeline: the images of sampleFromCheckpoint, from a run's folder, a folder of checkpoints or a file, and what it refuses.
import { mkdirSync, mkdtempSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import type { Config } from '../../../src/run/config/index.ts';
import { convert, Pipeline, sampleFromCheckpoint, train } from '../../../src/run/index.ts';
import { configWith } from '../../support/config.ts';
import { openTestDevice } from '../../support/devices.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-pipeline-'));
const workdir = join(folder, 'run');
let device: Device;
let config: Config;
let last: string;
beforeAll(async () => {
  device = await openTestDevice('cpu');
  config = await configWith('digits', {
    'model.nf': 4,
    'model.ch_mult': [1],
    'model.num_res_blocks': 1,
    'training.batch_size': 4,
    'training.n_iters': 2,
    'training.snapshot_freq': 1,
    'training.snapshot_sampling': false,
    'eval.features': 'pixels',
  });
  last = (await train(config, { workdir, device })).checkpoint;
});

const request = { count: 3, seed: 5, sampler: 'euler', steps: 2 } as const;

it('samples the last checkpoint of a run as sampleFromCheckpoint does, as often as it is asked', async () => {
  const expected = await sampleFromCheckpoint(last, config, { num: 3, seed: 5, solver: 'euler', steps: 2, device });
  const { live } = device.memory();
  const pipeline = await Pipeline.load(workdir, { device });
  expect(pipeline.checkpoint).toBe(last);
  for (let turn = 0; turn < 2; turn++) {
    const { images, pixels, shape, nfe } = await pipeline.sample(request);
    expect([images, shape, nfe]).toEqual([expected.images, [3, 8, 8, 1], 2]);
    const scaled = Math.round(255 * Math.min(Math.max((images[7] + 1) / 2, 0), 1));
    expect([pixels.length, pixels[7]]).toEqual([192, scaled]);
  }
  pipeline.dispose();
  expect(device.memory().live).toBe(live);
});

it('takes a folder of checkpoints, a file, and the device of the configuration', async () => {
  for (const reference of [join(workdir, 'checkpoints'), last]) {
    using pipeline = await Pipeline.load(reference);
    expect([pipeline.checkpoint, pipeline.device.kind]).toEqual([last, 'cpu']);
    expect((await pipeline.sample({ count: 1, sampler: 'euler', steps: 1 })).nfe).toBe(1);
  }
});

it('reads the file once: requests work when it is gone', async () => {
  using pipeline = await Pipeline.load(last, { device });
  const { images } = await pipeline.sample(request);
  renameSync(last, `${last}.away`);
  try {
    expect((await pipeline.sample(request)).images).toEqual(images);
  } finally {
    renameSync(`${last}.away`, last);
  }
});

it('needs the configuration of a file that has none', async () => {
  const pth = join(folder, 'official.pth');
  await convert(last, pth);
  await expect(Pipeline.load(pth, { device })).rejects.toThrow(
    `${pth} holds no configuration; give that of its network as config`,
  );
  using pipeline = await Pipeline.load(pth, { device, config });
  using ours = await Pipeline.load(last, { device });
  expect((await pipeline.sample(request)).images).toEqual((await ours.sample(request)).images);
});

it('refuses a folder without checkpoints, unknown options, and a call after dispose', async () => {
  const empty = join(folder, 'empty');
  mkdirSync(empty);
  await expect(Pipeline.load(empty)).rejects.toThrow(`${empty}: holds no checkpoint_N.safetensors or .pth`);
  await expect(Pipeline.load(join(folder, 'none'))).rejects.toThrow('no such file');
  const pipeline = await Pipeline.load(workdir, { device });
  await expect(pipeline.sample({ num: 3 } as never)).rejects.toThrow(
    /^\[Pipeline\.sample\] expected options among .*count, sampler, got "num"/,
  );
  await expect(pipeline.sample({ count: 0 })).rejects.toThrow('[Pipeline.sample] expected count to be');
  pipeline.dispose();
  await expect(pipeline.sample(request)).rejects.toThrow('after it was disposed');
});
