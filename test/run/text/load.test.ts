// Folders and files of models that are incomplete, damaged or of another architecture, what users ask for that cannot be made, and
// folders that we write.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { readSafetensors, writePth, writeSafetensors } from '../../../src/io/index.ts';
import {
  type LoadTextToImageOptions,
  loadTextToImage,
  saveTextToImage,
  type TextToImage,
} from '../../../src/run/index.ts';
import { openTestDevice } from '../../support/devices.ts';
import { writeTokenizer } from '../../support/instaflow.ts';
import { smallModel } from '../../support/small_model.ts';

const root = mkdtempSync(join(tmpdir(), 'rectiflow-text-'));
const whole = join(root, 'whole');
let device: Device;
let model: TextToImage;

beforeAll(async () => {
  device = await openTestDevice('cpu');
  model = await smallModel(device, root);
  await saveTextToImage(whole, model, { dtype: 'f32', shardBytes: 90_000 });
}, 120_000);
afterAll(() => {
  model?.dispose();
  rmSync(root, { recursive: true, force: true });
});

function throwing(): never {
  throw new Error('disk full');
}

let copies = 0;
/** A copy of the folder with a change. */
function changed(change: (folder: string) => void): string {
  const folder = join(root, `copy-${copies++}`);
  cpSync(whole, folder, { recursive: true });
  change(folder);
  return folder;
}

/** A copy whose JSON file has other values. */
const edited = (file: string, values: Record<string, unknown>) =>
  changed((folder) => {
    const path = join(folder, file);
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...values }));
  });

const shards = (folder: string) => readdirSync(join(folder, 'unet')).filter((name) => name.endsWith('.safetensors'));
const load = (path: string, options: LoadTextToImageOptions = {}) => loadTextToImage(path, { device, ...options });
const request = { prompt: 'a cat', size: 16, seed: 3 };

describe('what is written', () => {
  test('has several shards, and gives the same pictures', async () => {
    expect(shards(whole).length).toBeGreaterThan(1);
    using again = await load(whole);
    const [a, b] = [await model.generate(request), await again.generate(request)];
    expect(b.images).toEqual(a.images);
    expect(b.latents).toEqual(a.latents);
  });

  test('has the files, names and words that diffusers looks for', async () => {
    expect(readdirSync(whole).sort()).toEqual([
      'model_index.json',
      'scheduler',
      'text_encoder',
      'tokenizer',
      'unet',
      'vae',
    ]);
    const { metadata, tensors } = await readSafetensors(join(whole, 'vae', 'diffusion_pytorch_model.safetensors'));
    expect(metadata).toEqual({ format: 'pt' });
    expect(tensors.get('decoder.conv_in.weight')?.shape).toEqual([8, 4, 3, 3]);
    expect(JSON.parse(readFileSync(join(whole, 'unet', 'config.json'), 'utf8'))).toMatchObject({
      _class_name: 'UNet2DConditionModel',
      attention_head_dim: 2,
      down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'],
    });
  });

  test.each([false, true])('of a folder that cannot be completed, nothing stays (there before: %s)', async (there) => {
    const at = join(root, `part-${there}`);
    if (there) mkdirSync(at);
    const { tokenizer } = model;
    const vocabulary = { [Symbol.iterator]: () => throwing() };
    const damaged = Object.create(model, {
      tokenizer: { value: Object.create(tokenizer, { vocabulary: { value: vocabulary } }) },
    });
    await expect(saveTextToImage(at, damaged)).rejects.toThrow('disk full');
    expect(existsSync(at)).toBe(there);
    if (there) expect(readdirSync(at)).toEqual([]);
  });

  test('a folder that holds something is refused', async () => {
    await expect(saveTextToImage(whole, model)).rejects.toThrow('is not empty');
  });
});

