// Official checkpoints: found under any spelling, refused if they do not fit, converted both ways bit for bit, and
// resumed. The files in test/golden were written by the official code.
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import {
  type ArrayFile,
  flattenTorch,
  OrderedDict,
  readPth,
  readSafetensors,
  type TorchValue,
  writePng,
  writePth,
} from '../../../src/io/index.ts';
import {
  type Config,
  convert,
  findCheckpoint,
  inspectFile,
  inspectModel,
  loadCheckpoint,
  loadConfig,
  loadModel,
  train,
} from '../../../src/run/index.ts';
import { openTestDevice } from '../../support/devices.ts';

const golden = fileURLToPath(new URL('../../golden/ncsnpp_fir/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-official-checkpoints-'));
const [checkpoint0, checkpoint3] = [0, 3].map((step) => `${golden}checkpoint_${step}.pth`);

const preset = `${golden}config.json`;

let device: Device;
let config: Config;
beforeAll(async () => {
  device = await openTestDevice('cpu');
  config = await loadConfig(preset);
});

describe('findCheckpoint', () => {
  const place = (name: string) => {
    const path = join(folder, name);
    writeFileSync(path, '');
    return path;
  };

  it('tries the exact name, then the other spellings', () => {
    mkdirSync(join(folder, 'names'));
    const exact = place('names/checkpoint_1.safetensors');
    const official = place('names/checkpoint_2.pth');
    expect(findCheckpoint(exact)).toBe(exact);
    expect(findCheckpoint(join(folder, 'names/checkpoint-1.pth'))).toBe(exact);
    expect(findCheckpoint(join(folder, 'names/checkpoint_1.pth'))).toBe(exact);
    expect(findCheckpoint(join(folder, 'names/checkpoint-2.safetensors'))).toBe(official);
    // Both spellings exist: the exact name wins, a third spelling is ambiguous.
    const other = place('names/checkpoint-2.pth');
    expect(findCheckpoint(official)).toBe(official);
    expect(findCheckpoint(other)).toBe(other);
    expect(() => findCheckpoint(join(folder, 'names'))).toThrow(/names: is a folder; name a checkpoint in it/);
    expect(() => findCheckpoint(join(folder, 'names/checkpoint_2.safetensors'))).toThrow(
      /matches .*checkpoint_2\.pth and .*checkpoint-2\.pth; give one of these names/,
    );
    expect(() => findCheckpoint(join(folder, 'names/checkpoint-10.pth'))).toThrow(
      /checkpoint-10\.pth: no such file, nor under another spelling: checkpoint_10\.safetensors, /,
    );
    expect(() => findCheckpoint(join(folder, 'names/weights.pth'))).toThrow(/weights\.pth: no such file$/);
  });
});

describe('strict', () => {
  it('lists every tensor that is missing, unknown or of another shape', async () => {
    const root = (await readPth(checkpoint0)) as Map<string, TorchValue>;
    const model = root.get('model') as Map<string, TorchValue>;
    const changed = new OrderedDict<string | number, TorchValue>(model);
    changed.delete('module.all_modules.1.weight');
    changed.set('module.all_modules.99.weight', { shape: [1], dtype: 'f32', data: new Float32Array(1) });
    changed.set('module.all_modules.2.bias', { shape: [3], dtype: 'f32', data: new Float32Array(3) });
    const path = join(folder, 'changed.pth');
    await writePth(path, new Map<string, TorchValue>([...root, ['model', changed]]));
    const message =
      `${path}: does not fit this model:\n  1 missing: all_modules.1.weight\n  1 unknown: all_modules.99.weight\n` +
      '  1 with a different shape: all_modules.2.bias is [3], expected [64]';
    await expect(loadModel(path, config, { device })).rejects.toThrow(message);
    const notices: string[] = [];
    const onNotice = (text: string) => notices.push(text);
    const { model: partial } = await loadModel(path, config, { device, weights: 'raw', partial: true, onNotice });
    expect(notices).toEqual([
      `${path} fits only in part: 1 missing: all_modules.1.weight; 1 unknown: all_modules.99.weight; ` +
        '1 with a different shape: all_modules.2.bias is [3], expected [64]',
    ]);
    partial.dispose();
  });

  it('refuses another network', async () => {
    const other = await loadConfig(preset, { model: { nf: 8 } });
    await expect(loadModel(checkpoint0, other, { device })).rejects.toThrow(
      /with a different shape: all_modules\.0\.W is \[16\], /,
    );
  });

  it('loads a bare state dict, without wrapper and average', async () => {
    const root = (await readPth(checkpoint0)) as Map<string, TorchValue>;
    const bare = new OrderedDict(
      [...(root.get('model') as Map<string, TorchValue>)].map(([name, value]) => [name.replace('module.', ''), value]),
    );
    const path = join(folder, 'bare.pth');
    await writePth(path, bare as TorchValue);
    const { model } = await loadModel(path, config, { device });
    const { model: whole } = await loadModel(checkpoint0, config, { device, weights: 'raw' });
    for (const [name, tensor] of model.namedTensors())
      expect(tensor.dataSync(), name).toEqual(whole.stateDict().get(name)?.dataSync());
    model.dispose();
    whole.dispose();
  });
});

