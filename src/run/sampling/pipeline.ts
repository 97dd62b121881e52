// A trained flow, loaded once and sampled as often as wanted.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { byOpen, checkArgument, checkByOpen, checkOptions, kinds, type OptionKinds, oneOf } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { openDefaultDevice } from '../../device/open_default.ts';
import { ConfigError, FileError } from '../../errors.ts';
import { type FlowNetwork, runOptions } from '../arguments.ts';
import { readCheckpointHeader } from '../checkpoints/checkpoint.ts';
import { findCheckpoint, numberedCheckpoints } from '../checkpoints/find.ts';
import { isOurs, type LoadModelOptions, loadModel } from '../checkpoints/open.ts';
import { type Config, resolveConfig } from '../config/index.ts';
import { requireConfig } from '../config/require.ts';
import { pixels } from '../data.ts';
import { type SampledImages, type SampleRequest, sampleKinds, sampleModel } from './sample.ts';

export interface PipelineOptions extends Omit<LoadModelOptions, 'device'> {
  /** Default: the device of the configuration, which is opened. */
  device?: Device;
  /** Configuration of the network; default: the one in the checkpoint. Files of the official code have none. */
  config?: Config;
}

export interface PipelineRequest extends Omit<SampleRequest, 'num' | 'solver' | 'device'> {
  /** Number of images. */
  count: number;
  /** Default: that of the configuration. */
  sampler?: SampleRequest['solver'];
}

export interface PipelineSamples extends SampledImages {
  /** u8, of the same shape. */
  pixels: Uint8Array;
}

const pipelineOptions: OptionKinds<PipelineOptions> = {
  device: runOptions.device,
  config: kinds.object,
  weights: oneOf(['ema', 'raw']),
  partial: kinds.boolean,
  onNotice: runOptions.onNotice,
};

const { num, solver, device: _, ...sharedKinds } = sampleKinds;
const requestKinds: OptionKinds<PipelineRequest> = { ...sharedKinds, count: num, sampler: solver };

interface Loaded {
  checkpoint: string;
  config: Config;
  model: FlowNetwork;
  device: Device;
}

/**
 * A trained flow with its network on a device.
 * @example
 * const pipeline = await Pipeline.load('runs/digits', { device: await openDevice('cpu') });
 * const { pixels, shape, nfe } = await pipeline.sample({ count: 16, seed: 1, sampler: 'euler', steps: 10 });
 * shape; // [16, 8, 8, 1]
 * nfe; // 10
 * await writePng('digits.png', imageGrid(pixels, shape));
 * pipeline.dispose();
 */
export class Pipeline {
  /** Path of the file. */
  readonly checkpoint: string;
  readonly config: Config;
  readonly device: Device;
  private readonly model: FlowNetwork;

  private constructor(token: unknown, loaded: Loaded) {
    checkByOpen('Pipeline', token, 'load');
    this.checkpoint = loaded.checkpoint;
    this.config = loaded.config;
    this.model = loaded.model;
    this.device = loaded.device;
  }

  /**
   * Loads a network.
   * @param reference a checkpoint of any kind, or a folder: that of a run, or one of numbered checkpoints, of which the
   * last is taken
   * @throws FileError for a folder without checkpoints, and as `loadModel`; ConfigError for a checkpoint without a
   * configuration
   */
  static async load(reference: string, options: PipelineOptions = {}): Promise<Pipeline> {
    checkArgument('Pipeline.load', 'reference', reference, kinds.path);
    const checked = checkOptions('Pipeline.load', options, pipelineOptions);
    if (checked.config) requireConfig('Pipeline.load', checked.config);
    const { config: given, device: own, onNotice, ...loading } = checked;
    const checkpoint = findCheckpoint(await checkpointIn(reference));
    const config = given ?? (await configIn(checkpoint));
    const { precision, exact } = config;
    const device = own ?? (await openDefaultDevice(config.device, { precision, exact }, onNotice ?? (() => {})));
    await device.prepare(declaredModules());
    const { model } = await loadModel(checkpoint, config, { ...loading, onNotice, device });
    return new Pipeline(byOpen, { checkpoint, config, model, device });
  }

  /**
   * Samples images; the same request gives the same bits. Options that are not given are those of the configuration.
   * @throws as `sample`; UseAfterFreeError after `dispose`
   */
  async sample(request: PipelineRequest): Promise<PipelineSamples> {
    const checked = checkOptions('Pipeline.sample', request, requestKinds, ['count']);
    const { count, sampler, ...rest } = checked;
    const { model, config, device } = this;
    const sampled = await sampleModel(model, config, { ...rest, num: count, solver: sampler, device });
    return { ...sampled, pixels: pixels(sampled.images, config, 'nearest') };
  }

  /** Frees the network. */
  dispose(): void {
    this.model.dispose();
  }

  /** Disposes it at the end of a scope: `using pipeline = ...`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The last checkpoint of a folder; another path itself. */
async function checkpointIn(reference: string): Promise<string> {
  if (!existsSync(reference) || !statSync(reference).isDirectory()) return reference;
  const run = join(reference, 'checkpoints');
  const found = await numberedCheckpoints(existsSync(run) ? run : reference);
  const last = found.at(-1);
  if (!last)
    throw new FileError(reference, 'holds no checkpoint_N.safetensors or .pth, nor a folder checkpoints of them');
  return last.path;
}

async function configIn(checkpoint: string): Promise<Config> {
  if (!(await isOurs(checkpoint)))
    throw new ConfigError(`${checkpoint} holds no configuration; give that of its network as config`);
  return resolveConfig((await readCheckpointHeader(checkpoint)).config, checkpoint);
}
