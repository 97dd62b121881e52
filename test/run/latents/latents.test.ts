// Training of flows of latents (docs/text-to-image.md): pairs of a teacher in a folder of diffusers, its students, and what is written of
// them. The network is that of golden/instaflow, with weights by formula.
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { channelsLast, PairSet, readManifest } from '../../../src/data/index.ts';
import type { Device } from '../../../src/device/device.ts';
import { rectifiedFlowLoss } from '../../../src/flow/index.ts';
import { type ArrayFile, readSafetensors, toFloat32, writeSafetensors } from '../../../src/io/index.ts';
import { square } from '../../../src/kernels/elementwise.ts';
import { sum } from '../../../src/kernels/reduce.ts';
import type { LatentUNet } from '../../../src/nn/latent_unet.ts';
import { buildModel } from '../../../src/run/checkpoints/model.ts';
import { loadModel } from '../../../src/run/checkpoints/open.ts';
import type { Config } from '../../../src/run/config/types.ts';
import { convert, generatePairs, loadTextToImage, trainReflow } from '../../../src/run/index.ts';
import { openDecoder } from '../../../src/run/latents/decoder.ts';
import { fillLatents } from '../../../src/run/latents/network.ts';
import { readPrompts } from '../../../src/run/latents/prompts.ts';
import { TextStates } from '../../../src/run/latents/text_states.ts';
import { latentVelocity } from '../../../src/run/latents/velocity.ts';
import { openDistance } from '../../../src/run/training/distance.ts';
import { latentObjective } from '../../../src/run/training/latent_objective.ts';
import { tensor } from '../../../src/tensor/create.ts';
import { scope } from '../../../src/tensor/scope.ts';
import type { Tensor } from '../../../src/tensor/tensor.ts';
import { writeFormulaWeights } from '../../eval/weights.ts';
import { configWith } from '../../support/config.ts';
import { openTestDevice } from '../../support/devices.ts';
import { pipelineShapes, readGolden, readJson, signsOf, writePipeline } from '../../support/instaflow.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-latents-'));
const teacher = join(folder, 'teacher');
const prompts = join(folder, 'prompts.txt');
const small = {
  'data.image_size': 8,
  'data.root_path': prompts,
  'model.folder': teacher,
  'training.batch_size': 2,
  'training.accumulation': 1,
  'training.n_iters': 5,
  'training.snapshot_freq': 5,
  'training.snapshot_freq_for_preemption': 2,
  'training.eval_freq': 100,
  'training.log_freq': 1,
  'training.loggers': 'none',
  'optim.lr': 1e-3,
  'optim.warmup': 0,
  'sampling.sample_N': 2,
  'sampling.guidance': 1.5,
  'reflow.reflow_type': 'generate_data_from_z0',
  'reflow.data_root': join(folder, 'pairs'),
  'reflow.total_number_of_samples': 5,
};
const configOf = (values: Record<string, unknown> = {}) => configWith('latents', { ...small, ...values });
const student = (values: Record<string, unknown> = {}) => configOf({ 'reflow.reflow_type': 'train_reflow', ...values });
const filesIn = (at: string) =>
  Object.fromEntries(
    readdirSync(at)
      .sort()
      .map((name) => [name, readFileSync(join(at, name)).toString('base64')]),
  );

