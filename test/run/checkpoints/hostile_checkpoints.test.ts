// Checkpoints and configurations with sizes beyond any machine, or with values that are not numbers: each is refused
// with a line that names the key, before memory is allocated.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { ConfigError, DeviceError, FileError, NonFiniteError } from '../../../src/errors.ts';
import { type ArrayFile, readSafetensors, writePth, writeSafetensors } from '../../../src/io/index.ts';
import { writeCheckpoint } from '../../../src/run/checkpoints/checkpoint.ts';
import { convert } from '../../../src/run/checkpoints/convert.ts';
import { numberedCheckpoints } from '../../../src/run/checkpoints/find.ts';
import { applyOverrides } from '../../../src/run/config/overrides.ts';
import {
  buildModel,
  type Config,
  inspectFile,
  inspectModel,
  loadCheckpoint,
  loadConfig,
  loadModel,
  readCheckpointHeader,
  resolveConfig,
  sampleFromCheckpoint,
  train,
} from '../../../src/run/index.ts';
import { numberedFiles } from '../../../src/run/workdir/stage_folder.ts';
import { configWith } from '../../support/config.ts';
import { openTestDevice } from '../../support/devices.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-hostile-checkpoints-'));
const sound = join(folder, 'sound.safetensors');

let device: Device;
let config: Config;
let metadata: Record<string, string>;
let tensors: Map<string, ArrayFile>;

const narrow = { model: { nf: 4, attn_resolutions: [] } };

beforeAll(async () => {
  device = await openTestDevice('cpu');
  config = await loadConfig('digits', narrow);
  using model = buildModel(config, device);
  const values = new Map(
    [...model.namedTensors()].map(([name, tensor]) => [
      name,
      { shape: tensor.shape, data: tensor.dataSync() as Float32Array },
    ]),
  );
  await writeCheckpoint({ path: sound, config, step: 1, model: values, ema: values });
  ({ metadata, tensors } = await readSafetensors(sound));
});

/** The valid checkpoint with changed metadata. */
async function changed(name: string, change: Record<string, string>): Promise<string> {
  const path = join(folder, `${name}.safetensors`);
  await writeSafetensors(path, tensors, { ...metadata, ...change });
  return path;
}

const withModel = (keys: object) => JSON.stringify({ ...config, model: { ...config.model, ...keys } });

describe('a configuration', () => {
  it.each([
    ['model.num_res_blocks', '1000000000', 'expected a whole number from 1 to 256; got 1000000000'],
    ['model.nf', '1e9', 'expected a whole number from 4 to 16384; got 1000000000'],
    ['model.nf', '-4', 'expected a whole number from 4 to 16384; got -4'],
    ['model.nf', '9007199254740993', 'expected a whole number from 4 to 16384; got 9007199254740992'],
    ['model.nf', '4.5', 'expected a whole number from 4 to 16384; got 4.5'],
    [
      'model.ch_mult',
      `(${'1,'.repeat(1000)})`,
      'expected a list of 1 to 15 whole numbers from 1 to 256; got a list of 1000',
    ],
    ['data.image_size', '1e9', 'expected a whole number from 1 to 16384; got 1000000000'],
    ['model.num_scales', '1e12', 'expected a whole number from 1 to 1000000; got 1000000000000'],
    ['optim.lr', '1e300', 'expected a number above 0, at most 1e+30; got 1e+300'],
    ['optim.lr', '0', 'expected a number above 0, at most 1e+30; got 0'],
    ['sampling.sample_N', '1e12', 'expected a whole number from 1 to 10000000; got 1000000000000'],
    ['training.batch_size', '1e12', 'expected a whole number from 1 to 1048576; got 1000000000000'],
  ])('with %s is refused by key, value and bounds (%#)', (key, text, message) => {
    const refused = () => applyOverrides(config, [{ path: key.split('.'), text }]);
    expect(refused).toThrow(ConfigError);
    expect(refused).toThrow(`invalid configuration with the overrides of the command line:\n  ${key}: ${message}`);
  });

  it.each([
    [{ attn_resolutions: [-1] }, /model\.attn_resolutions\.0: expected a whole number from 1 to 16384; got -1/],
    [{ nf: Number.NaN }, /model\.nf: expected a whole number from 4 to 16384; got NaN/],
    [{ num_res_blocks: 2 ** 53 }, /model\.num_res_blocks: expected a whole number from 1 to 256; got 9007199254740992/],
    [
      { fir_kernel: Array(1000).fill(1) },
      /model\.fir_kernel: expected a list of 1 to 64 numbers from -1e\+30 to 1e\+30; got a list of 1000/,
    ],
  ])('from a file is refused, too (%#)', async (model, message) => {
    await expect(resolveConfig({ model }, 'x.safetensors')).rejects.toThrow(message);
  });

  it('reports no fault twice, and a limited number of faults', async () => {
    const error = await resolveConfig(
      { model: { ch_mult: Array(15).fill(2 ** 60) }, data: { image_size: 1e300 } },
      'x',
    ).catch((problem) => problem);
    const lines = error.message.split('\n');
    expect(new Set(lines).size).toBe(lines.length);
  });

  it('of a network larger than the machine is refused before it is built, and inspect shows its size', async () => {
    const huge = await loadConfig('digits', { model: { ...narrow.model, nf: 2048, num_res_blocks: 256 } });
    device.resetHighWater();
    const before = device.memory().highWater;
    expect(() => buildModel(huge, device)).toThrow(DeviceError);
    expect(() => buildModel(huge, device)).toThrow(
      /needs at least \d+\.\d GB for sampling, the machine has \d+\.\d GB; lower model\.nf/,
    );
    const workdir = join(folder, 'never');
    await expect(train(huge, { workdir, device })).rejects.toThrow(/needs at least \d+\.\d GB for training/);
    expect(inspectModel(huge).parameters).toBeGreaterThan(1e11);
    expect(device.memory().highWater).toBe(before);
  });

  it('of an image larger than the machine is refused, too', async () => {
    const huge = await loadConfig('digits', { data: { image_size: 16384 }, model: { ...narrow.model, nf: 1024 } });
    expect(() => buildModel(huge, device)).toThrow(/attention over \d+ pixels needs a map of \d+ numbers/);
  });

  it('of a tensor beyond the limits of the kernels is refused by its shape', async () => {
    const huge = await loadConfig('digits', { model: { ...narrow.model, nf: 16384 } });
    expect(() => buildModel(huge, device)).toThrow(/a tensor of more than 2\^31 - 1 numbers, \[65536, 65536\]; lower/);
  });
});

