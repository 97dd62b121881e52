// The table `training`: batches, the number of steps, what is written and how often, and the law of the times.
import { z } from 'zod';
import { timeLaws } from '../../../flow/times.ts';
import { fixed, free, type Reader, table, training } from '../keys.ts';
import { LARGEST_BATCH, MANY, number, positive, whole } from '../values.ts';

const dataFolder: readonly Reader[] = ['eval', 'stats', 'classifier', 'pairs', 'report'];

const logitNormal = {
  key: 'training.time_law',
  words: 'logit_normal',
  met: (law: string) => law === 'logit_normal',
};

export const trainingTable = table(
  'Batches, steps, what is written and how often, and the law of the times.',
  training,
  {
    sde: fixed(z.enum(['rectified_flow']), 'The method; there is one.'),
    batch_size: fixed(whole(1, LARGEST_BATCH), 'Images of one update.', { unit: 'images', also: ['pairs'] }),
    accumulation: fixed(
      whole(1, LARGEST_BATCH),
      'Number of parts in which a batch is evaluated, one after another; it divides training.batch_size. Memory is needed for one part only.',
      { unit: 'parts', ours: true },
    ),
    n_iters: free(
      whole(0, MANY),
      'Index of the last step. Steps count from 0, so there are n_iters + 1 updates, as in the official loop.',
      { unit: 'steps' },
    ),
    snapshot_freq: free(
      whole(1, MANY),
      'Steps between two numbered snapshots: checkpoint_k is written at step k * snapshot_freq.',
      { unit: 'steps' },
    ),
    snapshot_freq_for_preemption: free(
      whole(1, MANY),
      'Steps between two states to resume from. The last two are kept.',
      { unit: 'steps' },
    ),
    log_freq: free(whole(1, MANY), 'Steps between two entries of the loggers.', { unit: 'steps' }),
    loggers: free(
      z.enum(['tensorboard', 'csv', 'tensorboard,csv', 'none']),
      'Where a run logs to besides log.jsonl: event files for TensorBoard, metrics.csv, both or neither.',
      { ours: true, source: 'docs/loggers.md' },
    ),
    eval_freq: free(whole(1, MANY), 'Steps between two evaluations on four held-out batches.', { unit: 'steps' }),
    snapshot_sampling: free(z.boolean(), 'Whether to sample and evaluate each snapshot.'),
    reduce_mean: fixed(
      z.boolean(),
      'Whether the loss of an image is the mean over its dimensions; false takes half the sum.',
      { also: ['eval'] },
    ),
    continuous: fixed(z.literal(false), 'A loss of Score SDE; Rectified Flow has no other loss, so it must be false.'),
    likelihood_weighting: fixed(
      z.literal(false),
      'A loss of Score SDE; Rectified Flow has no other loss, so it must be false.',
    ),
    time_law: fixed(
      z.enum(timeLaws),
      'Distribution of the times that training draws. The official code draws them uniformly.',
      {
        ours: true,
        source: 'logit_normal and cosmap: Esser et al., 2024; u_shaped: Lee, Lin, Fanti, 2024',
      },
    ),
    time_mean: fixed(number(-1000, 1000), 'Mean of the logit of the times.', {
      ours: true,
      needs: logitNormal,
    }),
    time_deviation: fixed(positive(1000), 'Standard deviation of the logit of the times.', {
      ours: true,
      needs: logitNormal,
    }),
    time_steepness: fixed(z.number().gt(0).lt(80), 'How strongly the u_shaped law favours times near 0 and 1.', {
      ours: true,
      needs: { key: 'training.time_law', words: 'u_shaped', met: (law: string) => law === 'u_shaped' },
    }),
    feature_weight: fixed(
      number(0, 1),
      'In a domain transfer, the weight w of the loss in features of a classifier of the two domains: w times the mean square of J (x_1 - x_0 - v), plus 1 - w times that of x_1 - x_0 - v. Applies to `train` and `reflow`; 0 for the plain loss.',
      {
        ours: true,
        source: 'Flow Straight and Fast (Liu, Gong, Liu 2023), section 5.3',
        needs: {
          key: 'sampling.init_type',
          words: 'data',
          met: (type: string, own) => own === 0 || type === 'data',
        },
      },
    ),
    neighbours: fixed(
      whole(0, 100),
      'In a domain transfer, each training image is paired with one of its nearest images of the other domain: this is their number; 0 pairs at random. Likeness is found without labels: cosines of the images, each less the mean of its domain, then linear maps between neighbours, in turns. Applies to `train`; the loss on held-out images stays that of random pairs.',
      {
        unit: 'images',
        ours: true,
        source: 'the turns: Word Translation Without Parallel Data (Conneau et al. 2018)',
        needs: {
          key: 'sampling.init_type',
          words: 'data',
          met: (type: string, own) => own === 0 || type === 'data',
        },
      },
    ),
    feature_network: free(
      z.string(),
      'File of that classifier; if empty, it is trained first, into domains.safetensors of the run.',
      { ours: true, needs: { key: 'training.feature_weight', words: 'above 0', met: (weight: number) => weight > 0 } },
    ),
    caption_dropout: fixed(
      number(0, 1),
      'Share of the captions that are left empty, in training and in pairs, so that guidance has a flow without a caption to start from.',
      {
        ours: true,
        source: 'classifier-free guidance (Ho, Salimans, 2021)',
        needs: {
          key: 'model.name',
          words: 'unet2d_condition or stable_diffusion',
          met: (name: string) => name !== 'ncsnpp',
        },
      },
    ),
    data_dir: free(
      z.string(),
      'Folder of CelebA-HQ-Pytorch and AFHQ-CAT-Pytorch in the official code; data.root_path works too.',
      { also: dataFolder },
    ),
  },
);