describe('checkpoints of other trainers', () => {
  const shapes: Record<string, (root: Map<string, TorchValue>, model: Map<string, ArrayFile>) => TorchValue> = {
    'torch.compile within DDP': (root, model) => new Map([...root, ['model', renamed(model, 'module._orig_mod.')]]),
    'Lightning, in f64': (_, model) =>
      new Map<string, TorchValue>([
        ['pytorch-lightning_version', '2.5.0'],
        ['global_step', 3],
        [
          'state_dict',
          renamed(model, 'model.', (array) => ({
            ...array,
            dtype: 'f64',
            data: Float64Array.from(array.data as Float32Array),
          })),
        ],
      ]),
    'weights and an average by names': (_, model) =>
      new Map<string, TorchValue>([
        ['model', renamed(model, '')],
        ['ema', renamed(model, 'module.')],
        ['step', 3],
      ]),
  };
  const renamed = (
    model: Map<string, ArrayFile>,
    prefix: string,
    change = (array: ArrayFile) => array,
  ): OrderedDict<string, TorchValue> =>
    new OrderedDict([...model].map(([name, array]) => [name.replace('module.', prefix), change(array)]));

  it.each(Object.keys(shapes))('%s: loaded, converted, said', async (name) => {
    const root = (await readPth(checkpoint3)) as Map<string, TorchValue>;
    const path = join(folder, `${name.replaceAll(/\W+/g, '_')}.pth`);
    await writePth(path, shapes[name](root, root.get('model') as Map<string, ArrayFile>));
    const ours = path.replace('.pth', '.safetensors');
    const notices: string[] = [];
    await convert(path, ours, { config, onNotice: (text) => notices.push(text) });
    const [read, expected] = [
      await loadCheckpoint(ours),
      await loadModel(checkpoint3, config, { device, weights: 'raw' }),
    ];
    for (const [tensorName, tensor] of expected.model.namedTensors())
      expect(read.model.get(tensorName)?.data, tensorName).toEqual(tensor.dataSync());
    expect(read.step).toBe(3);
    expect(notices.join()).toMatch(
      name.startsWith('torch')
        ? /removed "module\._orig_mod\." from its names/
        : name.startsWith('L')
          ? /under "state_dict".*"model\."/
          : /reading its average under "ema"/,
    );
    expected.model.dispose();
  });
});

/** All tensors of a file by name. */
async function tensorsOf(path: string) {
  return flattenTorch(await readPth(path));
}

describe('converting', () => {
  it('without a configuration keeps the tree bit for bit', async () => {
    const there = join(folder, 'tree.safetensors');
    const back = join(folder, 'tree.pth');
    expect((await convert(checkpoint3, there)).kind).toBe('tree');
    expect((await convert(there, back)).kind).toBe('official');
    expect(await tensorsOf(back)).toEqual(await tensorsOf(checkpoint3));
    // The result also works as a checkpoint.
    const { checkpoint, model } = await loadModel(there, config, { device });
    expect(checkpoint.step).toBe(3);
    model.dispose();
  });

  it('with a configuration gives a rectiflow checkpoint, and converts back bit for bit', async () => {
    const there = join(folder, 'ours.safetensors');
    const back = join(folder, 'ours.pth');
    expect(await convert(checkpoint3, there, { config })).toEqual({ kind: 'checkpoint', tensors: 225 });
    const ours = await loadCheckpoint(there);
    expect(ours).toMatchObject({ step: 3, emaDecay: 0.999 });
    expect(ours.moments?.exp_avg?.size).toBe(224);
    await convert(there, back);
    const [a, b] = [await tensorsOf(checkpoint3), await tensorsOf(back)];
    expect([...b.tensors.keys()].sort()).toEqual([...a.tensors.keys()].sort());
    for (const [name, tensor] of a.tensors) expect(b.tensors.get(name), name).toEqual(tensor);
    const tree = (await readPth(back)) as Map<string, TorchValue>;
    expect([...tree.keys()]).toEqual(['optimizer', 'model', 'ema', 'step']);
    expect((tree.get('ema') as Map<string, TorchValue>).get('num_updates')).toBe(3);
  });

  it('reports that the maxima of second moments of AMSGrad are dropped', async () => {
    const tree = (await readPth(checkpoint3)) as Map<string, TorchValue>;
    const state = (tree.get('optimizer') as Map<string, TorchValue>).get('state') as Map<number, TorchValue>;
    for (const one of state.values()) {
      const moments = one as Map<string, TorchValue>;
      moments.set('max_exp_avg_sq', moments.get('exp_avg_sq') as TorchValue);
    }
    const path = join(folder, 'amsgrad.pth');
    await writePth(path, tree);
    const notices: string[] = [];
    await convert(path, join(folder, 'amsgrad.safetensors'), { config, onNotice: (text) => notices.push(text) });
    expect(notices).toEqual([
      `${path}: was trained by AMSGrad; its maxima of second moments are dropped, and training continues with Adam`,
    ]);
  });

  it('refuses other extensions and files', async () => {
    await expect(convert('a.txt', 'b.pth')).rejects.toThrow('got .txt to .pth');
    const plain = join(folder, 'plain.safetensors');
    const { writeSafetensors } = await import('../../../src/io/index.ts');
    await writeSafetensors(plain, { a: { shape: [1], dtype: 'f32', data: new Float32Array(1) } });
    await expect(convert(plain, join(folder, 'x.pth'))).rejects.toThrow(/neither a rectiflow checkpoint nor/);
  });
});

