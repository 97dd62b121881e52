// Domain transfer: independent shuffles, pairs of both layouts and their check, the loss in features, and what is refused.
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { memoryDataset, PairSet, readManifest, sourceColumn, sourceHash } from '../../../src/data/index.ts';
import type { Device } from '../../../src/device/device.ts';
import { openDevice } from '../../../src/device/open.ts';
import { loadClassifier } from '../../../src/eval/index.ts';
import { Draw, networkVelocity, rectifiedFlowLoss } from '../../../src/flow/index.ts';
import { encodeNpy } from '../../../src/io/index.ts';
import { trainingBatches } from '../../../src/run/data.ts';
import {
  type Config,
  evaluateSnapshots,
  evaluateStraightness,
  examinePairs,
  generatePairs,
  loadDataset,
  loadModel,
  sampleModel,
  startImages,
  train,
  trainDomains,
  trainReflow,
  transferImages,
  transferInput,
} from '../../../src/run/index.ts';
import { openPairSource } from '../../../src/run/sampling/pair_source.ts';
import { loadSource, sourceConfig } from '../../../src/run/source.ts';
import { sourceBatches, transferObjective } from '../../../src/run/training/transfer.ts';
import { Counter } from '../../../src/tensor/counter.ts';
import { tensor } from '../../../src/tensor/create.ts';
import { configWith } from '../../support/config.ts';

const root = mkdtempSync(join(tmpdir(), 'rectiflow-transfer-'));
const tiny = {
  'model.nf': 8,
  'training.batch_size': 16,
  'training.n_iters': 2,
  'training.snapshot_freq': 2,
  'training.eval_freq': 2,
  'training.snapshot_sampling': false,
  'sampling.sample_N': 2,
};
/** Pairs at random: neighbours have a test of their own. */
const bold = (values: Record<string, unknown> = {}) =>
  configWith('digits_bold', { ...tiny, 'training.neighbours': 0, ...values });
let device: Device;
let config: Config;
let checkpoint: string;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
  config = await bold();
  ({ checkpoint } = await train(config, { workdir: join(root, 'flow'), device }));
}, 120_000);

const pairsOf = async (name: string, values: Record<string, unknown> = {}) => {
  const own = await bold({
    'reflow.last_flow_ckpt': checkpoint,
    'reflow.data_root': join(root, name),
    'reflow.total_number_of_samples': 20,
    ...values,
  });
  await generatePairs(own, { device, complete: 'keep' });
  return own;
};

it('source and target are shuffled independently, and again in each epoch', async () => {
  using source = await sourceBatches(config);
  const own = sourceConfig(config);
  expect(own.seed).not.toBe(config.seed);
  expect(own.data).toMatchObject({ half: 'first', change: 'none', image_size: 8 });
  expect(source.count).toBe((await loadSource(config, 'train')).count);
  const epochs = [0, 1].map((epoch) =>
    sourceColumn(10, 5, { seed: own.seed, flip: false }).subarray(5 * epoch, 5 * epoch + 5),
  );
  for (const epoch of epochs) expect([...epoch].sort()).toEqual([0, 2, 4, 6, 8]);
  expect(sourceColumn(64, 5, { seed: 1, flip: true }).some((place) => place % 2 === 1)).toBe(true);
});

it('starts are held-out images of the source in their order, which come again with other noise', async () => {
  const exact = await bold({ 'sampling.smooth_source': 0 });
  const { count } = await loadSource(exact, 'heldOut');
  const starts = await startImages(exact, { num: 2 });
  expect(await startImages(exact, { num: 2, first: count })).toEqual(starts);
  const noisy = await startImages(config, { num: 2 });
  expect(await startImages(config, { num: 2, first: count })).not.toEqual(noisy);
  expect(await startImages(config, { num: 1, first: 1 })).toEqual(noisy.slice(64));
  const far = noisy.map((value, i) => Math.abs(value - starts[i])).reduce((a, b) => Math.max(a, b));
  expect(far).toBeGreaterThan(0.05);
  expect(far).toBeLessThan(0.3);
});

it('a new network leaves images where they are, forwards and back', async () => {
  const { model } = await loadModel(checkpoint, config, { device });
  // Weights of the first step: the network still gives 0, because its last layer starts there.
  const { images, names } = await transferInput(config, 3);
  expect(names).toHaveLength(3);
  const there = await transferImages(
    model,
    { ...config, sampling: { ...config.sampling, smooth_source: 0 } },
    {
      images,
      device,
      solver: 'rk45',
      tolerance: 1e-5,
    },
  );
  const back = await transferImages(model, config, {
    images: there.images,
    device,
    solver: 'rk45',
    tolerance: 1e-5,
    reverse: true,
  });
  const far = back.images.map((value, i) => Math.abs(value - images[i])).reduce((a, b) => Math.max(a, b));
  expect(far).toBeLessThan(5e-3);
  model.dispose();
});

