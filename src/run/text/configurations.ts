// The configurations of diffusers and transformers (config.json) as options of our networks, and back. A value that would make
// another network than ours is refused by its name.
import { FileError } from '../../errors.ts';
import type { AutoencoderKLOptions } from '../../nn/diffusers/autoencoder_kl.ts';
import type { CLIPTextOptions } from '../../nn/diffusers/clip_text.ts';
import type { UNet2DConditionOptions } from '../../nn/diffusers/unet2d_condition.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** Reads the values of a configuration by name; null counts as absent. */
class Configuration {
  private readonly values: JsonObject;
  private readonly path: string;

  constructor(values: JsonObject, path: string) {
    this.values = values;
    this.path = path;
  }

  /** @throws FileError unless the value is absent or one of these */
  expect(key: string, ...allowed: unknown[]): void {
    const value = this.get(key);
    if (value === undefined || allowed.some((one) => JSON.stringify(one) === JSON.stringify(value))) return;
    throw this.refusal(key, allowed.map((one) => JSON.stringify(one)).join(' or ') || 'nothing');
  }

  count(key: string): number | undefined {
    const value = this.get(key);
    if (value === undefined || isCount(value)) return value as number | undefined;
    throw this.refusal(key, 'a whole number >= 1');
  }

  number(key: string): number | undefined {
    const value = this.get(key);
    if (value === undefined || (Number.isFinite(value) && (value as number) >= 0)) return value as number | undefined;
    throw this.refusal(key, 'a number >= 0');
  }

  flag(key: string): boolean | undefined {
    const value = this.get(key);
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.refusal(key, 'true or false');
  }

  counts(key: string): number[] | undefined {
    const value = this.get(key);
    if (value === undefined || (Array.isArray(value) && value.length > 0 && value.length <= 16 && value.every(isCount)))
      return value as number[] | undefined;
    throw this.refusal(key, 'a list of whole numbers >= 1');
  }

  /** The index of each entry of a list among the allowed names. */
  indices(key: string, allowed: readonly string[]): number[] | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || value.length > 16 || !value.every((name) => allowed.includes(name as string)))
      throw this.refusal(key, `a list of ${allowed.join(', ')}`);
    return value.map((name) => allowed.indexOf(name as string));
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  refusal(key: string, expected: string): FileError {
    const given = JSON.stringify(this.get(key)) ?? 'nothing';
    const shown = given.length > 80 ? `${given.slice(0, 80)}...` : given;
    return new FileError(
      this.path,
      `has ${key} ${shown}, expected ${expected}: its network is not one of this program`,
    );
  }

  private get(key: string): unknown {
    const value = Object.hasOwn(this.values, key) ? this.values[key] : undefined;
    return value === null ? undefined : value;
  }
}

/** Sizes beyond this are damage, not a network. */
const LARGEST = 1_000_000;

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= LARGEST;
}

const defined = <Options extends object>(options: Options): Options =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Options;

/** The options of diffusers' UNet2DConditionModel. @throws FileError for a network that ours is not */
export function unetOptionsOf(values: JsonObject, path: string): UNet2DConditionOptions {
  const config = new Configuration(values, path);
  config.expect('_class_name', 'UNet2DConditionModel');
  config.expect('act_fn', 'silu', 'swish');
  config.expect('mid_block_type', 'UNetMidBlock2DCrossAttn');
  config.expect('time_embedding_type', 'positional');
  config.expect('resnet_time_scale_shift', 'default');
  config.expect('attention_type', 'default');
  for (const key of ['downsample_padding', 'mid_block_scale_factor', 'transformer_layers_per_block'])
    config.expect(key, 1);
  for (const key of ['conv_in_kernel', 'conv_out_kernel']) config.expect(key, 3);
  for (const key of ['center_input_sample', 'dual_cross_attention', 'only_cross_attention', 'class_embeddings_concat'])
    config.expect(key, false);
  for (const key of [
    'addition_embed_type',
    'class_embed_type',
    'num_class_embeds',
    'encoder_hid_dim',
    'time_cond_proj_dim',
  ])
    config.expect(key);
  const channels = config.counts('block_out_channels') ?? [320, 640, 1280, 1280];
  const down = config.indices('down_block_types', ['DownBlock2D', 'CrossAttnDownBlock2D']);
  const up = config.indices('up_block_types', ['UpBlock2D', 'CrossAttnUpBlock2D']);
  const attends = (down ?? channels.map((_, level) => (level < channels.length - 1 ? 1 : 0))).map((kind) => kind === 1);
  if (attends.length !== channels.length) throw config.refusal('down_block_types', `${channels.length} blocks`);
  if (up && [...up].reverse().some((kind, level) => (kind === 1) !== attends[level]))
    throw config.refusal('up_block_types', 'the blocks of the way down in the other direction');
  // diffusers uses "attention_head_dim" as the number of heads where "num_attention_heads" is absent.
  const headsKey = config.has('num_attention_heads') ? 'num_attention_heads' : 'attention_head_dim';
  const heads = Array.isArray(values[headsKey]) ? config.counts(headsKey) : config.count(headsKey);
  if (Array.isArray(heads) && heads.length !== channels.length)
    throw config.refusal(headsKey, `a number, or ${channels.length} numbers`);
  config.expect('freq_shift', 0, 1);
  return defined({
    inChannels: config.count('in_channels'),
    outChannels: config.count('out_channels'),
    channels,
    attends,
    layers: config.count('layers_per_block'),
    heads,
    contextChannels: config.count('cross_attention_dim') ?? 768,
    groups: config.count('norm_num_groups'),
    eps: config.number('norm_eps'),
    linearProjection: config.flag('use_linear_projection'),
    shift: config.number('freq_shift') as 0 | 1 | undefined,
    cosineFirst: config.flag('flip_sin_to_cos'),
  });
}