const full = process.env.RECTIFLOW_TEST_FULL === '1';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
  await writePipeline(teacher, pipelineShapes().shapes);
  writeFileSync(prompts, '\ufeffa photo of a cat\r\n\n  a photo of a dog \na photo of a cat\n');
  await generatePairs(await configOf(), { device });
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the file of texts', () => {
  const file = join(folder, 'other.txt');
  it('has a text in each line, each once', async () => {
    expect(await readPrompts(prompts)).toEqual(['a photo of a cat', 'a photo of a dog']);
  });

  it.each([
    ['', /holds no texts/],
    ['\n \n\t\n', /holds no texts/],
    [Buffer.from([0x61, 0xff, 0xfe]), /is not a text in UTF-8/],
    ['a cat\0', /control character in line 1/],
    ['a\nb\u001b[2J', /control character in line 2/],
    [`a\n${'b'.repeat(10_001)}`, /has 10001 characters in line 2, expected at most 10000/],
  ])('%j is refused', async (content, message) => {
    writeFileSync(file, content);
    await expect(readPrompts(file)).rejects.toThrow(message);
  });

  it('that is missing, a folder or huge is refused', async () => {
    await expect(readPrompts(join(folder, 'none.txt'))).rejects.toThrow(/none\.txt/);
    await expect(readPrompts(folder)).rejects.toThrow(/is (a folder|not a file)/);
    writeFileSync(file, 'a');
    truncateSync(file, 2 ** 27 + 1);
    await expect(readPrompts(file)).rejects.toThrow(/expected at most 134217728/);
  });
});