describe('folders', () => {
  test('the only variant is read without its name', async () => {
    const folder = changed((at) => {
      for (const part of ['vae', 'text_encoder']) {
        const [name] = readdirSync(join(at, part)).filter((file) => file.endsWith('.safetensors'));
        renameSync(join(at, part, name), join(at, part, name.replace('.safetensors', '.fp16.safetensors')));
      }
    });
    using plain = await load(folder);
    using named = await load(folder, { variant: 'fp16' });
    expect((await plain.generate(request)).images).toEqual((await named.generate(request)).images);
    await expect(load(folder, { variant: 'bf16' })).rejects.toThrow(
      'has no weights of the variant "bf16"; it has fp16',
    );
    cpSync(
      join(folder, 'vae', 'diffusion_pytorch_model.fp16.safetensors'),
      join(folder, 'vae', 'diffusion_pytorch_model.ema.safetensors'),
    );
    await expect(load(folder)).rejects.toThrow('has the variants');
  });

  test('weights of torch.save', async () => {
    const folder = join(root, 'bin');
    cpSync(whole, folder, { recursive: true });
    const path = join(folder, 'vae', 'diffusion_pytorch_model.safetensors');
    const { tensors } = await readSafetensors(path);
    rmSync(path);
    await writePth(path.replace('.safetensors', '.bin'), tensors);
    using other = await load(folder);
    expect((await other.generate(request)).images).toEqual((await model.generate(request)).images);
  });

  test("the names of an autoencoder's attention before diffusers 0.18", async () => {
    const folder = join(root, 'former');
    cpSync(whole, folder, { recursive: true });
    const path = join(folder, 'vae', 'diffusion_pytorch_model.safetensors');
    const { tensors } = await readSafetensors(path);
    const former = Array.from(tensors, ([name, array]) => {
      const old = name.replace('.to_q.', '.query.').replace('.to_k.', '.key.').replace('.to_v.', '.value.');
      return [old.replace('.to_out.0.', '.proj_attn.'), array] as const;
    });
    await writeSafetensors(path, new Map(former));
    using other = await load(folder);
    expect((await other.generate(request)).images).toEqual((await model.generate(request)).images);
  });

  const wrong: [what: string, make: () => string, message: string][] = [
    ['a missing part', () => changed((at) => rmSync(join(at, 'vae'), { recursive: true })), 'vae: is missing'],
    ['no index', () => changed((at) => rmSync(join(at, 'model_index.json'))), 'model_index.json: no such file'],
    [
      'no weights',
      () => changed((at) => rmSync(join(at, 'vae', 'diffusion_pytorch_model.safetensors'))),
      'holds no weights',
    ],
    ['no configuration', () => changed((at) => rmSync(join(at, 'unet', 'config.json'))), 'config.json: no such file'],
    [
      'no tokenizer',
      () => changed((at) => rmSync(join(at, 'tokenizer'), { recursive: true })),
      'vocab.json: no such file',
    ],
    ['a missing shard', () => changed((at) => rmSync(join(at, 'unet', shards(at)[1]))), 'no such file'],
    ['a truncated shard', () => changed((at) => truncateSync(join(at, 'unet', shards(at)[0]), 5000)), 'truncated'],
    [
      'a shard that the index does not name',
      () =>
        changed((at) =>
          cpSync(join(at, 'unet', shards(at)[0]), join(at, 'unet', shards(at)[0].replace('00001', '00077'))),
        ),
      'does not name the shard',
    ],
    [
      'Stable Diffusion XL',
      () =>
        edited('model_index.json', { _class_name: 'StableDiffusionXLPipeline', text_encoder_2: ['transformers', 'X'] }),
      'is StableDiffusionXLPipeline with the part "text_encoder_2"',
    ],
    [
      'FLUX',
      () =>
        edited('model_index.json', {
          _class_name: 'FluxPipeline',
          transformer: ['diffusers', 'FluxTransformer2DModel'],
        }),
      'is FluxPipeline with the part "transformer"',
    ],
    [
      'another text network',
      () => edited('model_index.json', { text_encoder: ['transformers', 'T5EncoderModel'] }),
      'has the text_encoder "T5EncoderModel", expected CLIPTextModel',
    ],
    ['other sizes', () => edited('unet/config.json', { block_out_channels: [8, 32] }), 'with a different shape'],
    ['more layers', () => edited('vae/config.json', { layers_per_block: 2 }), 'missing:'],
    ['fewer layers', () => edited('text_encoder/config.json', { num_hidden_layers: 2 }), 'missing:'],
    [
      'a text network without end',
      () => edited('text_encoder/config.json', { num_hidden_layers: 1e6 }),
      join('text_encoder', 'config.json: describes a network that cannot be built'),
    ],
    ['heads that do not divide', () => edited('unet/config.json', { attention_head_dim: 3 }), 'cannot be built'],
    ['groups that do not divide', () => edited('vae/config.json', { norm_num_groups: 3 }), 'cannot be built'],
    ['another activation', () => edited('unet/config.json', { act_fn: 'gelu' }), 'has act_fn "gelu"'],
    [
      'an addition of SDXL',
      () => edited('unet/config.json', { addition_embed_type: 'text_time' }),
      'has addition_embed_type',
    ],
    [
      'blocks of a kind that we lack',
      () => edited('unet/config.json', { down_block_types: ['AttnDownBlock2D', 'DownBlock2D'] }),
      'has down_block_types',
    ],
    [
      'blocks up that are not those down',
      () => edited('unet/config.json', { up_block_types: ['UpBlock2D', 'UpBlock2D'] }),
      'has up_block_types',
    ],
    ['sizes as texts', () => edited('unet/config.json', { block_out_channels: ['8', 16] }), 'has block_out_channels'],
    ['a size without end', () => edited('unet/config.json', { cross_attention_dim: 1e300 }), 'has cross_attention_dim'],
    [
      'a configuration that is a list',
      () => changed((at) => writeFileSync(join(at, 'vae', 'config.json'), '[]')),
      'is not a JSON object',
    ],
    [
      'a tokenizer of another vocabulary',
      () => changed((at) => writeTokenizer(join(at, 'tokenizer'), 700)),
      'expected a tokenizer of at most 600 tokens',
    ],
    ['a folder of something else', () => join(root, 'tokenizer'), 'model_index.json: no such file'],
    ['nothing', () => join(root, 'missing'), 'no such file or folder'],
  ];
  test.each(wrong)('%s', async (_, make, message) => {
    const before = device.memory().live;
    await expect(load(make())).rejects.toThrow(message);
    expect(device.memory().live).toBe(before);
  });

  test('a network beyond memory is refused before it is read', async () => {
    Object.defineProperty(device, 'totalMemory', { value: device.memory().live + 1000, configurable: true });
    try {
      await expect(load(whole)).rejects.toThrow(/its weights take .* has/);
    } finally {
      delete (device as { totalMemory?: number }).totalMemory;
    }
  });
});