describe('a checkpoint', () => {
  beforeEach(() => device.resetHighWater());

  it.each([
    ['nf', { nf: 4096 }],
    ['levels', { nf: 32, ch_mult: [16, 16] }],
    ['blocks', { num_res_blocks: 256 }],
  ])('whose configuration has more %s than the file is refused before a network is built', async (name, keys) => {
    const path = await changed(name, { config: withModel(keys) });
    const own = await resolveConfig((await readCheckpointHeader(path)).config, path);
    const before = device.memory().highWater;
    const cpu = process.cpuUsage();
    await expect(loadModel(path, own, { device })).rejects.toThrow(
      /does not fit this model:|needs at least .* for sampling/,
    );
    await expect(convert(path, join(folder, 'x.pth'))).rejects.toThrow(/does not fit this model:/);
    expect(device.memory().highWater).toBe(before);
    // CPU time in microseconds, independent of other load.
    expect(process.cpuUsage(cpu).user).toBeLessThan(5e6);
  });

  it('of the official code is refused in the same way', async () => {
    const path = join(folder, 'small.pth');
    await writePth(path, new Map([['all_modules.0.weight', { shape: [1], dtype: 'f32', data: new Float32Array(1) }]]));
    const wide = await loadConfig('digits', { model: { ...narrow.model, nf: 1024 } });
    const before = device.memory().highWater;
    await expect(loadModel(path, wide, { device })).rejects.toThrow(/does not fit this model:/);
    await expect(convert(path, join(folder, 'x.safetensors'), { config: wide })).rejects.toThrow(/does not fit/);
    expect(device.memory().highWater).toBe(before);
  });

  it.each([
    ['step', { step: '1e300' }, /its step is "1e300"/],
    ['step_empty', { step: '' }, /its step is ""/],
    ['decay', { ema_decay: 'NaN' }, /its EMA decay is "NaN"/],
    ['numerics', { numerics: '1e300' }, /its numerics is "1e300"/],
    ['items', { items: '1e300' }, /its number of items is "1e300"/],
    ['unevaluated', { unevaluated: '{"step":1}' }, /the record of its last step is damaged/],
    [
      'deep',
      { config: `${'['.repeat(20_000)}${']'.repeat(20_000)}` },
      /its configuration is not JSON: it is nested deeper than 500/,
    ],
    ['twice', { config: '{"seed": 1, "seed": 2}' }, /its configuration is not JSON: the key "seed" occurs twice/],
  ])('with an odd %s is refused', async (name, change, message) => {
    const path = await changed(name, change);
    await expect(loadCheckpoint(path)).rejects.toThrow(message);
    await expect(inspectFile(path)).rejects.toThrow(message);
  });

  it('with too deep a tree is refused', async () => {
    const path = join(folder, 'tree.safetensors');
    await writeSafetensors(path, new Map(), { tree: `${'['.repeat(20_000)}${']'.repeat(20_000)}` });
    await expect(inspectFile(path)).rejects.toThrow(/its tree is not JSON/);
  });

  it('is not read if the samples would not fit into memory', async () => {
    const asked = sampleFromCheckpoint('gone.safetensors', config, { num: 2 ** 31 - 1, device });
    await expect(asked).rejects.toThrow(/2147483647 images need 549\.8 GB, the machine has \d+\.\d GB; sample fewer/);
  });
});

