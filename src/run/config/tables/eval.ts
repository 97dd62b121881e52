// The table `eval`: what `eval` computes, and for which snapshots.
import { z } from 'zod';
import { free, table } from '../keys.ts';
import { LARGEST_BATCH, MANY, MOST_IMAGES, textLike, whole } from '../values.ts';

/** Folders in a work directory that training writes. */
const runFolders = ['checkpoints', 'checkpoints-meta', 'samples', 'tensorboard'];

const transfers = {
  key: 'sampling.init_type',
  words: 'data',
  met: (type: string, own: unknown) => own === '' || type === 'data',
} as const;

export const evalTable = table('What `eval` computes, and for which snapshots.', ['eval'], {
  folder: free(
    textLike(/^(?!\.)[\w.-]+$/, 'the name of a folder: letters, digits, _ . - without a leading dot').refine(
      (name) => !runFolders.includes(name),
      `expected another name than ${runFolders.join(', ')}, which training writes`,
    ),
    'Folder below the work directory for results; --eval_folder in the official code.',
    { ours: true, also: ['report'] },
  ),
  begin_ckpt: free(whole(0, MANY), 'Number of the first snapshot to evaluate.', { unit: 'snapshots' }),
  end_ckpt: free(whole(0, MANY), 'Number of the last snapshot to evaluate.', { unit: 'snapshots' }),
  batch_size: free(whole(1, LARGEST_BATCH), 'Images of one batch of an evaluation.', {
    unit: 'images',
    also: ['report', 'chain', 'estimate', 'train', 'reflow'],
  }),
  num_samples: free(whole(1, MOST_IMAGES), 'Samples that scores are computed from; published scores use 50,000.', {
    unit: 'images',
    also: ['report', 'chain', 'estimate'],
  }),
  enable_sampling: free(z.boolean(), 'Whether `eval` draws samples and computes FID, IS, KID, precision and recall.'),
  features: free(
    textLike(/^(inception|pixels|classifier:.+)$/s, 'inception, pixels or classifier:FILE'),
    'Features that samples are compared in: those of Inception, as published scores use, pixels, or a classifier that `classifier` trained.',
    { ours: true, also: ['report', 'stats', 'chain'] },
  ),
  inception: free(
    z.string(),
    'File of the Inception weights. If empty, they are found or downloaded: docs/from-pytorch.md.',
    { ours: true, also: ['report', 'stats', 'chain'] },
  ),
  statistics: free(
    z.string(),
    "File of the data set's statistics. If empty, it is searched in assets/stats/ and the user's data folder.",
    { ours: true, also: ['report', 'chain'] },
  ),
  reader: free(
    z.string(),
    'File of a classifier that reads the class in samples with captions, so that a report says how often it is the one of the caption; empty for none. It should be trained on other images than the flow: rectiflow classifier --held-out.',
    {
      ours: true,
      needs: {
        key: 'model.name',
        words: 'unet2d_condition',
        met: (name: string, own) => own === '' || name === 'unet2d_condition',
      },
      also: ['report', 'chain'],
    },
  ),
  source_features: free(
    textLike(/^(|inception|pixels|classifier:.+)$/s, 'inception, pixels, classifier:FILE or nothing'),
    'In a domain transfer, features as eval.features for images that come to the source; if empty, eval.features.',
    { ours: true, needs: transfers, also: ['report', 'chain'] },
  ),
  domains: free(
    z.string(),
    'In a domain transfer, file of a classifier of the two domains that took no part in training, by which a report says how often images are read as the domain that they come to; empty for none.',
    { ours: true, needs: transfers, also: ['report', 'chain'] },
  ),
  enable_figures_only: free(z.boolean(), 'Whether `eval` writes sheets of images and nothing else.'),
  enable_loss: free(z.boolean(), 'Whether `eval` computes the loss over the held-out part.'),
  enable_bpd: free(
    z.boolean(),
    'Whether `eval` computes bits per dimension, an upper bound of the negative log-likelihood.',
    {
      source: 'Score SDE (Song et al., 2021), appendix D',
    },
  ),
  enable_straightness: free(z.boolean(), "Whether `eval` computes how straight the flow's paths are.", {
    ours: true,
    source: 'Rectified Flow (Liu, Gong, Liu, 2023), section 2.2',
  }),
  straightness_samples: free(whole(1, MOST_IMAGES), 'Number of paths that straightness is computed from.', {
    unit: 'paths',
    ours: true,
    also: ['report', 'chain', 'estimate'],
  }),
  bpd_dataset: free(
    z.enum(['train', 'test']),
    'Part for the bits per dimension: 5 passes over test or 1 over train, each with new noise.',
  ),
  max_images: free(
    whole(0, MOST_IMAGES),
    'Use at most this many images of the data set, from the first one; 0 for all.',
    {
      unit: 'images',
      ours: true,
      also: ['report', 'stats', 'chain'],
    },
  ),
});
