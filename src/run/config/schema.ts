// The schema of a configuration. Names and nesting are those of the official code (configs/default_cifar10_configs.py and
// configs/rectified_flow/*), so that its command lines work unchanged. Keys that the official code does not have state `ours`.
// scripts/config_pages.ts writes types.ts and docs/config.md from it.
import { z } from 'zod';
import { deviceNames, nearestDevice, precisions } from '../../device/device.ts';
import { fixed, free, type Reader, table, training } from './keys.ts';
import { chainTable } from './tables/chain.ts';
import { classNames, dataSets, dataTable } from './tables/data.ts';
import { evalTable } from './tables/eval.ts';
import { modelTable } from './tables/model.ts';
import { optimTable } from './tables/optim.ts';
import { reflowTable } from './tables/reflow.ts';
import { samplingTable } from './tables/sampling.ts';
import { sourceTable } from './tables/source.ts';
import { trainingTable } from './tables/training.ts';
import type { Config } from './types.ts';
import { textLike, whole } from './values.ts';

export type { Config, ConfigFile, ConfigOverrides, KeyPath } from './types.ts';

/** Commands that compute on a device. */
const computing: readonly Reader[] = [
  ...training,
  'eval',
  'sample',
  'serve',
  'report',
  'stats',
  'classifier',
  'transfer',
];
const seeded = computing.filter((reader) => reader !== 'stats');

export const configSchema = table('A configuration.', [], {
  seed: fixed(
    whole(0, Number.MAX_SAFE_INTEGER),
    'Seed of every random draw: initial weights, data order, noise, times, dropout. The official code reads it only as the name of the folder of pairs.',
    { also: seeded },
  ),
  device: free(
    textLike(deviceNames, 'cpu, wasm, cuda or cuda:N', nearestDevice),
    'Device to compute on, unless --device says otherwise.',
    { also: computing },
  ),
  precision: free(
    z.enum(precisions),
    'Precision of matrix products and, for bf16, of stored activations. Precisions other than fp32 need the device cuda.',
    { ours: true, also: computing },
  ),
  exact: free(
    z.boolean(),
    'Whether the CPU never uses Winograd convolutions: slower, with about a tenth of the error.',
    { ours: true, also: computing },
  ),
  data: dataTable,
  source: sourceTable,
  model: modelTable,
  optim: optimTable,
  training: trainingTable,
  eval: evalTable,
  sampling: samplingTable,
  reflow: reflowTable,
  chain: chainTable,
}) satisfies z.ZodType<Config>;

/** [num_channels, image_size, image_size]: the shape of one image as pairs store it. */
export function pairShape({ data }: Config): [channels: number, height: number, width: number] {
  return [data.num_channels, data.image_size, data.image_size];
}

/** Whether the images of a configuration's data set are encoded files, which may have an EXIF orientation. */
export function hasEncodedImages({ dataset }: Config['data']): boolean {
  return dataSets[dataset].encoded;
}

/** [image_size, image_size, num_channels]: the shape of one image as the network takes it. */
export function imageShape({ data }: Config): [height: number, width: number, channels: number] {
  return [data.image_size, data.image_size, data.num_channels];
}

/** Inconsistencies between keys, each with its path. */
export function disagreements(config: Config): string[] {
  const { optim, training, reflow } = config;
  const { accumulation, batch_size } = training;
  const faults: string[] = [];
  if (batch_size % accumulation !== 0)
    faults.push(`training.accumulation: expected a divisor of training.batch_size, ${batch_size}; got ${accumulation}`);
  if (['linear', 'cosine'].includes(optim.schedule) && optim.warmup >= optim.schedule_steps)
    faults.push(
      `optim.schedule_steps: expected more than optim.warmup, ${optim.warmup}, with optim.schedule ${optim.schedule}; got ${optim.schedule_steps}`,
    );
  if (reflow.pair_dtype !== 'f32' && reflow.pair_format === 'official')
    faults.push(`reflow.pair_dtype: expected f32 unless reflow.pair_format is shards; got ${reflow.pair_dtype}`);
  if (reflow.reflow_type === 'generate_data_from_z1' && reflow.pair_format !== 'official')
    faults.push(
      `reflow.pair_format: expected official for pairs of images, which store both ends; got ${reflow.pair_format}`,
    );
  if (reflow.real_data_ratio > 0 && reflow.reflow_type === 'train_online_reflow')
    faults.push(`reflow.real_data_ratio: expected 0 for train_online_reflow; got ${reflow.real_data_ratio}`);
  return [...faults, ...captionDisagreements(config), ...latentDisagreements(config), ...transferDisagreements(config)];
}

