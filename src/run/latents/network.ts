// The network of a flow of latents: its options from the files of model.folder, its weights, and the identities of what it was
// made of, which pairs and checkpoints keep.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Device } from '../../device/device.ts';
import { ConfigError, FileError } from '../../errors.ts';
import { isFolder } from '../../io/file.ts';
import { parseJsonFile } from '../../io/json.ts';
import { UNet2DCondition } from '../../nn/diffusers/unet2d_condition.ts';
import { Initializer } from '../../nn/init.ts';
import { LatentUNet, type LatentUNetOptions } from '../../nn/latent_unet.ts';
import type { Slot } from '../../nn/module.ts';
import type { FlowNetwork } from '../arguments.ts';
import type { Config } from '../config/types.ts';
import { type JsonObject, unetOptionsOf } from '../text/configurations.ts';
import type { PartName } from '../text/folder.ts';
import { fillWeights } from '../text/match.ts';
import { type MatchedNetworks, matchNetworks } from '../text/networks.ts';
import { fingerprintOf } from '../text/record.ts';

export function isLatent(model: FlowNetwork): model is LatentUNet {
  return model instanceof LatentUNet;
}

/** Whether a configuration is that of a flow of latents. */
export function hasLatents({ model }: Config): boolean {
  return model.name === 'stable_diffusion';
}

/**
 * The options of a configuration's network; undefined for a flow of images.
 * @throws ConfigError, FileError for a folder that is missing or has another network
 */
export function latentOptions(config: Config): LatentUNetOptions | undefined {
  if (!hasLatents(config)) return undefined;
  const { data, model, seed } = config;
  const path = isFolder(model.folder) ? join(model.folder, 'unet', 'config.json') : model.folder;
  if (model.folder === '' || !existsSync(path))
    throw new ConfigError(
      `model.folder: expected a folder as diffusers writes it, or a single file, with model.name ${model.name}; got ${JSON.stringify(model.folder)}`,
    );
  const network = unetOptionsOf(isFolder(model.folder) ? readObject(path) : {}, path);
  const { inChannels = 4, outChannels = 4 } = network;
  if (inChannels !== data.num_channels || outChannels !== data.num_channels)
    throw new ConfigError(
      `data.num_channels: expected ${inChannels}, as the network in model.folder ${model.folder} has; got ${data.num_channels}`,
    );
  return {
    imageSize: data.image_size,
    network,
    loraRank: model.lora_rank,
    activationCheckpointing: model.activation_checkpointing,
    seed,
  };
}

function readObject(path: string): JsonObject {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new FileError(path, `cannot be read: ${(cause as Error).message}`, { cause });
  }
  const value = parseJsonFile(new TextEncoder().encode(text), path);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new FileError(path, 'is not a JSON object');
  return value as JsonObject;
}

/** Weights that a file replaces, so that no number is drawn for them. */
class ZeroInitializer extends Initializer {
  override varianceScaling(shape: readonly number[]) {
    return this.constant(shape, 0);
  }

  override normal(shape: readonly number[]) {
    return this.constant(shape, 0);
  }
}

/** A network whose weights are zero until `fillLatents`, and whose changes are those at the start of training. */
export function buildLatentUNet(options: LatentUNetOptions, init: Initializer, outline = false): LatentUNet {
  const { seed, device } = init;
  const zero = outline ? init : new ZeroInitializer({ seed, device });
  return new LatentUNet(options, new UNet2DCondition(options.network, zero), init);
}

/**
 * Reads the weights of model.folder into a network.
 * @throws FileError for anything that is missing, damaged or of another architecture
 */
export async function fillLatents(model: LatentUNet, { model: { folder } }: Config, device: Device): Promise<void> {
  const { unet } = await matchNetworks(folder, {});
  const own = new Map(Array.from(model.network.slots(), (slot) => [slot.path, slot]));
  const slots = new Map<string, Slot>();
  for (const [name, { path }] of unet.slots) slots.set(name, own.get(path) as Slot);
  const { training } = model;
  await fillWeights({ ...unet, network: model.network, slots }, device);
  model.freeze();
  model.train(training);
}

/** The files of a part's weights, in order. */
export function filesOf(matched: MatchedNetworks, part: PartName): string[] {
  const { weights, slots } = matched[part];
  const paths = Array.from(slots.keys(), (name) => weights.tensors.get(name)?.path ?? weights.path);
  return [...new Set(paths)].sort();
}

/** SHA-256 of texts. */
export function sha256Of(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** An identity of files by their fingerprint, as 64 hexadecimal digits. */
export async function identityOf(files: readonly string[]): Promise<string> {
  return sha256Of(await fingerprintOf(files));
}

/** The identity of the network in model.folder. @throws FileError */
export async function networkIdentity({ model }: Config): Promise<string> {
  return identityOf(filesOf(await matchNetworks(model.folder, {}), 'unet'));
}