it('samples and straightness start from images', async () => {
  const { model } = await loadModel(checkpoint, config, { device });
  const latents = await startImages(config, { num: 3 });
  const request = { num: 3, device, solver: 'euler', steps: 2 } as const;
  const { images } = await sampleModel(model, config, request);
  expect(images).toEqual((await sampleModel(model, config, { ...request, latents })).images);
  const few = { ...config, eval: { ...config.eval, straightness_samples: 4 } };
  const { straightness } = await evaluateStraightness(model, few, { device, steps: 2 });
  expect(straightness).toBeGreaterThanOrEqual(0);
  await expect(sampleModel(model, config, { ...request, sigmaVariance: 1 })).rejects.toThrow(/init_type is data/);
  model.dispose();
});

describe('pairs', () => {
  it('both layouts have the same pairs, and the check compares them with the source', async () => {
    const official = await pairsOf('official');
    const shards = await pairsOf('shards', { 'reflow.pair_format': 'shards' });
    const manifest = await readManifest(join(root, 'shards/42'));
    using opened = await openPairSource(shards);
    const source = opened && { dataset: opened.dataset, centered: opened.centered, sha256: opened.sha256 };
    expect(manifest?.noise).toMatchObject({ law: 'images', scale: 0.05, source: source?.sha256 });
    const all = Int32Array.from({ length: 20 }, (_, i) => i);
    const [one, other] = [
      await PairSet.open(join(root, 'official')),
      await PairSet.open(join(root, 'shards'), undefined, undefined, source),
    ];
    expect(one.fromImages).toBe(true);
    expect(await one.load(all)).toEqual(await other.load(all));
    await one.close();
    await other.close();
    for (const own of [official, shards]) {
      const findings = await examinePairs(own.reflow.data_root, { config: own });
      expect(findings.filter(({ state }) => state === 'broken')).toEqual([]);
      expect(findings.map(({ what }) => what)).toContain('source of 42');
      expect(findings.map(({ what }) => what)).not.toContain('z0 is noise');
    }
    expect((await examinePairs(join(root, 'official'))).find(({ what }) => what === 'source of 42')?.state).toBe(
      'note',
    );
    await expect(PairSet.open(join(root, 'shards'))).rejects.toThrow(/stores no z0, and its pairs start from images/);
  }, 60_000);

  it('refuses another source, a changed column and z0 that is not of the source', async () => {
    const own = await pairsOf('changed');
    const folder = join(root, 'changed/42');
    const other = await bold({ 'reflow.data_root': join(root, 'changed'), 'source.half': 'whole' });
    const broken = (await examinePairs(join(root, 'changed'), { config: other })).filter(
      ({ state }) => state === 'broken',
    );
    expect(broken.map(({ detail }) => detail).join()).toMatch(
      /starts from images with SHA-256 \w+, but the source has/,
    );
    const z0 = readFileSync(join(folder, 'z0.npy'));
    z0.writeFloatLE(0.123, z0.length - 4 * 64 * 20);
    writeFileSync(join(folder, 'z0.npy'), z0);
    const found = await examinePairs(join(root, 'changed'), { config: own });
    expect(found.find(({ what }) => what === 'source of 42')).toMatchObject({ state: 'broken' });
    const column = encodeNpy({ shape: [20], dtype: 'i32', data: new Int32Array(20) });
    writeFileSync(join(folder, 'source.npy'), column);
    await expect(PairSet.open(join(root, 'changed'))).rejects.toThrow(/checksum/);
  }, 60_000);

  it('a flow from noise does not take them, nor the other way round', async () => {
    const own = await pairsOf('official');
    const noise = await configWith('digits', {
      ...tiny,
      'reflow.last_flow_ckpt': checkpoint,
      'reflow.data_root': own.reflow.data_root,
    });
    const run = (of: Config, name: string) => trainReflow(of, { workdir: join(root, name), device });
    await expect(run(noise, 'refused')).rejects.toThrow(
      /pairs that start from images, but sampling.init_type is gaussian/,
    );
    const { steps } = await run(own, 'reflow');
    expect(steps).toBe(3);
    const online = await bold({
      'reflow.reflow_type': 'train_online_reflow',
      'reflow.last_flow_ckpt': checkpoint,
      'reflow.online_steps': 2,
    });
    expect((await run(online, 'online')).steps).toBe(3);
    const distil = await bold({
      'reflow.last_flow_ckpt': checkpoint,
      'reflow.data_root': own.reflow.data_root,
      'reflow.reflow_t_schedule': 't0',
    });
    expect((await run(distil, 'distil')).steps).toBe(3);
  }, 120_000);

  it('the hash of a source depends on every image of a small one', async () => {
    const pixels = new Uint8Array(12).fill(3);
    const whole = await sourceHash(memoryDataset('one', pixels, [3, 2, 2, 1]));
    const other = pixels.slice();
    other[11] = 4;
    expect(await sourceHash(memoryDataset('one', other, [3, 2, 2, 1]))).not.toBe(whole);
    expect(await sourceHash(memoryDataset('one', pixels, [1, 6, 2, 1]))).not.toBe(whole);
  });
});