describe('pairs of a folder of diffusers', () => {
  it('are where the guided teacher takes the noise of their numbers', async () => {
    const at = join(folder, 'pairs', '42');
    const manifest = await readManifest(at);
    expect(manifest?.condition?.table).toEqual(['', 'a photo of a cat', 'a photo of a dog']);
    expect(manifest?.sampler).toEqual({ name: 'euler', steps: 2, guidance: 1.5, prediction: 'velocity' });
    const pairs = await PairSet.open(join(folder, 'pairs'));
    const { z0, z1, column } = await pairs.load(Int32Array.of(0, 3));
    expect(column).toEqual(Int32Array.of(1, 2));
    using model = await loadTextToImage(teacher, { device });
    const latents = new Float32Array(2 * 256);
    for (let i = 0; i < 2; i++)
      for (let p = 0; p < 64; p++) for (let c = 0; c < 4; c++) latents[i * 256 + c * 64 + p] = z0[i * 256 + p * 4 + c];
    const made = await model.generate({
      ...{ prompt: ['a photo of a cat', 'a photo of a dog'], size: 64, steps: 2, guidance: 1.5, latents, batch: 2 },
    });
    const expected = channelsFirstBack(made.latents);
    // Latents and states of texts are rounded to f16.
    for (let i = 0; i < z1.length; i++) expect(Math.abs(z1[i] - expected[i])).toBeLessThan(1e-2);
    await pairs.close();
  });

  const channelsFirstBack = (values: Float32Array) => channelsLast(values, [2, 8, 8, 4]);

  it('that were interrupted, in the texts or between batches, end with the same bytes', async () => {
    const config = await configOf({ 'reflow.data_root': join(folder, 'again') });
    const at = join(folder, 'again', '42');
    const controller = new AbortController();
    const stopping = generatePairs(config, {
      device,
      signal: controller.signal,
      onProgress: (done) => done === 2 && controller.abort(new Error('stop')),
    });
    await expect(stopping).rejects.toThrow('stop');
    // What a stop while the second text is computed leaves.
    const states = readdirSync(at).find((name) => name.startsWith('text_states')) as string;
    const whole = readFileSync(join(at, states));
    const header = whole.length - 3 * 77 * 64 * 2;
    rmSync(join(at, states));
    writeFileSync(join(at, `${states}.part`), whole.subarray(0, header + 77 * 64 * 2 + 5));
    const notices: string[] = [];
    await generatePairs(config, { device, onNotice: (text) => notices.push(text) });
    expect(notices.filter((text) => text.startsWith('resuming'))).toEqual([
      'resuming from pair 2 of 5',
      'resuming from the states of text 1 of 3',
    ]);
    const [first, second] = ['pairs', 'again'].map((root) => filesIn(join(folder, root, '42')));
    expect(Object.keys(first)).toEqual(Object.keys(second));
    for (const name of Object.keys(first))
      if (name !== 'manifest.json') expect(second[name] === first[name], name).toBe(true);
    expect((await readManifest(join(at)))?.shards).toEqual((await readManifest(join(folder, 'pairs', '42')))?.shards);
  });

  it('of other texts, another network or prediction are refused in a folder that was begun', async () => {
    const controller = new AbortController();
    const root = join(folder, 'begun');
    const begun = { 'reflow.data_root': root };
    const stop = generatePairs(await configOf(begun), {
      device,
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('stop')),
    });
    await expect(stop).rejects.toThrow('stop');
    writeFileSync(join(folder, 'two.txt'), 'a\nb\n');
    const other = await configOf({ ...begun, 'data.root_path': join(folder, 'two.txt') });
    await expect(generatePairs(other, { device })).rejects.toThrow(/the texts of data\.root_path/);
    const noise = await configOf({ ...begun, 'model.prediction': 'noise' });
    await expect(generatePairs(noise, { device })).rejects.toThrow(/model\.prediction: "velocity" there, "noise" now/);
  });

  it('a teacher that predicts the noise makes other latents', async () => {
    const config = await configOf({
      'reflow.data_root': join(folder, 'noise'),
      'model.prediction': 'noise',
      'reflow.total_number_of_samples': 2,
      'sampling.guidance': 1,
    });
    await generatePairs(config, { device });
    using model = await loadTextToImage(teacher, { device, prediction: 'noise' });
    const pairs = await PairSet.open(join(folder, 'noise'));
    const { z0, z1 } = await pairs.load(Int32Array.of(0));
    await pairs.close();
    const latents = new Float32Array(256);
    for (let p = 0; p < 64; p++) for (let c = 0; c < 4; c++) latents[c * 64 + p] = z0[p * 4 + c];
    const made = await model.generate({ prompt: 'a photo of a cat', size: 64, steps: 2, latents });
    const expected = channelsLast(made.latents, [1, 8, 8, 4]);
    const scale = Math.max(...expected.map(Math.abs));
    for (let i = 0; i < z1.length; i++) expect(Math.abs(z1[i] - expected[i])).toBeLessThan(5e-3 * scale);
  });

  it.each([
    [{ 'model.folder': '' }, /add --config\.model\.folder DIR/],
    [{ 'model.folder': '/nowhere' }, /model\.folder: expected a folder as diffusers writes it/],
    [{ 'data.root_path': '' }, /add --config\.data\.root_path FILE/],
    [{ 'data.num_channels': 3 }, /data\.num_channels: expected 4/],
  ])('%j is refused', async (values, message) => {
    const config = await configOf({ ...values, 'reflow.data_root': join(folder, 'none') });
    await expect(generatePairs(config, { device })).rejects.toThrow(message);
  });

  it.each([
    [{ 'data.dataset': 'CIFAR10' }, /data\.dataset: expected PROMPTS/],
    [{ 'reflow.reflow_type': 'train_online_reflow' }, /reflow\.reflow_type: expected/],
    [{ 'training.snapshot_sampling': true }, /training\.snapshot_sampling: expected false/],
  ])('%j is refused in a configuration', async (values, message) => {
    await expect(configOf(values)).rejects.toThrow(message);
  });
});

/** The network of a configuration with the weights of its teacher. */
async function filled(config: Config): Promise<LatentUNet> {
  const model = buildModel(config, device) as LatentUNet;
  await fillLatents(model, config, device);
  return model;
}

