// Text to image against diffusers 0.40 and transformers 5.18 (golden/instaflow/README.md): small networks with weights by formula,
// from the files that users have.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noGrad } from '../../src/autograd/mode.ts';
import { channelsFirst, channelsLast } from '../../src/data/index.ts';
import type { Device } from '../../src/device/device.ts';
import { encode, rectifiedFlowLoss, sample } from '../../src/flow/index.ts';
import { type ArrayFile, type TorchInput, toFloat32, writePth, writeSafetensors } from '../../src/io/index.ts';
import { square } from '../../src/kernels/elementwise.ts';
import { reshape, slice } from '../../src/kernels/movement.ts';
import { mean } from '../../src/kernels/reduce.ts';
import { loadTextToImage, type TextToImage, torchRandn } from '../../src/run/index.ts';
import type { JsonObject } from '../../src/run/text/configurations.ts';
import { originalAutoencoderName, originalPrefixes, originalUNetName } from '../../src/run/text/original_names.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { type DeviceMode, openTestDevice } from '../support/devices.ts';
import {
  golden,
  originalTensors,
  parts,
  pipelineShapes,
  readGolden,
  readJson,
  shapesOf,
  signsOf,
  type TensorList,
  writePipeline,
  writeTokenizer,
} from '../support/instaflow.ts';

type Arrays = ReadonlyMap<string, ArrayFile>;

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-instaflow-'));
const original = readJson<{ unet: JsonObject; vae: JsonObject; text: JsonObject }>('original', 'config.json');
const originalConfigs = { unet: original.unet, vae: original.vae, text_encoder: original.text };
const files = new Map<string, Arrays>();
const array = (file: string, name: string) => {
  const found = files.get(file)?.get(name);
  if (!found) throw new Error(`${file} lacks ${name}`);
  return found;
};
const numbers = (file: string, name: string) => toFloat32(array(file, name));

beforeAll(async () => {
  await writePipeline(join(folder, 'pipeline'), pipelineShapes().shapes);
  const tensors = originalTensors(shapesOf(originalConfigs).shapes);
  await writeSafetensors(join(folder, 'v1.safetensors'), tensors);
  await writePth(
    join(folder, 'v1.ckpt'),
    new Map<string, TorchInput>([
      ['global_step', 840_000],
      ['state_dict', tensors],
    ]),
  );
  writeTokenizer(join(folder, 'tokenizer'), 600);
  for (const name of [
    'text',
    'unet',
    'reflow',
    'sampling',
    'vae',
    'images',
    'epsilon',
    'lora',
    'sizes',
    'torch_randn',
    'original/out',
  ])
    files.set(name, await readGolden(name));
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i] - b[i]));
  return most;
}

/** |a - b| / |b|, Euclidean. */
function relative(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(difference / size);
}

/** Bytes that differ, and by how much at most. */
function expectSameBytes(a: Uint8Array, b: Uint8Array): void {
  expect(a.length).toBe(b.length);
  let [count, most] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) count++;
    most = Math.max(most, Math.abs(a[i] - b[i]));
  }
  expect(most).toBeLessThanOrEqual(1);
  expect(count / a.length).toBeLessThanOrEqual(0.001);
}

it('names and shapes of the real networks are those of the published files, in both layouts', () => {
  const read = (name: string) => readJson<JsonObject>('full', `${name}_config.json`);
  const { networks, shapes } = shapesOf({ unet: read('unet'), vae: read('vae'), text_encoder: read('text_encoder') });
  const defaults = shapesOf({ unet: {}, vae: {}, text_encoder: {} });
  expect(defaults.shapes).toEqual(shapes);
  const { layers, attends } = networks.unet.options;
  const originals = {
    unet: (name: string) => originalUNetName(name, layers, [...attends].reverse()),
    vae: (name: string) => originalAutoencoderName(name, networks.vae.options.blockChannels.length),
    text_encoder: (name: string) => name,
  };
  let count = 0;
  for (const part of parts) {
    const { list, parameters } = readJson<TensorList>('full', `${part}_tensors.json`);
    expect(networks[part].parameterCount()).toBe(parameters);
    expect(new Map(list.map(({ name, shape }) => [name, shape]))).toEqual(shapes[part]);
    for (const { name, original_name } of list)
      expect(originalPrefixes[part] + originals[part](name)).toBe(original_name);
    count += list.length;
  }
  expect(count).toBe(1130);
});

