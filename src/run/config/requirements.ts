// The paths that a task requires, checked before any network is built, and the flags that set them.
import { checkArgument, oneOf } from '../../arguments.ts';
import { ConfigError } from '../../errors.ts';
import { userPath } from './official_flags.ts';
import { requireConfig } from './require.ts';
import type { Config } from './types.ts';

/** What a command is about to do with a configuration. */
export type Task = 'train' | 'evaluate data' | 'evaluate samples' | 'reflow';

const taskKind = oneOf(['train', 'evaluate data', 'evaluate samples', 'reflow'] satisfies Task[]);

interface Requirement {
  flag: string;
  what: string;
  missing: boolean;
}

/** @throws ConfigError with the lines of missingKeys */
export function requirePaths(config: Config, task: Task): void {
  const missing = missingKeys(config, task);
  if (missing.length > 0) throw new ConfigError(missing);
}

/** One line for each required path that is not set, with the flag to add and its meaning. */
export function missingKeys(config: Config, task: Task): string[] {
  requireConfig('missingKeys', config);
  checkArgument('missingKeys', 'task', task, taskKind);
  return requirements(config, task)
    .filter(({ missing }) => missing)
    .map(({ flag, what }) => `add ${flag}: ${what}`);
}

function requirements(config: Config, task: Task): Requirement[] {
  if (task === 'evaluate samples') return [];
  if (task !== 'reflow') return dataRequirements(config);
  const { reflow_type: type } = config.reflow;
  const latent = config.model.name === 'stable_diffusion';
  const read = type === 'generate_data_from_z1' || (latent && type.startsWith('generate'));
  const folder = {
    flag: '--config.model.folder DIR',
    what: 'the folder or file of the network to start from',
    missing: !userPath(config.model.folder),
  };
  return [
    ...(latent ? [folder] : []),
    // A student of model.folder needs no other teacher.
    ...reflowRequirements(config.reflow).filter(({ flag }) => !latent || !/last_flow_ckpt/.test(flag)),
    ...(read ? dataRequirements(config) : []),
  ];
}

/** What data.root_path names, for sets that need it. */
const dataFolders: Record<Config['data']['dataset'], string | undefined> = {
  DIGITS: undefined,
  CIFAR10: undefined,
  LSUN: 'the folder of <category>_train_lmdb and <category>_val_lmdb',
  'CelebA-HQ-Pytorch': 'the folder of 0.jpg, 1.jpg, ...',
  'AFHQ-CAT-Pytorch': 'the folder that contains cat/',
  FOLDER: 'a folder of images',
  PROMPTS: 'the file of texts, one in each line',
  MNIST: 'the folder of the IDX files (train-images-idx3-ubyte ...)',
};

function dataRequirements({ data, training }: Config): Requirement[] {
  const what = dataFolders[data.dataset];
  if (!what) return [];
  const official = /pytorch/i.test(data.dataset);
  const prompts = data.dataset === 'PROMPTS';
  return [
    {
      flag: official ? '--config.training.data_dir DIR' : `--config.data.root_path ${prompts ? 'FILE' : 'DIR'}`,
      what,
      missing: !userPath(data.root_path) && !(official && userPath(training.data_dir)),
    },
  ];
}

function reflowRequirements(reflow: Config['reflow']): Requirement[] {
  const { reflow_type, last_flow_ckpt, data_root, real_data_ratio, real_data_root } = reflow;
  const teacher = { flag: '--config.reflow.last_flow_ckpt FILE', missing: !userPath(last_flow_ckpt) };
  const pairs = { flag: '--config.reflow.data_root DIR', missing: !userPath(data_root) };
  if (reflow_type.startsWith('generate'))
    return [
      { ...teacher, what: 'the checkpoint of the flow that generates the pairs' },
      { ...pairs, what: 'the folder to write the pairs to' },
    ];
  const student = { ...teacher, what: 'the checkpoint of the flow to start from' };
  if (reflow_type === 'train_online_reflow') return [student];
  const real = {
    flag: '--config.reflow.real_data_root DIR',
    what: 'the folder of the pairs of real images',
    missing: real_data_ratio > 0 && !userPath(real_data_root),
  };
  return [student, { ...pairs, what: 'the folder of the pairs' }, real];
}