/** diffusers' configuration of a network. */
export function unetConfigOf(options: Required<UNet2DConditionOptions>, sampleSize: number): JsonObject {
  return {
    _class_name: 'UNet2DConditionModel',
    act_fn: 'silu',
    attention_head_dim: options.heads,
    block_out_channels: options.channels,
    center_input_sample: false,
    cross_attention_dim: options.contextChannels,
    down_block_types: options.attends.map((attends) => (attends ? 'CrossAttnDownBlock2D' : 'DownBlock2D')),
    downsample_padding: 1,
    flip_sin_to_cos: options.cosineFirst,
    freq_shift: options.shift,
    in_channels: options.inChannels,
    layers_per_block: options.layers,
    mid_block_scale_factor: 1,
    norm_eps: options.eps,
    norm_num_groups: options.groups,
    out_channels: options.outChannels,
    sample_size: sampleSize,
    up_block_types: [...options.attends].reverse().map((attends) => (attends ? 'CrossAttnUpBlock2D' : 'UpBlock2D')),
    use_linear_projection: options.linearProjection,
  };
}

/** The options of diffusers' AutoencoderKL. @throws FileError as unetOptionsOf */
export function autoencoderOptionsOf(values: JsonObject, path: string): AutoencoderKLOptions {
  const config = new Configuration(values, path);
  config.expect('_class_name', 'AutoencoderKL');
  config.expect('act_fn', 'silu', 'swish');
  for (const key of ['use_quant_conv', 'use_post_quant_conv', 'mid_block_add_attention']) config.expect(key, true);
  for (const key of ['shift_factor', 'latents_mean', 'latents_std']) config.expect(key);
  const blockChannels = config.counts('block_out_channels') ?? [128, 256, 512, 512];
  for (const [key, name] of [
    ['down_block_types', 'DownEncoderBlock2D'],
    ['up_block_types', 'UpDecoderBlock2D'],
  ])
    if ((config.indices(key, [name]) ?? blockChannels).length !== blockChannels.length)
      throw config.refusal(key, `${blockChannels.length} blocks`);
  const [inputs = 3, outputs = 3] = [config.count('in_channels'), config.count('out_channels')];
  if (inputs !== outputs) throw config.refusal('out_channels', `${inputs}, as in_channels`);
  const scalingFactor = config.number('scaling_factor');
  if (scalingFactor === 0) throw config.refusal('scaling_factor', 'a number > 0');
  return defined({
    channels: inputs,
    latentChannels: config.count('latent_channels'),
    blockChannels,
    layers: config.count('layers_per_block'),
    groups: config.count('norm_num_groups'),
    scalingFactor,
  });
}

/** diffusers' configuration of an autoencoder. */
export function autoencoderConfigOf(options: Required<AutoencoderKLOptions>, sampleSize: number): JsonObject {
  return {
    _class_name: 'AutoencoderKL',
    act_fn: 'silu',
    block_out_channels: options.blockChannels,
    down_block_types: options.blockChannels.map(() => 'DownEncoderBlock2D'),
    in_channels: options.channels,
    latent_channels: options.latentChannels,
    layers_per_block: options.layers,
    norm_num_groups: options.groups,
    out_channels: options.channels,
    sample_size: sampleSize,
    scaling_factor: options.scalingFactor,
    up_block_types: options.blockChannels.map(() => 'UpDecoderBlock2D'),
  };
}

/** The options of transformers' CLIPTextModel. @throws FileError as unetOptionsOf */
export function textOptionsOf(values: JsonObject, path: string): CLIPTextOptions {
  const config = new Configuration(values, path);
  config.expect('model_type', 'clip_text_model');
  config.expect('architectures', ['CLIPTextModel']);
  config.expect('hidden_act', 'quick_gelu', 'gelu');
  const width = config.count('hidden_size') ?? 768;
  return defined({
    vocabulary: config.count('vocab_size') ?? 49_408,
    width,
    layers: config.count('num_hidden_layers'),
    heads: config.count('num_attention_heads'),
    hidden: config.count('intermediate_size') ?? 3072,
    positions: config.count('max_position_embeddings'),
    activation: values.hidden_act as 'quick_gelu' | 'gelu' | undefined,
    eps: config.number('layer_norm_eps'),
  });
}

/** transformers' configuration of a text network. */
export function textConfigOf(options: Required<CLIPTextOptions>): JsonObject {
  return {
    architectures: ['CLIPTextModel'],
    attention_dropout: 0,
    bos_token_id: 0,
    eos_token_id: 2,
    hidden_act: options.activation,
    hidden_size: options.width,
    intermediate_size: options.hidden,
    layer_norm_eps: options.eps,
    max_position_embeddings: options.positions,
    model_type: 'clip_text_model',
    num_attention_heads: options.heads,
    num_hidden_layers: options.layers,
    pad_token_id: 1,
    vocab_size: options.vocabulary,
  };
}
