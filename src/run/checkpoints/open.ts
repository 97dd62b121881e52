// Opens any kind of checkpoint: a rectiflow checkpoint, a .pth of the official code, or such a .pth converted to
// safetensors.
import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { checkArgument, checkOptions, kinds, type OptionKinds, oneOf } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { FileError } from '../../errors.ts';
import { readPth, readSafetensors, readSafetensorsHeader, type TorchValue, unflattenTorch } from '../../io/index.ts';
import type { LatentUNet } from '../../nn/latent_unet.ts';
import { compareState, describeMismatch } from '../../nn/module.ts';
import { type FlowNetwork, runOptions, unetKind } from '../arguments.ts';
import { resolveConfig } from '../config/index.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import { fillLatents, isLatent } from '../latents/network.ts';
import { type Checkpoint, isCheckpoint, loadCheckpoint } from './checkpoint.ts';
import { findCheckpoint } from './find.ts';
import { requireFinite } from './finite.ts';
import { architectureDifferences, buildModel, outlineModel, requireMemory } from './model.ts';
import { fitsInPart, fromOfficialCheckpoint, type OfficialOptions } from './official_checkpoint.ts';

/** The contents of a PyTorch file or of one converted to safetensors; undefined for another safetensors file. */
export async function readTorchTree(path: string): Promise<TorchValue | undefined> {
  if (extname(path) !== '.safetensors') return readPth(path);
  const { metadata, tensors } = await readSafetensors(path);
  return metadata.tree === undefined ? undefined : unflattenTorch(path, tensors, metadata.tree);
}

const officialOptions: OptionKinds<OfficialOptions> = { partial: kinds.boolean, onNotice: runOptions.onNotice };

/**
 * Reads a checkpoint into the names of `model`.
 * @param reference a path, or a spelling of official command lines: see findCheckpoint
 * @param model a network of the checkpoint's architecture
 * @param config configuration of that network
 * @throws FileError for a file that is missing or damaged, or whose tensors or configuration belong to another network
 * or another range of data
 */
export async function openCheckpoint(
  reference: string,
  model: FlowNetwork,
  config: Config,
  options: OfficialOptions = {},
): Promise<Checkpoint> {
  checkArgument('openCheckpoint', 'reference', reference, kinds.path);
  checkArgument('openCheckpoint', 'model', model, unetKind);
  requireConfig('openCheckpoint', config);
  const checked = checkOptions('openCheckpoint', options, officialOptions);
  const path = findCheckpoint(reference);
  if (path !== reference) checked.onNotice?.(`reading ${path} for ${reference}`);
  if (await isOurs(path)) {
    const checkpoint = await loadCheckpoint(path);
    if (!checked.partial) await refuseOther(checkpoint, config);
    const mismatch = describeMismatch(compareState(model.stateDict(), checkpoint.model));
    if (mismatch.length > 0 && !checked.partial) throw new FileError(path, ['does not fit this model:', ...mismatch]);
    if (mismatch.length > 0) checked.onNotice?.(fitsInPart(path, mismatch));
    return checkpoint;
  }
  const tree = await readTorchTree(path);
  if (tree === undefined) throw new FileError(path, 'is a safetensors file, but not a checkpoint of a flow');
  return fromOfficialCheckpoint(path, tree, model, checked);
}

/**
 * Compares configurations, since weights of equal shapes may belong to another function: other data range, filter,
 * activation.
 */
async function refuseOther({ path, config: own }: Checkpoint, config: Config): Promise<void> {
  const changed = architectureDifferences(await resolveConfig(own, path), config);
  if (changed.length === 0) return;
  const lines = changed.map(({ path: key, a, b }) => `  ${key}: ${JSON.stringify(a)} there, ${JSON.stringify(b)} now`);
  throw new FileError(path, ['belongs to another network than the configuration:', ...lines]);
}

/** Whether a file is a rectiflow checkpoint. @throws FileError for a damaged safetensors file */
export async function isOurs(path: string): Promise<boolean> {
  checkArgument('isOurs', 'path', path, kinds.path);
  if (extname(path) !== '.safetensors' || !existsSync(path)) return false;
  return isCheckpoint((await readSafetensorsHeader(path)).metadata);
}

export interface LoadModelOptions extends OfficialOptions {
  device: Device;
  /** 'ema': the averaged weights, for sampling; 'raw': the weights that training updates. Default 'ema'. */
  weights?: 'ema' | 'raw';
}

const loadOptions: OptionKinds<LoadModelOptions> = {
  ...officialOptions,
  device: runOptions.device,
  weights: oneOf(['ema', 'raw']),
};

/**
 * Loads the flow of latents that a run starts from: reflow.last_flow_ckpt or, where that is empty, model.folder. The caller
 * owns it.
 * @throws FileError, ConfigError
 */
export async function loadLatents(config: Config, options: LoadModelOptions): Promise<LatentUNet> {
  const { last_flow_ckpt: checkpoint } = config.reflow;
  if (checkpoint !== '') return (await loadModel(checkpoint, config, options)).model as LatentUNet;
  requireMemory(config, options.device, 'sampling');
  const model = buildModel(config, options.device) as LatentUNet;
  try {
    await fillLatents(model, config, options.device);
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/**
 * Builds the network of a configuration with the weights of a checkpoint. The caller owns it.
 * @param reference a checkpoint of rectiflow or of the official code, by path or in a spelling that findCheckpoint knows
 * @throws FileError for a file that is missing, damaged, not finite or of another network; DeviceError if this machine lacks the memory
 * @example
 * const checkpoint = 'runs/digits/checkpoints/checkpoint_1.safetensors';
 * const config = await loadConfig('runs/digits/config.json');
 * const { model } = await loadModel(checkpoint, config, { device: await openDevice('cpu'), weights: 'ema' });
 * const velocity = networkVelocity(model.eval());
 * velocity(randn([2, 8, 8, 1], { seed: 1 }), tensor([0.1, 0.9])).shape; // [2, 8, 8, 1]
 * model.dispose();
 */
export async function loadModel(
  reference: string,
  config: Config,
  options: LoadModelOptions,
): Promise<{ model: FlowNetwork; checkpoint: Checkpoint }> {
  checkArgument('loadModel', 'reference', reference, kinds.path);
  requireConfig('loadModel', config);
  const { device, weights = 'ema', ...others } = checkOptions('loadModel', options, loadOptions, ['device']);
  requireMemory(config, device, 'sampling');
  // Compares the file with the network before the network is allocated.
  using outline = outlineModel(config);
  const checkpoint = await openCheckpoint(reference, outline, config, others);
  const values = weights === 'ema' ? checkpoint.ema : checkpoint.model;
  requireFinite(checkpoint.path, { weights: values });
  const model = buildModel(config, device);
  try {
    if (isLatent(model) && model.lora) await fillLatents(model, config, device);
    model.loadStateDict(values, checkpoint.path, {
      partial: others.partial,
    });
    return { model, checkpoint };
  } catch (error) {
    model.dispose();
    throw error;
  }
}
