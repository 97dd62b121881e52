// The three networks of a model, matched with their files: of a folder, or of a single file.
import type { Device } from '../../device/device.ts';
import { FileError, OutOfMemoryError } from '../../errors.ts';
import { isFolder } from '../../io/file.ts';
import { openWeights } from '../../io/weights.ts';
import { AutoencoderKL } from '../../nn/diffusers/autoencoder_kl.ts';
import { CLIPTextModel } from '../../nn/diffusers/clip_text.ts';
import { UNet2DCondition } from '../../nn/diffusers/unet2d_condition.ts';
import type { Module, Slot } from '../../nn/module.ts';
import { outlineInitializer } from '../../nn/outline.ts';
import { deviceMemory, megabytes } from '../machine/resources.ts';
import { autoencoderOptionsOf, type JsonObject, textOptionsOf, unetOptionsOf } from './configurations.ts';
import { openParts, type Part, type PartName, partNames } from './folder.ts';
import { fillWeights, type Matched, matchWeights, type WeightChoice, weightBytes } from './match.ts';
import { formerAttentionNames, originalAutoencoderName, originalPrefixes, originalUNetName } from './original_names.ts';

export interface Networks {
  unet: UNet2DCondition;
  vae: AutoencoderKL;
  text_encoder: CLIPTextModel;
}

export type MatchedNetworks = { [Name in PartName]: Matched<Networks[Name]> };

/** Configurations of the networks of a single file, which has none: those of config.json in a folder. */
export type Configurations = Partial<Record<PartName, JsonObject>>;

/**
 * The networks of a model, compared with its files but without memory.
 * @param path a folder of diffusers, or a single file of CompVis
 * @throws FileError for anything that is missing, damaged, or of another architecture
 */
export async function matchNetworks(
  path: string,
  { variant, configurations }: { variant?: string; configurations?: Configurations },
): Promise<MatchedNetworks> {
  if (isFolder(path)) return matchFolder(await openParts(path, variant));
  if (/\.gguf$/i.test(path))
    throw new FileError(path, 'is a GGUF file; give a .safetensors or .ckpt file, or a folder');
  return matchSingleFile(path, configurations ?? {});
}

/** The outlines, with the file of a configuration in the message for options that do not fit together. */
function outlinesOf(configs: Record<PartName, readonly [config: JsonObject, path: string]>): Networks {
  const init = outlineInitializer();
  const outline = <Network>(part: PartName, build: (config: JsonObject, path: string) => Network): Network => {
    const [config, path] = configs[part];
    try {
      return build(config, path);
    } catch (cause) {
      if (cause instanceof FileError) throw cause;
      throw new FileError(path, `describes a network that cannot be built: ${(cause as Error).message}`, { cause });
    }
  };
  return {
    unet: outline('unet', (...given) => new UNet2DCondition(unetOptionsOf(...given), init)),
    vae: outline('vae', (...given) => new AutoencoderKL(autoencoderOptionsOf(...given), init)),
    text_encoder: outline('text_encoder', (...given) => new CLIPTextModel(textOptionsOf(...given), init)),
  };
}

function matchFolder(parts: Record<PartName, Part>): MatchedNetworks {
  const { unet, vae, text_encoder } = outlinesOf({
    unet: [parts.unet.config, parts.unet.configPath],
    vae: [parts.vae.config, parts.vae.configPath],
    text_encoder: [parts.text_encoder.config, parts.text_encoder.configPath],
  });
  return {
    unet: matchWeights(unet, parts.unet.weights, { namesOf: (name) => [name] }),
    vae: matchWeights(vae, parts.vae.weights, { namesOf: autoencoderNames }),
    // transformers 5 drops the prefix in memory; a file of such a state dict has names without it.
    text_encoder: matchWeights(text_encoder, parts.text_encoder.weights, {
      namesOf: (name) => [name, name.replace(/^text_model\./, '')],
    }),
  };
}

function autoencoderNames(name: string): string[] {
  const former = [...formerAttentionNames].find(([, current]) => name.includes(`attentions.0.${current}.`));
  return former ? [name, name.replace(`.${former[1]}.`, `.${former[0]}.`)] : [name];
}