describe('the loss in features', () => {
  it('trains the classifier of the domains first, logs both terms, and resumes to the same bits', async () => {
    const own = await bold({
      'training.feature_weight': 0.5,
      'training.n_iters': 3,
      'training.snapshot_freq_for_preemption': 2,
    });
    const domains = join(root, 'domains.safetensors');
    await trainDomains(own, { device, out: domains, steps: 20 });
    const given = await bold({ 'training.feature_weight': 0.5, 'training.feature_network': domains });
    const losses: number[] = [];
    const onStep = ({ loss }: { loss: number }) => losses.push(loss);
    await train(given, { workdir: join(root, 'featured'), device, onStep });
    const [line] = readFileSync(join(root, 'featured/log.jsonl'), 'utf8').split('\n');
    expect(JSON.parse(line)).toMatchObject({ eval_features: expect.any(Number), eval_loss: expect.any(Number) });
    const lines = readFileSync(join(root, 'featured/log.jsonl'), 'utf8').trimEnd().split('\n');
    for (const { loss, loss_features, loss_plain } of lines.map((text) => JSON.parse(text)))
      expect(loss).toBeCloseTo(0.5 * (own.training.reduce_mean ? 1 : 32) * (loss_features + loss_plain), 4);
    const controller = new AbortController();
    const halfway: number[] = [];
    const options = { workdir: join(root, 'halves'), device };
    const stop = ({ loss }: { loss: number }) => {
      halfway.push(loss);
      if (halfway.length === 1) controller.abort();
    };
    await train(given, { ...options, onStep: stop, signal: controller.signal });
    await train(given, { ...options, onStep: stop });
    expect(halfway).toEqual(losses);
    const { network } = await loadClassifier(domains, { device });
    expect(network.classes).toBe(2);
    network.dispose();
  }, 120_000);

  it('reflow has it too, on stored pairs and on those of a teacher, and its terms are sums over the parts of a batch', async () => {
    const domains = join(root, 'reflow_domains.safetensors');
    await trainDomains(config, { device, out: domains, steps: 2 });
    const pairs = await pairsOf('featured_pairs');
    const lineOf = async (name: string, values: Record<string, unknown>) => {
      const own = await bold({
        'training.feature_weight': 0.25,
        'training.feature_network': domains,
        'reflow.last_flow_ckpt': checkpoint,
        ...values,
      });
      await trainReflow(own, { workdir: join(root, name), device });
      return JSON.parse(readFileSync(join(root, name, 'log.jsonl'), 'utf8').split('\n')[0]);
    };
    const stored = { 'reflow.data_root': pairs.reflow.data_root };
    const whole = await lineOf('featured_reflow', stored);
    const parts = await lineOf('featured_parts', { ...stored, 'training.accumulation': 4 });
    const online = await lineOf('featured_online', {
      'reflow.reflow_type': 'train_online_reflow',
      'reflow.online_steps': 2,
    });
    const scale = config.training.reduce_mean ? 1 : 32;
    for (const { loss, loss_features, loss_plain } of [whole, parts, online])
      expect(loss).toBeCloseTo(scale * (0.25 * loss_features + 0.75 * loss_plain), 4);
    expect(parts.loss_features).toBeCloseTo(whole.loss_features, 5);
    expect(parts.loss_plain).toBeCloseTo(whole.loss_plain, 5);
  }, 120_000);

  it('with weight 0 is the plain loss to the bit', async () => {
    const own = await bold({ 'sampling.smooth_source': 0 });
    using source = await sourceBatches(own);
    using target = await trainingBatches(own);
    const { model } = await loadModel(checkpoint, own, { device });
    const objective = transferObjective(target, source, { model, config: own, device });
    const [x0, x1] = (await objective.fetch(3)).map((values) => tensor(values, { shape: [16, 8, 8, 1], device }));
    const origin = new Counter(device);
    const loss = objective.loss({ tensors: [x0, x1], count: 16, first: 0, origin }).item();
    const draw = new Draw({ seed: own.seed, first: 0, origin, device });
    expect(loss).toBe(rectifiedFlowLoss(networkVelocity(model), x1, { x0, draw, t: draw.times(16) }).item());
    expect(x0.dataSync()).toEqual(await source.batch(3));
    origin[Symbol.dispose]();
    model.dispose();
  });

  it('refuses a classifier of other classes', async () => {
    const wrong = await bold({
      'training.feature_weight': 0.5,
      'training.feature_network': join(root, 'none.safetensors'),
    });
    await expect(train(wrong, { workdir: join(root, 'wrong'), device })).rejects.toThrow(/no such file/);
  });
});