describe('losses', () => {
  it('of reflow and distillation are those of PyTorch, with the gradients of all weights, recomputed or not', async () => {
    const golden = await readGolden('reflow');
    type Recorded = { loss: number; norm_and_probe: Record<string, [norm: number, probe: number]> };
    const expected = readJson<{ reflow: Recorded; distil_l2: Recorded }>('gradients.json');
    const given = (name: string) => {
      const array = golden.get(name) as ArrayFile;
      const { shape } = array;
      const values = toFloat32(array);
      if (shape.length !== 4) return tensor(values, { shape, device });
      const [n, c, h, w] = shape;
      return tensor(channelsLast(values, [n, h, w, c]), { shape: [n, h, w, c], device });
    };
    const bits: number[][] = [];
    for (const recompute of [false, true]) {
      const config = await student({ 'data.image_size': 16, 'model.activation_checkpointing': recompute });
      using model = await filled(config);
      for (const kind of ['reflow', 'distil_l2'] as const) {
        const loss = scope(() => {
          const velocity = latentVelocity(model, given('encoder_hidden_states'));
          const t = kind === 'reflow' ? given('t') : tensor([0, 0], { device });
          const result = rectifiedFlowLoss(velocity, given('x1'), { x0: given('x0'), t });
          result.backward();
          return result.item();
        });
        expect(Math.abs(loss - expected[kind].loss)).toBeLessThan(1e-5);
        const squares: number[] = [loss];
        for (const [name, parameter] of model.network.namedParameters()) {
          const grad = parameter.grad as Tensor;
          const norm = Math.sqrt(scope(() => sum(square(grad)).item()) as number);
          const [want] = expected[kind].norm_and_probe[name];
          expect(Math.abs(norm - want), name).toBeLessThan(1e-4 * want + 1e-5);
          squares.push(norm);
          parameter.grad?.dispose();
          parameter.grad = null;
        }
        bits.push(squares);
      }
    }
    expect(bits[2]).toEqual(bits[0]);
    expect(bits[3]).toEqual(bits[1]);
    expect(signsOf('x', 1)).toHaveLength(1);
  }, 60_000);

  it('with LPIPS compare decoded pictures, and their gradient reaches the network', async () => {
    const vgg16 = join(folder, 'vgg16_formula.pth');
    await writeFormulaWeights('vgg16', vgg16);
    const values = { 'reflow.reflow_loss': 'lpips', 'reflow.reflow_t_schedule': 't0', 'reflow.vgg16': vgg16 };
    const config = await student(values);
    using measure = await openDistance(config, { device });
    using decoder = await openDecoder(config, device);
    const pairs = await PairSet.open(config.reflow.data_root);
    const texts = await TextStates.ofPairs(pairs, config);
    using model = await filled(config);
    const objective = latentObjective(pairs, texts, { model, config, device, distance: measure.distance });
    const arrays = await objective.fetch(0);
    const shapes = objective.shapes.map((shape) => [2, ...shape]);
    const { Counter } = await import('../../../src/tensor/counter.ts');
    using origin = new Counter(device);
    scope(() => {
      const tensors = arrays.map((values, i) => tensor(values, { shape: shapes[i], device }));
      const loss = objective.loss({ tensors, count: 2, first: 0, origin });
      expect(loss.item()).toBeGreaterThan(0);
      loss.backward();
      expect(decoder.decode(tensors[0]).shape).toEqual([2, 64, 64, 3]);
      const { grad } = model.network.conv_in.weight;
      expect(scope(() => sum(square(grad as Tensor)).item())).toBeGreaterThan(0);
    });
    await texts.close();
    await pairs.close();
  }, 60_000);
});

const checkpoint = (name: string) => join(folder, name, 'checkpoints', 'checkpoint_1.safetensors');

