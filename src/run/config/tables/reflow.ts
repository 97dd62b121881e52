// The table `reflow`: pairs of noise and image from a trained flow, and what is trained on them.
import { z } from 'zod';
import { fixed, free, table } from '../keys.ts';
import { MOST_IMAGES, MOST_STEPS, number, whole } from '../values.ts';

const paper = 'Rectified Flow (Liu, Gong, Liu, 2023), section 2.2';

const reflowTypes = ['generate_data_from_z0', 'generate_data_from_z1', 'train_reflow', 'train_online_reflow'] as const;

const lpips = { key: 'reflow.reflow_loss', words: 'one with lpips', met: (loss: string) => /lpips/.test(loss) };

export const reflowTable = table('Pairs from a trained flow, and the flow that is trained on them.', ['reflow'], {
  reflow_type: fixed(
    z.enum(reflowTypes),
    'What `reflow` does: generate pairs from noise, or from images of the data set (not in the official code); train on stored pairs, or on pairs that the teacher makes in each step.',
    { source: paper },
  ),
  reflow_t_schedule: fixed(
    z.union([z.enum(['t0', 't1', 'uniform']), whole(1, MOST_STEPS)]),
    'Times of the training: uniform for reflow; t0 distils to one step; a number k distils to k steps; t1 is the reverse, one step from data to noise.',
    { source: paper },
  ),
  reflow_loss: fixed(
    z.enum(['l2', 'lpips', 'lpips+l2', 'pseudo-huber', 'lpips-huber']),
    'Distance of velocities or, with lpips, of images: src/run/training/distance.ts. The two with huber are not in the official code.',
    { source: 'lpips: Zhang et al., 2018; huber: Lee, Lin, Fanti, 2024', also: ['chain'] },
  ),
  last_flow_ckpt: free(z.string(), 'Checkpoint of the flow to start from, which is also the teacher.'),
  data_root: fixed(z.string(), 'Folder of the pairs; those of one seed are in {data_root}/{seed}/.'),
  total_number_of_samples: free(
    whole(1, MOST_IMAGES),
    'Number of pairs to generate. The official README advises at least a million for CIFAR-10.',
    { unit: 'pairs', also: ['pairs'] },
  ),
  vgg16: free(
    z.string(),
    'File of the VGG16 weights for lpips. If empty, they are found or downloaded: docs/from-pytorch.md.',
    { ours: true, needs: lpips, also: ['chain'] },
  ),
  student: fixed(
    z.enum(['raw', 'ema']),
    'Whether a student starts from the raw weights of the flow, as in the official code, or from their moving average.',
    { ours: true, also: ['chain'] },
  ),
  exact_t0: fixed(
    z.boolean(),
    'With t0, whether the network receives z0 itself, as in sampling, instead of 0.999 z0 + 0.001 z1 as in the official code.',
    { ours: true, also: ['chain'] },
  ),
  pair_format: free(
    z.enum(['official', 'shards']),
    'How pairs are stored: z0.npy and z1.npy as the official code reads them, or one file of z1 per batch with z0 given by its seed.',
    { ours: true, also: ['chain'] },
  ),
  pair_dtype: free(
    z.enum(['f32', 'u16', 'f16']),
    'How z1 is stored in shards: as f32, as 16 bits over [-4, 4] ([-1.5, 2.5] unless data.centered), or as f16, which suits latents.',
    { ours: true, also: ['chain', 'estimate'] },
  ),
  real_data_ratio: fixed(
    number(0, 1),
    'Share of pairs of real images, from generate_data_from_z1, in each batch of train_reflow.',
    { ours: true, also: ['chain'] },
  ),
  real_data_root: fixed(z.string(), 'Folder of the pairs of real images.', {
    ours: true,
    needs: { key: 'reflow.real_data_ratio', words: 'above 0', met: (ratio: number) => ratio > 0 },
    also: ['chain'],
  }),
  flip_pairs: fixed(z.boolean(), 'Whether training mirrors both ends of each pair with probability 1/2.', {
    ours: true,
    also: ['chain'],
  }),
  online_steps: fixed(
    whole(1, MOST_STEPS),
    'Euler steps of the teacher of train_online_reflow; the official code always has 20.',
    { unit: 'steps', ours: true },
  ),
});