describe('refuses by name', () => {
  it.each<[string, Record<string, unknown>, RegExp]>([
    [
      'the stochastic sampler',
      { 'sampling.sigma_variance': 0.1 },
      /sampling\.sigma_variance: expected 0 .* starts from noise/,
    ],
    ['bits per dimension', { 'eval.enable_bpd': true }, /eval\.enable_bpd: expected false .* no density/],
    [
      'captions',
      { 'model.name': 'unet2d_condition', 'data.caption': 'a {class}' },
      /model\.name: expected ncsnpp with sampling\.init_type data; got unet2d_condition/,
    ],
    [
      'encoded latents',
      { 'model.name': 'stable_diffusion', 'data.dataset': 'PROMPTS' },
      /model\.name: expected ncsnpp with sampling\.init_type data; got stable_diffusion/,
    ],
    ['texts as the source', { 'source.dataset': 'PROMPTS' }, /source\.dataset: expected a data set of images/],
    [
      'two losses at once',
      { 'training.feature_weight': 0.5, 'reflow.reflow_loss': 'pseudo-huber' },
      /reflow\.reflow_loss: expected l2 with training\.feature_weight above 0/,
    ],
  ])('%s', async (_, values, says) => {
    await expect(bold(values)).rejects.toThrow(says);
  });

  it('a feature loss without two domains', async () => {
    await expect(configWith('digits', { 'training.feature_weight': 0.5 })).rejects.toThrow(/which has one domain/);
  });

  it('classes and categories that do not exist', async () => {
    const load = async (values: Record<string, unknown>) => loadDataset(await bold(values), 'train');
    await expect(load({ 'data.category': 'ten' })).rejects.toThrow(/expected classes of DIGITS, of zero, .*got "ten"/);
    expect((await load({ 'data.category': 'three, 5' })).labels?.every((label) => label === 3 || label === 5)).toBe(
      true,
    );
    await expect(
      loadSource(await bold({ 'source.dataset': 'AFHQ', 'source.root_path': root }), 'train'),
    ).rejects.toThrow(/expected one of cat, dog, wild/);
  });

  it('a transfer without its source, and a flow from noise', async () => {
    const missing = await bold({ 'source.dataset': 'FOLDER' });
    await expect(train(missing, { workdir: join(root, 'missing'), device })).rejects.toThrow(
      /add --config\.source\.root_path DIR/,
    );
    const noise = await configWith('digits', tiny);
    await expect(transferInput(noise, 2)).rejects.toThrow(/transfer needs a flow between two sets of images/);
    await expect(trainDomains(noise, { device, out: join(root, 'x.safetensors') })).rejects.toThrow(/two domains/);
  });

  it('eval measures loss, straightness and samples of a transfer', async () => {
    const evaluated = await bold({
      'eval.enable_loss': true,
      'eval.enable_straightness': true,
      'eval.enable_sampling': true,
      'eval.features': 'pixels',
      'eval.num_samples': 8,
      'eval.max_images': 64,
      'eval.straightness_samples': 4,
    });
    const rows = await evaluateSnapshots(evaluated, { workdir: join(root, 'flow'), device });
    expect(rows[0].loss?.loss).toBeGreaterThan(0);
    expect(rows[0].scores).toBeDefined();
  }, 60_000);
});
