// Builds the network that a configuration describes.

import { checkArgument } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { ConfigError, DeviceError, ShapeError, ValueError } from '../../errors.ts';
import { CaptionUNet, type CaptionUNetOptions } from '../../nn/caption_unet.ts';
import { Initializer } from '../../nn/init.ts';
import { outlineInitializer, outlineUNet } from '../../nn/outline.ts';
import { UNet } from '../../nn/unet.ts';
import type { UNetOptions } from '../../nn/unet_options.ts';
import { type FlowNetwork, runOptions } from '../arguments.ts';
import { captionsOf } from '../captions/captions.ts';
import { requireConfig } from '../config/require.ts';
import { type Difference, differences, keyProperties } from '../config/tree.ts';
import type { Config } from '../config/types.ts';
import { buildLatentUNet, latentOptions } from '../latents/network.ts';
import { machineMemory, megabytes } from '../machine/resources.ts';
import { attentionMap, leastMemory, type Use } from './footprint.ts';
import { momentsPerParameter } from './optimizer.ts';

/** Translates the official keys into the options of UNet. */
export function unetOptions(config: Config): UNetOptions {
  requireConfig('unetOptions', config);
  const { data, model, seed } = config;
  return {
    imageSize: data.image_size,
    channels: data.num_channels,
    baseChannels: model.nf,
    channelMultipliers: model.ch_mult,
    residualBlocks: model.num_res_blocks,
    attentionResolutions: model.attn_resolutions,
    dropout: model.dropout,
    embedding: model.embedding_type,
    fourierScale: model.fourier_scale,
    conditional: model.conditional,
    centered: data.centered,
    skipRescale: model.skip_rescale,
    scaleBySigma: model.scale_by_sigma,
    initScale: model.init_scale,
    resblock: model.resblock_type,
    nonlinearity: model.nonlinearity,
    fir: model.fir,
    firKernel: model.fir_kernel,
    resampleWithConv: model.resamp_with_conv,
    progressive: model.progressive,
    progressiveInput: model.progressive_input,
    progressiveCombine: model.progressive_combine,
    sigmaMin: model.sigma_min,
    sigmaMax: model.sigma_max,
    numScales: model.num_scales,
    activationCheckpointing: model.activation_checkpointing,
    seed,
  };
}

/** The options of a network with captions; undefined for one without. */
export function captionOptions(config: Config): CaptionUNetOptions | undefined {
  requireConfig('captionOptions', config);
  const captions = captionsOf(config);
  if (!captions) return undefined;
  const { data, model, seed } = config;
  return {
    imageSize: data.image_size,
    channels: data.num_channels,
    baseChannels: model.nf,
    channelMultipliers: model.ch_mult,
    residualBlocks: model.num_res_blocks,
    attentionResolutions: model.attn_resolutions,
    heads: model.heads,
    textWidth: model.text_width,
    textLayers: model.text_layers,
    vocabulary: captions.tokenizer.largest + 1,
    emptyCaption: [...captions.tokenizer.encode('').ids],
    seed,
  };
}

/**
 * Differences of two configurations that concern the network or the range of its data. Neither needs to be validated.
 */
export function architectureDifferences(a: unknown, b: unknown): Difference[] {
  return differences(a, b).filter(({ path }) => {
    const properties = keyProperties(path);
    return properties ? properties.binds === 'network' : path.startsWith('model.');
  });
}

/**
 * The names and shapes of the network, without allocating its tensors. The caller disposes it.
 * @throws ConfigError for a tensor of more than 2^31 - 1 numbers
 */
export function outlineModel(config: Config): FlowNetwork {
  const latent = latentOptions(config);
  const captioned = captionOptions(config);
  try {
    if (latent) return buildLatentUNet(latent, outlineInitializer(), true);
    return captioned ? new CaptionUNet(captioned, outlineInitializer()) : outlineUNet(unetOptions(config));
  } catch (cause) {
    if (cause instanceof ValueError) throw inKeys(cause, config);
    if (!(cause instanceof ShapeError)) throw cause;
    throw new ConfigError(
      `the network of this configuration has a tensor of more than 2^31 - 1 numbers, ${cause.got}; lower model.nf or model.ch_mult`,
      { cause },
    );
  }
}

/** The keys of the options that messages about them name. */
const keysOfOptions: Partial<Record<keyof UNetOptions | 'heads', string>> = {
  imageSize: 'data.image_size',
  baseChannels: 'model.nf',
  channelMultipliers: 'model.ch_mult',
  firKernel: 'model.fir_kernel',
  numScales: 'model.num_scales',
  heads: 'model.heads',
};

/** An error about the options of UNet, in the words of a configuration. */
function inKeys(error: ValueError, { model }: Config): ConfigError {
  const names = new RegExp(`\\b(${Object.keys(keysOfOptions).join('|')})\\b`, 'g');
  const text = error.message.replace(names, (name) => keysOfOptions[name as keyof typeof keysOfOptions] as string);
  const channels = `model.nf ${model.nf} and model.ch_mult [${model.ch_mult.join(', ')}] do not fit together`;
  const remedy = 'a multiple of 32 for model.nf always fits';
  return new ConfigError(/group norm/.test(text) ? `${channels}: ${text}; ${remedy}` : text, { cause: error });
}

/** @throws DeviceError for a network larger than this machine's memory. A CUDA device reports that when it allocates */
export function requireMemory(config: Config, device: Device, use: Use): void {
  if (device.kind === 'cuda') return;
  using outline = outlineModel(config);
  const map = attentionMap(outline);
  if (map > 2 ** 31 - 1)
    throw new DeviceError(
      `attention over ${Math.sqrt(map)} pixels needs a map of ${map} numbers, and the limit is 2^31 - 1; lower data.image_size or ` +
        'model.attn_resolutions, or add levels to model.ch_mult',
    );
  const [needed, there] = [leastMemory(outline, use, momentsPerParameter(config)), machineMemory()];
  if (needed > there)
    throw new DeviceError(
      `the network of this configuration needs at least ${megabytes(needed)} for ${use}, the machine has ${megabytes(there)}; ` +
        'lower model.nf, model.ch_mult, model.num_res_blocks or data.image_size',
    );
}

/**
 * A newly initialised network, which the caller owns. That of a flow of latents has the weight zero until a file gives others.
 * @throws DeviceError if this machine lacks the memory for it
 * @example
 * const config = await loadConfig('digits', { model: { nf: 8 } });
 * const model = buildModel(config, await openDevice('cpu'));
 * [...model.stateDict().keys()][0]; // 'time1.weight'
 * model.dispose();
 */
export function buildModel(config: Config, device: Device): FlowNetwork {
  requireConfig('buildModel', config);
  checkArgument('buildModel', 'device', device, runOptions.device);
  requireMemory(config, device, 'sampling');
  const init = new Initializer({ seed: config.seed, device });
  const latent = latentOptions(config);
  if (latent) return buildLatentUNet(latent, init);
  const captioned = captionOptions(config);
  return captioned ? new CaptionUNet(captioned, init) : new UNet(unetOptions(config), init);
}