it("torchRandn has the bits of PyTorch's generator", () => {
  for (const [name, { data }] of files.get('torch_randn') as Arrays) {
    const [, seed, shape] = /^s(\d+)_([\dx]+)$/.exec(name) ?? [];
    if (seed === undefined) continue;
    const size = shape.split('x').reduce((product, dim) => product * Number(dim), 1);
    const made = torchRandn(Number(seed), size);
    expect(largestDifference(made.subarray(0, data.length), data as Float32Array), name).toBe(0);
    const sum = made.reduce((total, value) => total + value, 0);
    expect(Math.abs(sum - numbers('torch_randn', `${name}_sum`)[0]), name).toBeLessThan(2e-5);
  }
  const half = array('torch_randn', 'half_s0_1x4x64x64');
  const rounded = toFloat32(half);
  const wide = torchRandn(0, 16_384).subarray(0, rounded.length);
  expect(wide.every((value, i) => Math.abs(value - rounded[i]) <= 2 ** -11 * Math.max(2 ** -14, Math.abs(value)))).toBe(
    true,
  );
});

const modes: DeviceMode[] = [
  { name: 'cpu', precision: 'fp32', exact: true, label: 'cpu, exact' },
  { name: 'cpu', precision: 'fp32', exact: false, label: 'cpu' },
  { name: 'wasm', precision: 'fp32', exact: false, label: 'wasm' },
];