/** What a flow from images does not have, because they have no density and are not noise. */
function transferDisagreements({ data, model, source, sampling, training, reflow, eval: evaluated }: Config): string[] {
  if (sampling.init_type !== 'data')
    return (['feature_weight', 'neighbours'] as const).flatMap((key) =>
      training[key] > 0
        ? [
            `training.${key}: expected 0 with sampling.init_type ${sampling.init_type}, which has one domain; got ${training[key]}`,
          ]
        : [],
    );
  const words = 'with sampling.init_type data';
  const faults: string[] = [];
  if (model.name !== 'ncsnpp') faults.push(`model.name: expected ncsnpp ${words}; got ${model.name}`);
  if (source.dataset === 'PROMPTS') faults.push('source.dataset: expected a data set of images; got PROMPTS');
  if (sampling.sigma_variance > 0)
    faults.push(
      `sampling.sigma_variance: expected 0 ${words}, since the stochastic sampler needs starts from noise; got ${sampling.sigma_variance}`,
    );
  if (training.feature_weight > 0 && reflow.reflow_loss !== 'l2')
    faults.push(
      `reflow.reflow_loss: expected l2 with training.feature_weight above 0, which is a loss of its own; got ${reflow.reflow_loss}`,
    );
  if (training.neighbours > 0 && source.random_flip !== data.random_flip)
    faults.push(
      `source.random_flip: expected ${data.random_flip} as data.random_flip with training.neighbours above 0, since neighbours are mirrored together; got ${source.random_flip}`,
    );
  if (evaluated.enable_bpd)
    faults.push(`eval.enable_bpd: expected false ${words}, since images have no density as noise has; got true`);
  return faults;
}

/** What a flow of latents needs, and what it does not have. */
function latentDisagreements({ data, model, training, sampling, reflow }: Config): string[] {
  const latent = model.name === 'stable_diffusion';
  const faults: string[] = [];
  if (latent !== (data.dataset === 'PROMPTS'))
    faults.push(
      `data.dataset: expected ${latent ? 'PROMPTS' : 'a data set of images'} with model.name ${model.name}; got ${data.dataset}`,
    );
  if (!latent) return faults;
  const expect = (key: string, given: unknown, ...allowed: unknown[]) => {
    if (!allowed.includes(given))
      faults.push(`${key}: expected ${allowed.join(' or ')} with model.name ${model.name}; got ${given}`);
  };
  expect('model.dropout', model.dropout, 0);
  expect('training.snapshot_sampling', training.snapshot_sampling, false);
  expect('sampling.sigma_variance', sampling.sigma_variance, 0);
  expect('reflow.reflow_type', reflow.reflow_type, 'generate_data_from_z0', 'train_reflow');
  expect('reflow.real_data_ratio', reflow.real_data_ratio, 0);
  expect('reflow.flip_pairs', reflow.flip_pairs, false);
  return faults;
}

/** What a network that takes captions needs, and what it does not have. */
function captionDisagreements({ data, model, reflow }: Config): string[] {
  if (model.name !== 'unet2d_condition') return [];
  const faults: string[] = [];
  if (!data.caption.includes('{class}'))
    faults.push(
      `data.caption: expected a text with {class} in it, such as "a handwritten {class}", with model.name ${model.name}; got ${JSON.stringify(data.caption)}`,
    );
  if (!classNames[data.dataset])
    faults.push(
      `data.dataset: expected one of ${Object.keys(classNames).join(', ')}, whose images have classes, with model.name ${model.name}; got ${data.dataset}`,
    );
  if (model.dropout > 0) faults.push(`model.dropout: expected 0 with model.name ${model.name}; got ${model.dropout}`);
  if (model.activation_checkpointing)
    faults.push(`model.activation_checkpointing: expected false with model.name ${model.name}; got true`);
  if (reflow.reflow_type === 'train_online_reflow')
    faults.push(`reflow.reflow_type: expected another one with model.name ${model.name}; got ${reflow.reflow_type}`);
  return faults;
}