describe('numbers that are not finite', () => {
  /** The valid checkpoint with `value` in some tensors of one part. */
  async function spoilt(name: string, part: string, value: number, count = 1): Promise<string> {
    const path = join(folder, `${name}.safetensors`);
    const bad = new Map(
      [...tensors].map(([key, array]) => [key, { ...array, data: array.data.slice() as Float32Array }]),
    );
    for (const [key, { data }] of bad) if (key === `${part}.convIn.weight`) data.fill(value, 0, count);
    await writeSafetensors(path, bad, metadata);
    return path;
  }

  it('are reported with count and tensor when weights are read', async () => {
    const ema = await spoilt('ema', 'ema', Number.NaN, 3);
    await expect(loadModel(ema, config, { device })).rejects.toThrow(FileError);
    await expect(loadModel(ema, config, { device })).rejects.toThrow(
      'ema.safetensors: holds weights that are not finite: 3 numbers in "convIn.weight"',
    );
    await expect(sampleFromCheckpoint(ema, config, { num: 1, device })).rejects.toThrow(/not finite: 3 numbers/);
    const raw = await spoilt('raw', 'model', Number.NEGATIVE_INFINITY);
    await expect(loadModel(raw, config, { device, weights: 'raw' })).rejects.toThrow(
      /weights that are not finite: 1 number in "convIn\.weight"/,
    );
    // Parts that are not used may hold them.
    (await loadModel(raw, config, { device })).model.dispose();
  });

  it('are shown by inspect', async () => {
    const path = await spoilt('shown', 'model', Number.NaN, 2);
    expect((await inspectFile(path)).notFinite).toEqual({ count: 2, tensors: 1, first: 'model.convIn.weight' });
    expect(await inspectFile(sound)).not.toHaveProperty('notFinite');
    const half = join(folder, 'half.pth');
    const data = Uint16Array.of(0x3c00, 0x7c00, 0x7e00);
    await writePth(
      half,
      new Map([
        ['a', { shape: [3], dtype: 'f16', data }],
        ['b', { shape: [3], dtype: 'bf16', data: data.fill(0x7fc0) }],
      ]),
    );
    expect((await inspectFile(half)).notFinite).toMatchObject({ tensors: 2, first: 'a' });
  });

  it('are neither written nor converted', async () => {
    const path = await spoilt('converted', 'ema', Number.NaN);
    const target = join(folder, 'converted.pth');
    await expect(convert(path, target)).rejects.toThrow(/averages that are not finite: 1 number/);
    const checkpoint = await loadCheckpoint(path);
    const writing = writeCheckpoint({ ...checkpoint, path: join(folder, 'again.safetensors') });
    await expect(writing).rejects.toThrow(NonFiniteError);
    await expect(writing).rejects.toThrow(
      /again\.safetensors was not written, because it would hold averages that are not finite/,
    );
  });

  it('in a state make training resume from the state before', async () => {
    const training = { n_iters: 3, batch_size: 4, snapshot_freq_for_preemption: 1, snapshot_sampling: false };
    const small = await loadConfig('digits', { ...narrow, training });
    const workdir = join(folder, 'run');
    await train(small, { workdir, device });
    const last = join(workdir, 'checkpoints-meta', 'state_4.safetensors');
    const { metadata: own, tensors: state } = await readSafetensors(last);
    const moment = state.get('exp_avg.convIn.weight') as ArrayFile;
    (moment.data as Float32Array)[0] = Number.NaN;
    await writeSafetensors(last, state, own);
    const notices: string[] = [];
    await train(small, { workdir, device, onNotice: (text) => notices.push(text) });
    expect(notices).toContainEqual(
      expect.stringMatching(
        /state_4.*holds first moments that are not finite: 1 number in "convIn\.weight"; resuming from step 3/,
      ),
    );
  });
});

describe('numbers in names of files', () => {
  it('beyond the safe integers are ignored', async () => {
    const place = mkdtempSync(join(folder, 'names-'));
    for (const number of ['1', '20', '007', '99999999999999999999999', '9007199254740993', '-1', '1.5'])
      writeFileSync(join(place, `state_${number}.safetensors`), '');
    expect(await numberedFiles(place, 'state')).toEqual([1, 20]);
    mkdirSync(join(place, 'checkpoints'));
    for (const number of ['3', '99999999999999999999999', '99999999999999999999998'])
      writeFileSync(join(place, 'checkpoints', `checkpoint_${number}.safetensors`), '');
    expect((await numberedCheckpoints(join(place, 'checkpoints'))).map(({ number }) => number)).toEqual([3]);
  });
});

it.each([
  ['at a configured size', { 'data.image_size': 4096, 'model.attn_resolutions': [2048] }],
  ['at the lowest level', { 'data.image_size': 2048, 'model.ch_mult': [1, 1] }],
])('attention %s that does not fit into memory is refused before allocation', async (_, keys) => {
  const config = await configWith('digits', keys);
  expect(() => buildModel(config, device)).toThrow(
    /attention over \d+ pixels needs a map of \d+ numbers.*data\.image_size/,
  );
});