describe.each(modes)('on $label', ({ name, ...mode }) => {
  const slack = mode.exact ? 1 : 5;
  let device: Device;
  let model: TextToImage;
  beforeAll(async () => {
    device = await openTestDevice(name, mode);
    model = await loadTextToImage(join(folder, 'pipeline'), { device });
  }, 120_000);
  afterAll(() => model?.dispose());

  /** An array [N, C, H, W] as a tensor [N, H, W, C]; others as they are. */
  const given = (file: string, key: string): Tensor => {
    const { shape } = array(file, key);
    const values = numbers(file, key);
    if (shape.length !== 4) return tensor(values, { shape, device });
    const [n, c, h, w] = shape;
    return tensor(channelsLast(values, [n, h, w, c]), { shape: [n, h, w, c], device });
  };
  /** The values of a tensor in PyTorch's order. */
  const torchOrder = (t: Tensor): Float32Array => {
    const values = t.dataSync() as Float32Array;
    const [n, h, w, c] = t.shape;
    return t.rank === 4 ? channelsFirst(values, [n, h, w, c]) : values;
  };
  const expectNear = (t: Tensor, file: string, key: string, most = 1e-5, rows = t.size) =>
    expect(largestDifference(torchOrder(t).subarray(0, rows), numbers(file, key).subarray(0, rows)), key).toBeLessThan(
      most * slack,
    );

  it('text states', () =>
    scope(() =>
      noGrad(() => {
        const { shape } = array('text', 'ids');
        const ids = tensor(Int32Array.from(array('text', 'ids').data as Int32Array), { shape, dtype: 'i32', device });
        expectNear(model.textEncoder.forward(ids), 'text', 'last_hidden_state');
        const { embeddings, encoder } = model.textEncoder.text_model;
        const start = reshape(embeddings.forward(ids), [7, 77, 64]);
        const first = encoder.layers[0].forward(start);
        const two = 2 * 77 * 64;
        expectNear(start, 'text', 'embeddings', 1e-5, two);
        expectNear(first, 'text', 'layer_1', 1e-5, two);
        expectNear(encoder.layers[1].forward(first), 'text', 'last_layer', 1e-5, two);
        const prompts = readJson<{ prompts: string[] }>('tokens.json').prompts;
        expectNear(model.encodePrompts(prompts), 'text', 'last_hidden_state');
      }),
    ));

  it('the network', () =>
    scope(() =>
      noGrad(() => {
        const text = given('unet', 'encoder_hidden_states');
        const y = model.unet.forward(given('unet', 'sample'), given('unet', 'timesteps'), text);
        expectNear(y, 'unet', 'out');
      }),
    ));

  it('losses, and the gradients of all weights of UNet2DCondition', () => {
    const { unet } = model;
    type Recorded = { loss: number; norm_and_probe: Record<string, [norm: number, probe: number]> };
    const expected = readJson<{ reflow: Recorded; distil_l2: Recorded }>('gradients.json');
    for (const kind of ['reflow', 'distil_l2'] as const) {
      scope(() => {
        const [x0, x1] = [given('reflow', 'x0'), given('reflow', 'x1')];
        const text = given('reflow', 'encoder_hidden_states').requireGrad();
        const velocity = model.velocity({ condition: text });
        const t = kind === 'reflow' ? given('reflow', 't') : tensor([0, 0], { device });
        const loss = rectifiedFlowLoss(velocity, x1, { x0, t });
        loss.backward();
        expect(Math.abs(loss.item() - expected[kind].loss)).toBeLessThan(1e-5 * slack);
        if (kind === 'reflow') {
          const grad = text.grad as Tensor;
          const want = numbers('reflow', 'grad_encoder_hidden_states');
          expect(relative(grad.dataSync() as Float32Array, want)).toBeLessThan(1e-4 * slack);
        }
      });
      const own = unet.stateDict();
      const names = Object.keys(expected[kind].norm_and_probe);
      expect(new Set(names)).toEqual(new Set(own.keys()));
      // A norm whose groups are single channels takes away the bias before it: that gradient is a rounding error.
      const rounding = 1e-6 * Math.max(...Object.values(expected[kind].norm_and_probe).map(([norm]) => norm));
      for (const key of names) {
        const parameter = own.get(key) as Tensor;
        const grad = torchOrder(parameter.grad as Tensor);
        const [norm, probe] = expected[kind].norm_and_probe[key];
        const s = signsOf(`probe/${key}`, grad.length);
        let [squares, product] = [0, 0];
        for (let i = 0; i < grad.length; i++) {
          squares += grad[i] ** 2;
          product += grad[i] * s[i];
        }
        expect(Math.abs(Math.sqrt(squares) - norm), `${kind} ${key}`).toBeLessThan(1e-4 * slack * norm + rounding);
        expect(Math.abs(product - probe), `${kind} ${key}`).toBeLessThan(1e-4 * slack * norm + rounding);
        const whole = kind === 'reflow' ? files.get('reflow')?.get(`grad/${key}`) : undefined;
        if (whole && norm > rounding) expect(relative(grad, toFloat32(whole)), key).toBeLessThan(1e-4 * slack);
        parameter.grad?.dispose();
        parameter.grad = null;
      }
    }
  });

  const prompts = readJson<{ prompts: string[] }>('tokens.json').prompts;
  const request = { prompt: prompts.slice(0, 2), size: 128, batch: 2 };

  it('one step with the noise of a seed, and its pictures', async () => {
    const { latents, images, shape, nfe } = await model.generate({ ...request, seed: 0 });
    expect(largestDifference(torchRandn(0, 2048), numbers('sampling', 'latents0'))).toBe(0);
    expect(largestDifference(latents, numbers('sampling', 'one_step'))).toBeLessThan(3e-5 * slack);
    expectSameBytes(images, array('images', 'one_step').data as Uint8Array);
    expect([shape, nfe]).toEqual([[2, 128, 128, 3], 1]);
  });

  it('four steps with guidance', async () => {
    const options = { ...request, steps: 4, guidance: 1.5, negative: prompts[2] };
    const { latents, images, nfe } = await model.generate(options);
    const all = numbers('sampling', 'four_steps_cfg_1_5');
    expect(largestDifference(latents, all.subarray(3 * latents.length))).toBeLessThan(3e-5 * slack);
    expectSameBytes(images, array('images', 'four_steps_cfg_1_5').data as Uint8Array);
    expect(nfe).toBe(4);
    if (!mode.exact) return;
    // One picture at a time, from latents of its own.
    const parts = await model.generate({ ...options, batch: 1, latents: numbers('sampling', 'latents0') });
    expect(largestDifference(parts.latents, latents)).toBeLessThan(1e-5 * slack);
  });

  it('four steps with an empty negative text, eight steps, and back', async () => {
    const path = { shape: [16, 16, 4], solver: 'euler', epsilon: 0, device } as const;
    const numbersOf = (key: string) => channelsLast(numbers('sampling', key), [2, 16, 16, 4]);
    using condition = model.encodePrompts(request.prompt);
    using unconditional = model.encodePrompts(['']);
    const starts = { ...path, count: 2, seed: 0, latents: numbersOf('latents0') };
    const strong = model.velocity({ condition, unconditional, guidance: 2 });
    const four = await sample(strong, { ...starts, steps: 4 });
    const most = 3e-5 * slack;
    expect(largestDifference(four.samples, numbersOf('four_steps_cfg_2_empty_negative'))).toBeLessThan(most);
    // A scale of 1 guides nothing.
    const velocity = model.velocity({ condition, unconditional, guidance: 1 });
    const eight = await sample(velocity, { ...starts, steps: 8 });
    expect(largestDifference(eight.samples, numbersOf('eight_steps'))).toBeLessThan(most);
    const back = await encode(velocity, numbersOf('eight_steps'), { ...path, steps: 8 });
    expect(largestDifference(back.latents, numbersOf('inverse_8_of_eight_steps'))).toBeLessThan(most);
  });

  it('decoding, encoding, and the gradient through the decoder', () => {
    scope(() =>
      noGrad(() => {
        const image = model.decode(given('vae', 'latents'));
        expectNear(image, 'vae', 'image_f32_first', 1e-5, 3 * 128 * 128);
        const bytes = array('vae', 'uint8').data as Uint8Array;
        const pixels = Float32Array.from(bytes, (byte) => Math.fround(byte / 127.5) - 1);
        const { mean, logvar } = model.vae.encode(tensor(pixels, { shape: [2, 128, 128, 3], device }));
        expectNear(mean, 'vae', 'mean');
        expectNear(logvar, 'vae', 'logvar');
      }),
    );
    scope(() => {
      const values = given('vae', 'latents').dataSync() as Float32Array;
      const { scalingFactor } = model.vae.options;
      const z = tensor(
        values.map((value) => value / scalingFactor),
        { shape: [2, 16, 16, 4], device },
      ).requireGrad();
      const loss = mean(square(model.vae.decode(z)));
      loss.backward();
      expect(Math.abs(loss.item() - numbers('vae', 'mean_square')[0])).toBeLessThan(1e-5 * slack);
      const grad = torchOrder(z.grad as Tensor);
      expect(relative(grad, numbers('vae', 'grad_latents_of_mean_square'))).toBeLessThan(1e-4 * slack);
    });
    for (const [, parameter] of model.vae.namedParameters()) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  });

  it('latents of sizes that do not halve evenly, and tiles', () =>
    scope(() =>
      noGrad(() => {
        const text = slice(given('unet', 'encoder_hidden_states'), [0, 0, 0], [1, 77, 64]);
        expectNear(model.unet.forward(given('sizes', 'x'), tensor([500], { device }), text), 'sizes', 'y');
        const first = slice(given('vae', 'latents'), [0, 0, 0, 0], [1, 16, 16, 4]);
        const image = torchOrder(model.decode(first, { tile: 8 }));
        const third = numbers('sizes', 'tiled_third').map((value, i) => {
          const [channel, row, column] = [Math.floor(i / 43 ** 2), Math.floor(i / 43) % 43, i % 43];
          return value - image[(channel * 128 + 3 * row) * 128 + 3 * column];
        });
        expect(largestDifference(third, new Float32Array(third.length))).toBeLessThan(1e-5 * slack);
        const [c, h, w] = [3, 128, 128];
        const whole = channelsLast(numbers('vae', 'image_f32_first'), [1, h, w, c]);
        const { mean } = model.vae.encode(tensor(whole, { shape: [1, h, w, c], device }), { tile: 8 });
        const moments = numbers('sizes', 'moments');
        expect(largestDifference(torchOrder(mean), moments.subarray(0, mean.size))).toBeLessThan(1e-5 * slack);
      }),
    ));

  it('a network that predicts noise, as a velocity', async () => {
    using other = await loadTextToImage(join(folder, 'pipeline'), { device, prediction: 'noise' });
    scope(() =>
      noGrad(() => {
        const velocity = other.velocity({ condition: given('epsilon', 'encoder_hidden_states') });
        const t = tensor(Float32Array.from(array('epsilon', 't').data as Float64Array), { device });
        const v = torchOrder(velocity(given('epsilon', 'x_t'), t));
        const want = numbers('epsilon', 'v');
        const each = want.length / 3;
        for (let i = 0; i < 3; i++) {
          const [from, to] = [i * each, (i + 1) * each];
          expect(relative(v.subarray(from, to), want.subarray(from, to))).toBeLessThan(1e-4 * slack);
        }
      }),
    );
  });

  it('low-rank changes', async () => {
    using other = await loadTextToImage(join(folder, 'pipeline'), { device });
    expect(await other.addLora(join(golden, 'lora.safetensors'), numbers('lora', 'multiplier')[0])).toBe(6);
    scope(() =>
      noGrad(() => {
        expectNear(other.encodePrompts(prompts.slice(0, 2)), 'lora', 'last_hidden_state');
        const text = other.encodePrompts(prompts.slice(0, 2));
        expectNear(other.unet.forward(given('unet', 'sample'), given('unet', 'timesteps'), text), 'lora', 'out');
      }),
    );
  });

  it.each(mode.exact ? ['v1.safetensors', 'v1.ckpt'] : ['v1.safetensors'])(
    'a single file of CompVis, %s',
    async (file) => {
      const options = { device, configurations: originalConfigs, tokenizer: join(folder, 'tokenizer') };
      using other = await loadTextToImage(join(folder, file), options);
      scope(() =>
        noGrad(() => {
          const out = 'original/out';
          const ids = tensor(Int32Array.from(array(out, 'ids').data as Int32Array), {
            shape: [1, 77],
            dtype: 'i32',
            device,
          });
          const states = other.textEncoder.forward(ids);
          expectNear(states, out, 'last_hidden_state');
          expectNear(other.unet.forward(given(out, 'sample'), given(out, 'timestep'), states), out, 'v');
          const image = other.decode(given(out, 'latents'));
          const rows = channelsFirst(
            (image.dataSync() as Float32Array).subarray(0, sizeOf([32, 128, 3])),
            [1, 32, 128, 3],
          );
          expect(largestDifference(rows, numbers(out, 'image_rows_0_32'))).toBeLessThan(1e-5 * slack);
        }),
      );
    },
  );
});
