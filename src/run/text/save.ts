// Writes a text-to-image model as a folder that diffusers opens with StableDiffusionPipeline.from_pretrained.
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { checkArgument, checkOptions, instanceOf, kinds, type OptionKinds, oneOf } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { FileError, ValueError } from '../../errors.ts';
import type { ArrayFile } from '../../io/array.ts';
import { writeFileAtomic } from '../../io/atomic.ts';
import { exists, makeFolder } from '../../io/file.ts';
import { writeJson } from '../../io/json.ts';
import { writeSafetensors } from '../../io/safetensors.ts';
import { cast } from '../../kernels/cast.ts';
import { permute } from '../../kernels/movement.ts';
import type { Module } from '../../nn/module.ts';
import { keep, scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { autoencoderConfigOf, type JsonObject, textConfigOf, unetConfigOf } from './configurations.ts';
import { fileShape } from './match.ts';
import { TextToImage } from './text_to_image.ts';
import type { ClipTokenizer } from './tokenizer.ts';

export interface SaveTextToImageOptions {
  /** The dtype of the weights in the files; default 'f16'. */
  dtype?: 'f16' | 'f32';
  /** Most bytes of one file of weights; default 2e9. Larger networks become several files and an index. */
  shardBytes?: number;
}

const saveOptions: OptionKinds<SaveTextToImageOptions> = { dtype: oneOf(['f16', 'f32']), shardBytes: kinds.count };

const modelKind = instanceOf(TextToImage, 'a TextToImage');

/**
 * Writes a model into a folder, which must be empty or new: configurations, weights, tokenizer, and a scheduler's configuration,
 * which diffusers asks for and our samplers do not use.
 * @throws FileError for a folder that holds something, and for one that cannot be written, in which nothing stays; ValueError for a model that was loaded
 * without its encoder
 * @example
 * const model = await loadTextToImage('instaflow');
 * await saveTextToImage('copy', model, { dtype: 'f32' });
 * (await loadTextToImage('copy')).unet.options.heads; // 2
 */
export async function saveTextToImage(
  folder: string,
  model: TextToImage,
  options: SaveTextToImageOptions = {},
): Promise<void> {
  checkArgument('saveTextToImage', 'folder', folder, kinds.path);
  checkArgument('saveTextToImage', 'model', model, modelKind);
  const { dtype = 'f16', shardBytes = 2e9 } = checkOptions('saveTextToImage', options, saveOptions);
  if (!model.vae.encoder)
    throw new ValueError(
      '[saveTextToImage] expected a whole model, got one without its encoder: load it with encoder: true',
    );
  const there = await exists(folder);
  if (there && (await readdir(folder)).length > 0)
    throw new FileError(folder, 'is not empty; give the name of a new folder');
  try {
    await writeFolder(folder, model, { dtype, shardBytes });
  } catch (error) {
    // What was written is not a whole model, and would be in the way of the next attempt.
    const left = there ? (await readdir(folder)).map((name) => join(folder, name)) : [folder];
    for (const path of left) await rm(path, { recursive: true, force: true });
    throw error;
  }
}

async function writeFolder(
  folder: string,
  model: TextToImage,
  { dtype, shardBytes }: Required<SaveTextToImageOptions>,
): Promise<void> {
  const { unet, vae, textEncoder, tokenizer } = model;
  const part = async (name: string, network: Module, stem: string, config: JsonObject) => {
    const at = makeFolder(join(folder, name));
    await writeJson(join(at, 'config.json'), config);
    await writeWeights(at, stem, network, dtype, shardBytes);
  };
  const torchDtype = dtype === 'f16' ? 'float16' : 'float32';
  await part('unet', unet, 'diffusion_pytorch_model', unetConfigOf(unet.options, model.defaultSize / vae.factor));
  await part('vae', vae, 'diffusion_pytorch_model', autoencoderConfigOf(vae.options, model.defaultSize));
  await part('text_encoder', textEncoder, 'model', { ...textConfigOf(textEncoder.options), torch_dtype: torchDtype });
  await writeTokenizer(makeFolder(join(folder, 'tokenizer')), tokenizer);
  await writeJson(join(makeFolder(join(folder, 'scheduler')), 'scheduler_config.json'), scheduler);
  // Last, so that a folder that was not completed is not taken for a model.
  await writeJson(join(folder, 'model_index.json'), modelIndex);
}

const modelIndex = {
  _class_name: 'StableDiffusionPipeline',
  feature_extractor: [null, null],
  requires_safety_checker: false,
  safety_checker: [null, null],
  scheduler: ['diffusers', 'PNDMScheduler'],
  text_encoder: ['transformers', 'CLIPTextModel'],
  tokenizer: ['transformers', 'CLIPTokenizer'],
  unet: ['diffusers', 'UNet2DConditionModel'],
  vae: ['diffusers', 'AutoencoderKL'],
};

const scheduler = {
  _class_name: 'PNDMScheduler',
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  beta_start: 0.00085,
  num_train_timesteps: 1000,
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
};

/** One file, or several and their index. */
async function writeWeights(
  folder: string,
  stem: string,
  network: Module,
  dtype: 'f16' | 'f32',
  shardBytes: number,
): Promise<void> {
  const tensors = [...network.namedTensors()];
  const bytesOf = (t: Tensor) => t.size * (dtype === 'f16' ? 2 : 4);
  const shards: [string, Tensor][][] = [[]];
  let bytes = 0;
  for (const [name, t] of tensors) {
    if (bytes > 0 && bytes + bytesOf(t) > shardBytes) {
      shards.push([]);
      bytes = 0;
    }
    (shards.at(-1) as [string, Tensor][]).push([name, t]);
    bytes += bytesOf(t);
  }
  const number = (i: number) => String(i).padStart(5, '0');
  const fileOf = (i: number) =>
    shards.length === 1 ? `${stem}.safetensors` : `${stem}-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
  for (const [i, shard] of shards.entries()) {
    const arrays = new Map<string, ArrayFile>();
    for (const [name, t] of shard) arrays.set(name, await toFile(t, dtype));
    // Both libraries look for this word.
    await writeSafetensors(join(folder, fileOf(i)), arrays, { format: 'pt' });
  }
  if (shards.length === 1) return;
  const total = tensors.reduce((sum, [, t]) => sum + bytesOf(t), 0);
  const map = shards.flatMap((shard, i) => shard.map(([name]) => [name, fileOf(i)] as const));
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(map) };
  await writeJson(join(folder, `${stem}.safetensors.index.json`), index);
}

/** The array of a tensor in PyTorch's layout. */
async function toFile(t: Tensor, dtype: 'f16' | 'f32'): Promise<ArrayFile> {
  using turned = keep(scope(() => noGrad(() => cast(t.rank === 4 ? permute(t, [0, 3, 1, 2]) : t, dtype))));
  return { shape: [...fileShape(t.shape)], dtype, data: (await turned.data()) as ArrayFile['data'] };
}

async function writeTokenizer(folder: string, tokenizer: ClipTokenizer): Promise<void> {
  const [start, end] = ['<|startoftext|>', '<|endoftext|>'];
  const pad = tokenizer.padToken;
  await writeFileAtomic(join(folder, 'vocab.json'), [
    Buffer.from(JSON.stringify(Object.fromEntries(tokenizer.vocabulary))),
  ]);
  await writeFileAtomic(join(folder, 'merges.txt'), [
    Buffer.from(['#version: 0.2', ...tokenizer.merges, ''].join('\n')),
  ]);
  await writeJson(join(folder, 'special_tokens_map.json'), {
    bos_token: start,
    eos_token: end,
    pad_token: pad,
    unk_token: end,
  });
  await writeJson(join(folder, 'tokenizer_config.json'), {
    add_prefix_space: false,
    bos_token: start,
    do_lower_case: true,
    eos_token: end,
    errors: 'replace',
    model_max_length: tokenizer.length,
    pad_token: pad,
    tokenizer_class: 'CLIPTokenizer',
    unk_token: end,
  });
}