async function matchSingleFile(path: string, configurations: Configurations): Promise<MatchedNetworks> {
  const weights = await openWeights(path);
  const has = (prefix: string) => [...weights.tensors.keys()].some((name) => name.startsWith(prefix));
  if (has('conditioner.embedders.') || has('double_blocks.') || has('model.diffusion_model.double_blocks.'))
    throw new FileError(
      path,
      'holds Stable Diffusion XL or FLUX; this program reads single files of Stable Diffusion 1',
    );
  if (has('cond_stage_model.model.'))
    throw new FileError(path, 'holds Stable Diffusion 2 with the text network of OpenCLIP; give its diffusers folder');
  for (const part of partNames)
    if (!has(originalPrefixes[part]))
      throw new FileError(
        path,
        `holds no tensors ${originalPrefixes[part]}*: it is not a whole model of Stable Diffusion 1`,
      );
  const configOf = (part: PartName): readonly [JsonObject, string] => [configurations[part] ?? {}, `${path} (${part})`];
  const networks = outlinesOf({
    unet: configOf('unet'),
    vae: configOf('vae'),
    text_encoder: configOf('text_encoder'),
  });
  const { unet, vae, text_encoder } = networks;
  const match = <Network extends Module>(part: PartName, network: Network, original: (name: string) => string) =>
    matchWeights(network, weights, {
      namesOf: (name) => [originalPrefixes[part] + original(name)],
      belongs: (name) => name.startsWith(originalPrefixes[part]),
    });
  const { layers, attends } = unet.options;
  const upwards = [...attends].reverse();
  return {
    unet: match('unet', unet, (name) => originalUNetName(name, layers, upwards)),
    vae: match('vae', vae, (name) => originalAutoencoderName(name, vae.options.blockChannels.length)),
    text_encoder: match('text_encoder', text_encoder, (name) => name),
  };
}

/** Which weights are loaded, and how they are kept. */
export interface KeptWeights {
  /** Default 'f32'. */
  weights?: WeightChoice;
  /** Whether the autoencoder's encoder is loaded; default true. */
  encoder?: boolean;
}

const ofEncoder = /^(encoder|quant_conv)\./;

/** The tensors of a network that are loaded. */
export function loadedOf(
  matched: MatchedNetworks,
  part: PartName,
  { encoder = true }: KeptWeights,
): ReadonlyMap<string, Slot> {
  const { slots } = matched[part];
  if (part !== 'vae' || encoder) return slots;
  return new Map([...slots].filter(([, { path }]) => !ofEncoder.test(path)));
}

/** Bytes of a network's weights on the device. */
export function memoryOf(matched: MatchedNetworks, part: PartName, kept: KeptWeights) {
  return weightBytes({ ...matched[part], slots: loadedOf(matched, part, kept) }, kept.weights ?? 'f32');
}

/** @throws OutOfMemoryError if the weights cannot fit, before any memory is allocated */
export function requireMemory(path: string, matched: MatchedNetworks, device: Device, kept: KeptWeights): void {
  const needed = partNames.reduce((sum, part) => sum + memoryOf(matched, part, kept), 0);
  const available = deviceMemory(device) - device.memory().live;
  if (needed > available)
    throw new OutOfMemoryError(
      `${path}: its weights take ${megabytes(needed)}; ${device.name} has ${megabytes(Math.max(0, available))}`,
    );
}

/** Reads all weights onto the device, part by part. Nothing stays in memory after an error. */
export async function fillNetworks(
  matched: MatchedNetworks,
  device: Device,
  { weights, encoder = true }: KeptWeights = {},
  onProgress?: (part: PartName, bytes: number) => void,
): Promise<Networks> {
  const done: { dispose(): void }[] = [];
  const fill = async <Network extends Module>(part: PartName, outline: Matched<Network>): Promise<Network> => {
    const filled = await fillWeights(outline, device, { weights, onRead: (bytes) => onProgress?.(part, bytes) });
    done.push(filled);
    return filled.eval();
  };
  try {
    const text_encoder = await fill('text_encoder', matched.text_encoder);
    const unet = await fill('unet', matched.unet);
    const { vae } = matched;
    if (encoder) return { text_encoder, unet, vae: await fill('vae', vae) };
    vae.network.dropEncoder();
    const slots = loadedOf(matched, 'vae', { encoder });
    return { text_encoder, unet, vae: await fill('vae', { ...vae, slots }) };
  } catch (error) {
    for (const network of done) network.dispose();
    throw error;
  }
}