describe('single files', () => {
  test('need a tokenizer', async () => {
    const path = join(root, 'v1.safetensors');
    await writeSafetensors(path, { a: { shape: [1], dtype: 'f32', data: new Float32Array(1) } });
    await expect(load(path)).rejects.toThrow('is a single file, which has no tokenizer');
    await expect(load(path, { tokenizer: join(root, 'tokenizer') })).rejects.toThrow('is not a whole model');
  });

  test('of other architectures are named', async () => {
    for (const [name, message] of [
      ['conditioner.embedders.0.x', 'Stable Diffusion XL or FLUX'],
      ['double_blocks.0.x', 'Stable Diffusion XL or FLUX'],
      ['cond_stage_model.model.x', 'OpenCLIP'],
    ]) {
      const path = join(root, 'other.safetensors');
      await writeSafetensors(path, { [name]: { shape: [1], dtype: 'f32', data: new Float32Array(1) } });
      await expect(load(path, { tokenizer: join(root, 'tokenizer') })).rejects.toThrow(message);
    }
    mkdirSync(join(root, 'x'));
    writeFileSync(join(root, 'x', 'model.ckpt'), 'not a pickle');
    await expect(load(join(root, 'x', 'model.ckpt'), { tokenizer: join(root, 'tokenizer') })).rejects.toThrow(
      'is not a PyTorch file',
    );
  });
});