describe('inspecting', () => {
  it('an official checkpoint', async () => {
    const summary = await inspectFile(checkpoint3);
    expect(summary).toMatchObject({ kind: 'file of PyTorch', step: 3, emaDecay: 0.999 });
    expect(summary.config).toBeUndefined();
    expect(summary.tensors[0]).toEqual({ name: 'optimizer.state.1.step', dtype: 'f32', shape: [] });
    expect(summary.tensors.some(({ name, dtype }) => name === 'model.module.sigmas' && dtype === 'f64')).toBe(true);
    expect(Object.fromEntries(summary.values)['optimizer.param_groups.0.betas']).toBe('[0.9, 0.999]');
  });

  it('a rectiflow checkpoint and a converted tree', async () => {
    const ours = await inspectFile(join(folder, 'ours.safetensors'));
    expect(ours).toMatchObject({ kind: 'checkpoint of rectiflow', step: 3, emaDecay: 0.999 });
    expect((ours.config as Config).model.nf).toBe(16);
    expect(await inspectFile(join(folder, 'tree.safetensors'))).toMatchObject({ kind: 'file of PyTorch', step: 3 });
  });

  it.each([
    ['cifar10_rf_gaussian_ddpmpp', 61_804_419, 0],
    ['celeba_hq_pytorch_rf_gaussian', 65_574_549, 128],
  ])('the network of %s', async (name, parameters, fixed) => {
    expect(inspectModel(await loadConfig(name))).toMatchObject({ parameters, fixed });
  });
});

describe('resuming from an official state', () => {
  const images = join(folder, 'images');
  beforeAll(async () => {
    mkdirSync(images);
    for (let i = 0; i < 24; i++) {
      const data = Uint8Array.from({ length: 32 * 32 * 3 }, (_, at) => (i * 37 + at * 11) % 256);
      await writePng(join(images, `${i}.png`), { width: 32, height: 32, channels: 3, data });
    }
  });

  it('restores weights, moments, average, step, and the decay in the file', async () => {
    const workdir = join(folder, 'work');
    mkdirSync(join(workdir, 'checkpoints-meta'), { recursive: true });
    copyFileSync(checkpoint3, join(workdir, 'checkpoints-meta/checkpoint.pth'));
    const upTo = (n_iters: number) =>
      loadConfig(preset, {
        data: { dataset: 'FOLDER', root_path: images },
        model: { ema_rate: 0.99 },
        training: { n_iters, snapshot_sampling: false },
      });
    const notices: string[] = [];
    const result = await train(await upTo(4), { workdir, device, onNotice: (text) => notices.push(text) });
    expect(result.steps).toBe(5);
    expect(notices[0]).toMatch(
      /the average keeps the decay 0\.999 of .*checkpoint\.pth; model\.ema_rate 0\.99 has no effect/,
    );
    expect(notices[1]).toBe('resuming from step 3');
    const lines = readFileSync(join(workdir, 'log.jsonl'), 'utf8').trim().split('\n');
    expect(lines.map((line) => JSON.parse(line).step)).toEqual([3, 4]);
    // After the warm-up of two updates, the learning rate is full.
    expect(lines.map((line) => JSON.parse(line).lr)).toEqual([2e-4, 2e-4]);
    expect(await loadCheckpoint(result.checkpoint)).toMatchObject({ step: 5, emaDecay: 0.999 });
    // Resumes again, now from a rectiflow state with the same decay.
    expect((await train(await upTo(5), { workdir, device })).steps).toBe(6);
    const state = join(workdir, 'checkpoints-meta/state_6.safetensors');
    expect((await readSafetensors(state)).metadata.ema_decay).toBe('0.999');
  });
});