describe('training', () => {
  const train = async (name: string, values: Record<string, unknown> = {}, stopAfter?: number) => {
    const controller = new AbortController();
    const losses: number[] = [];
    await trainReflow(await student(values), {
      workdir: join(folder, name),
      device,
      signal: controller.signal,
      onStep: ({ step, loss }) => {
        losses.push(loss);
        if (step === stopAfter) controller.abort(new Error('stop'));
      },
    });
    return losses;
  };
  const tensorsOf = async (name: string) => (await readSafetensors(checkpoint(name))).tensors;

  it.each([
    // All weights take a minute.
    ...(full ? [['weights', {}] as [string, Record<string, unknown>]] : []),
    ['changes of rank 2', { 'model.lora_rank': 2 }] as [string, Record<string, unknown>],
  ])(
    'of %s resumes to the same bits',
    async (what, values) => {
      const name = what.split(' ')[0];
      const whole = await train(name, values);
      const first = await train(`${name}_stopped`, values, 2);
      const second = await train(`${name}_stopped`, values);
      expect([...first, ...second]).toEqual(whole);
      const [a, b] = [await tensorsOf(name), await tensorsOf(`${name}_stopped`)];
      expect([...b.keys()]).toEqual([...a.keys()]);
      for (const [key, { data }] of a) expect(b.get(key)?.data, key).toEqual(data);
    },
    120_000,
  );

  it('of changes begins at the loss of the teacher, lowers it, and saves nothing else', async () => {
    const values = { 'optim.lr': 5e-3, 'reflow.reflow_t_schedule': 't0' };
    const long = { 'training.n_iters': 30, 'training.snapshot_freq': 30 };
    const losses = await train('lowered', { ...values, ...long, 'model.lora_rank': 4, 'model.ema_rate': 0 });
    const [teacherLoss] = await train('full', values);
    expect(losses[0]).toBe(teacherLoss);
    const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
    expect(mean(losses.slice(-5))).toBeLessThan(0.9 * mean(losses.slice(0, 5)));
  }, 120_000);

  it('of pairs of another text network is refused', async () => {
    const other = join(folder, 'other');
    cpSync(teacher, other, { recursive: true });
    const file = join(other, 'text_encoder', 'model.safetensors');
    const { tensors } = await readSafetensors(file);
    const [name, array] = [...tensors][0];
    (array.data as Uint16Array).fill(0, 0, 1);
    tensors.set(name, array);
    await writeSafetensors(file, tensors);
    await expect(train('refused', { 'model.folder': other })).rejects.toThrow(/another text network or tokenizer/);
    const missing = join(folder, 'missing');
    mkdirSync(missing);
    cpSync(join(teacher, 'unet'), join(missing, 'unet'), { recursive: true });
    await expect(train('refused', { 'model.folder': missing })).rejects.toThrow(/model_index\.json/);
  });

  it('is written as low-rank changes and as a folder, which make the pictures of the trained network', async () => {
    const lora = join(folder, 'student.safetensors');
    const whole = join(folder, 'student');
    expect((await convert(checkpoint('lowered'), lora)).kind).toBe('lora');
    expect((await convert(checkpoint('full'), whole)).kind).toBe('folder');
    await expect(convert(checkpoint('full'), join(folder, 'no.safetensors'))).rejects.toThrow(/not low-rank changes/);
    const request = { prompt: 'a photo of a cat', size: 64, seed: 1 };
    const plain = await loadTextToImage(teacher, { device });
    const before = await plain.generate(request);
    expect(await plain.addLora(lora)).toBe(
      Object.keys(Object.fromEntries((await readSafetensors(lora)).tensors)).length / 3,
    );
    const after = await plain.generate(request);
    plain.dispose();
    const config = await student({ 'model.lora_rank': 4 });
    const { model } = await loadModel(checkpoint('lowered'), config, { device });
    using trained = model as LatentUNet;
    trained.eval();
    using reference = await loadTextToImage(teacher, { device });
    Object.assign(reference, { unet: trained.network });
    const expected = await reference.generate(request);
    const difference = (a: Float32Array, b: Float32Array) =>
      a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i])), 0);
    expect(difference(after.latents, expected.latents)).toBeLessThan(1e-4);
    expect(difference(after.latents, before.latents)).toBeGreaterThan(1e-2);
    const different = after.images.filter((v, i) => v !== expected.images[i]).length;
    expect(different).toBeLessThan(after.images.length / 100);
    using again = await loadTextToImage(whole, { device });
    expect((await again.generate(request)).shape).toEqual([1, 64, 64, 3]);
  }, 60_000);
});