describe('requests', () => {
  test.each([
    [{ prompt: 'a', size: 15 }, 'expected a size of multiples of 2'],
    [{ prompt: [] }, 'expected at least one prompt'],
    [{ prompt: ['a', 'b'], negative: ['c'], size: 16 }, 'expected a negative text, or 2, got 1'],
    [{ prompt: 'a', size: 16, latents: new Float32Array(5) }, 'expected latents [1, 4, 8, 8]'],
    [{ prompt: 'a', size: 16, latents: new Float32Array(256), seed: 1 }, 'expected no seed with latents'],
    [{ prompt: 'a', size: 16, sampler: 'rk45' as const, steps: 3 }, 'expected no steps'],
    [{ prompt: 'a', size: 16, tolerance: 0.1 }, 'expected no tolerance'],
  ])('%j', async (options, message) => {
    await expect(model.generate(options)).rejects.toThrow(message);
  });

  test('a text that is cut, and guidance in one step, are noted', async () => {
    const { notes } = await model.generate({ ...request, prompt: 'x '.repeat(100), guidance: 2 });
    expect(notes).toEqual([
      expect.stringMatching(/reads 75 tokens: the last 25 of "x x .*" are left out/),
      expect.stringMatching(/distilled to one step/),
    ]);
    expect((await model.generate(request)).notes).toEqual([]);
  });

  test('pictures of prompts in order, each with noise of its own, in any batch', async () => {
    const options = { ...request, prompt: ['a', 'b'], count: 2, steps: 2 };
    for (const noise of ['torch', 'own'] as const) {
      const one = await model.generate({ ...options, noise });
      const three = await model.generate({ ...options, noise, batch: 3 });
      expect(one.shape).toEqual([4, 16, 16, 3]);
      for (let i = 0; i < one.latents.length; i++)
        expect(Math.abs(one.latents[i] - three.latents[i])).toBeLessThan(1e-4);
      expect(one.latents.subarray(0, 256)).not.toEqual(one.latents.subarray(256, 512));
    }
  });

  test('odd sizes of latents, all samplers, progress, and an end by a signal', async () => {
    const stages: string[] = [];
    const { shape } = await model.generate({
      ...request,
      size: [18, 22],
      steps: 2,
      sampler: 'heun',
      onProgress: ({ stage }) => stages.push(stage),
    });
    expect(shape).toEqual([1, 18, 22, 3]);
    expect(stages).toEqual(['text', 'network', 'network', 'network', 'decoding', 'decoding']);
    expect((await model.generate({ ...request, sampler: 'rk45', tolerance: 0.1 })).nfe).toBeGreaterThan(6);
    const before = device.memory().live;
    const abort = new AbortController();
    const stopped = model.generate({
      ...request,
      steps: 50,
      signal: abort.signal,
      onProgress: () => abort.abort('enough'),
    });
    await expect(stopped).rejects.toBe('enough');
    expect(device.memory().live).toBe(before);
  });

  test('a decoder that gives no numbers makes no picture', async () => {
    using damaged = await load(whole);
    const wrong = { 'decoder.conv_out.bias': { shape: [3], data: new Float32Array(3).fill(Number.NaN) } };
    damaged.vae.loadStateDict(wrong, 'state', { partial: true });
    const made = damaged.generate({ ...request, count: 2 });
    await expect(made).rejects.toThrow('picture 1 of 2 is not finite: the autoencoder gives NaN or infinity');
  });

  test('decoding in tiles is close to decoding at once', async () => {
    const plain = await model.generate({ ...request, size: 32 });
    const tiled = await model.generate({ ...request, size: 32, tile: 8 });
    const difference = plain.images.reduce((sum, value, i) => sum + Math.abs(value - tiled.images[i]), 0);
    expect(difference / plain.images.length).toBeLessThan(20);
    expect(difference).toBeGreaterThan(0);
    const same = await model.generate({ ...request, size: 32, tile: 16 });
    expect(same.images).toEqual(plain.images);
  });
});

describe('low-rank changes', () => {
  const vector = (shape: number[], value = 0.1) => ({
    shape,
    dtype: 'f32' as const,
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value),
  });
  const name = 'lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q';
  test.each([
    ['a module that the model lacks', { 'lora_unet_other.lora_down.weight': vector([1, 2]) }, '1 unknown'],
    ['half of a pair', { [`${name}.lora_down.weight`]: vector([1, 16]) }, '1 missing'],
    [
      'another width',
      { [`${name}.lora_down.weight`]: vector([1, 15]), [`${name}.lora_up.weight`]: vector([16, 1]) },
      'with a different shape',
    ],
    ['no tensors of a kind that is known', { [`${name}.hada_w1_a`]: vector([1, 2]) }, '1 unknown'],
    ['no tensors', {}, 'holds no low-rank changes'],
    [
      'a number that is not finite',
      { [`${name}.lora_down.weight`]: vector([1, 16], Number.NaN) },
      'is not finite in f32',
    ],
    [
      'an alpha that is not finite',
      { [`${name}.alpha`]: vector([], Number.POSITIVE_INFINITY) },
      'is not finite in f32',
    ],
    [
      'whole numbers',
      { [`${name}.lora_up.weight`]: { shape: [1], dtype: 'i32', data: Int32Array.of(1) } },
      'lora_up.weight is i32, expected f32, f16, bf16 or f64',
    ],
  ])('%s is refused', async (_, tensors, message) => {
    const path = join(root, 'lora.safetensors');
    await writeSafetensors(path, tensors as never);
    const before = await model.generate(request);
    await expect(model.addLora(path)).rejects.toThrow(message);
    expect((await model.generate(request)).latents).toEqual(before.latents);
  });
});
