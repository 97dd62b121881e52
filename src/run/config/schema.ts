// The schema of a configuration. Names and nesting are those of the official code (configs/default_cifar10_configs.py
// and configs/rectified_flow/*), so that its command lines work unchanged. "Ours" marks keys that the official code
// does not have.
import { z } from 'zod';
import { deviceNames, precisions } from '../../device/device.ts';
import { fixedSolvers } from '../../flow/solvers.ts';
import { timeLaws } from '../../flow/times.ts';
import { fixed, free, inert, network, table } from './keys.ts';

/** A whole number within bounds. The bounds are generous; larger values are typing errors or hostile files. */
function whole(least: number, most: number, expected = `expected a whole number from ${least} to ${most}`) {
  return z.int(expected).min(least, expected).max(most, expected);
}

function number(least: number, most: number) {
  const expected = `expected a number from ${least} to ${most}`;
  return z.number(expected).min(least, expected).max(most, expected);
}

function list<Item extends z.ZodNumber>(item: Item, least: number, most: number) {
  const expected = `expected a list of ${least} to ${most} numbers`;
  return z.array(item, expected).min(least, expected).max(most, expected);
}

function positive(most: number) {
  const expected = `expected a number above 0, at most ${most}`;
  return z.number(expected).gt(0, expected).max(most, expected);
}

const ofRate = 'expected a number from 0 to below 1';
const rate = z.number(ofRate).min(0, ofRate).lt(1, ofRate);

/** Bound of step numbers and similar counts. */
const MANY = 1e12;
/** Bound of image counts, which are int32. */
const MOST_IMAGES = 2 ** 31 - 1;
const LARGEST_IMAGE = 2 ** 14;
const LARGEST_BATCH = 2 ** 20;
const MOST_STEPS = 1e7;
const MOST_SCALES = 1e6;
/** Bound of real numbers, well within f32. */
const LARGEST = 1e30;

/** `encoded`: whether the images are JPEG, PNG or WebP files, which may have an EXIF orientation. */
const dataSets = {
  CIFAR10: { encoded: false },
  LSUN: { encoded: true },
  'CelebA-HQ-Pytorch': { encoded: true },
  'AFHQ-CAT-Pytorch': { encoded: true },
  FOLDER: { encoded: true },
  MNIST: { encoded: false },
  DIGITS: { encoded: false },
} as const;
type DataSetName = keyof typeof dataSets;

const optimizers = ['Adam', 'AdamW', 'SGD', 'Lion', 'Muon'] as const;
const schedules = ['constant', 'linear', 'cosine', 'step'] as const;

const reflowTypes = [
  'generate_data_from_z0',
  /** Ours: z1 are images of the data set, and z0 is where the reverse ODE takes them. */
  'generate_data_from_z1',
  'train_reflow',
  'train_online_reflow',
] as const;

const ofSchedule = `expected t0, t1, uniform or a whole number from 1 to ${MOST_STEPS}`;

/** Folders in a work directory that training writes. */
const runFolders = ['checkpoints', 'checkpoints-meta', 'samples', 'tensorboard'];

export const configSchema = table({
  /** Seed of every random draw: initial weights, data order, noise, times, dropout. */
  seed: fixed(whole(0, Number.MAX_SAFE_INTEGER)),
  /** Where to compute, unless --device says otherwise. */
  device: free(z.string().regex(deviceNames, 'expected cpu, wasm, cuda or cuda:N')),
  /** Ours: precision of matrix products and, for bf16, of stored activations. Precisions other than fp32 need cuda. */
  precision: free(z.enum(precisions)),
  /** Ours: never use Winograd convolutions on the CPU. Slower, with about a tenth of the error. */
  exact: free(z.boolean()),
  data: table({
    dataset: fixed(z.enum(Object.keys(dataSets) as DataSetName[])),
    /** Folder of the files, for data sets that are not in the package. */
    root_path: free(z.string()),
    /** LSUN only: bedroom, church_outdoor, ... */
    category: fixed(z.string()),
    image_size: network(whole(1, LARGEST_IMAGE)),
    num_channels: network(whole(1, 1024)),
    random_flip: fixed(z.boolean()),
    /** Ours: rotate image files by their EXIF orientation, as viewers do; false: read them like PIL and torchvision. */
    exif_orientation: fixed(z.boolean()),
    /** true: the network sees [-1, 1]; false: [0, 1]. */
    centered: network(z.boolean()),
    uniform_dequantization: fixed(z.boolean()),
  }),
  model: table({
    name: network(z.enum(['ncsnpp'])),
    ema_rate: fixed(rate),
    dropout: fixed(rate),
    normalization: inert(fixed(z.enum(['GroupNorm']))),
    nonlinearity: network(z.enum(['swish', 'elu', 'relu', 'lrelu'])),
    nf: network(whole(4, 2 ** 14)),
    ch_mult: network(list(whole(1, 256), 1, 15)),
    num_res_blocks: network(whole(1, 256)),
    /** Image heights at which blocks have attention. */
    attn_resolutions: network(list(whole(1, LARGEST_IMAGE), 0, 64)),
    attention_type: inert(fixed(z.enum(['ddpm']))),
    /** Whether resampling between two levels includes a convolution; ddpm blocks only. */
    resamp_with_conv: network(z.boolean()),
    /** Resample with fir_kernel instead of nearest neighbour and mean. */
    fir: network(z.boolean()),
    fir_kernel: network(list(number(-LARGEST, LARGEST), 1, 64)),
    resblock_type: network(z.enum(['biggan', 'ddpm'])),
    progressive: network(z.enum(['none', 'output_skip', 'residual'])),
    progressive_input: network(z.enum(['none', 'input_skip', 'residual'])),
    progressive_combine: network(z.enum(['sum', 'cat'])),
    embedding_type: network(z.enum(['positional', 'fourier'])),
    fourier_scale: fixed(positive(LARGEST)),
    conditional: network(z.boolean()),
    scale_by_sigma: network(z.boolean()),
    skip_rescale: network(z.boolean()),
    /** 0 means 1e-10, as in the official initialiser. */
    init_scale: fixed(number(0, LARGEST)),
    conv_size: inert(fixed(whole(1, 64))),
    /** Noise levels of Score SDE: the buffer `sigmas` of official checkpoints, from sigma_max to sigma_min. */
    sigma_min: network(positive(LARGEST)),
    sigma_max: network(positive(LARGEST)),
    num_scales: network(whole(1, MOST_SCALES)),
    beta_min: inert(fixed(positive(LARGEST))),
    beta_max: inert(fixed(positive(LARGEST))),
    /**
     * Ours: recompute the activations of blocks in backward instead of keeping them. Less memory, bit-identical
     * results.
     */
    activation_checkpointing: free(z.boolean()),
  }),
  optim: table({
    /** Ours: all but Adam. Muon updates matrices, and AdamW the other parameters. */
    optimizer: fixed(z.enum(optimizers)),
    lr: fixed(positive(LARGEST)),
    beta1: fixed(rate),
    /** Ours: decay of the second moment, which is 0.999 in the official code; for Lion that of the only one, 0.99 in its paper. */
    beta2: fixed(rate),
    eps: fixed(positive(LARGEST)),
    /** An L2 penalty for Adam and SGD; the others subtract lr times it from a parameter (decoupled decay). */
    weight_decay: fixed(number(0, LARGEST)),
    /** Ours: momentum of SGD and of Muon; 0 for none. */
    momentum: fixed(rate),
    /** Ours: whether that momentum is Nesterov's. */
    nesterov: fixed(z.boolean()),
    /** Ours: learning rate of the matrices with Muon; the other parameters have lr. */
    muon_lr: fixed(positive(LARGEST)),
    /** Updates over which the learning rate rises from 0; 0 for none. */
    warmup: fixed(whole(0, MANY)),
    /** Ours: the learning rate after the warm-up: src/nn/schedules.ts. The official code keeps it constant. */
    schedule: fixed(z.enum(schedules)),
    /** Ours: updates after which linear and cosine end, the warm-up included, or between two changes of step. */
    schedule_steps: fixed(whole(1, MANY)),
    /** Ours: the last rate of linear and cosine as a share of lr, or the factor of each change of step. */
    schedule_factor: fixed(number(0, 1)),
    /** Largest global norm of the gradient; negative disables clipping. */
    grad_clip: fixed(number(-LARGEST, LARGEST)),
  }),
  training: table({
    sde: fixed(z.enum(['rectified_flow'])),
    batch_size: fixed(whole(1, LARGEST_BATCH)),
    /** Ours: number of parts in which a batch is evaluated, one after another. Memory is needed for one part only. */
    accumulation: fixed(whole(1, LARGEST_BATCH)),
    /** Index of the last step. Steps count from 0, so there are n_iters + 1 updates, as in the official loop. */
    n_iters: free(whole(0, MANY)),
    /** Steps between two numbered snapshots: checkpoint_k is written at step k * snapshot_freq. */
    snapshot_freq: free(whole(1, MANY)),
    /** Steps between two states to resume from; the last two are kept. */
    snapshot_freq_for_preemption: free(whole(1, MANY)),
    /** Steps between two points in TensorBoard. */
    log_freq: free(whole(1, MANY)),
    /** Steps between two evaluations on four held-out batches. */
    eval_freq: free(whole(1, MANY)),
    /** Whether to sample and evaluate each snapshot. */
    snapshot_sampling: free(z.boolean()),
    /** The loss of an image is the mean over its dimensions; false: half the sum. */
    reduce_mean: fixed(z.boolean()),
    continuous: fixed(z.literal(false, 'Rectified Flow has no other loss; expected false')),
    likelihood_weighting: fixed(z.literal(false, 'Rectified Flow has no other loss; expected false')),
    /** Ours: distribution of the training times, see src/flow/times.ts; the official code draws them uniformly. */
    time_law: fixed(z.enum(timeLaws)),
    /** Ours: mean and deviation of the logit, for logit_normal. */
    time_mean: fixed(number(-1000, 1000)),
    time_deviation: fixed(positive(1000)),
    /** Ours: steepness, for u_shaped. */
    time_steepness: fixed(positive(1000)),
    /** Folder of CelebA-HQ-Pytorch and AFHQ-CAT-Pytorch in the official code; data.root_path works too. */
    data_dir: free(z.string()),
  }),
  eval: table({
    /** Ours: folder below the work directory; the official code has --eval_folder. */
    folder: free(
      z
        .string()
        .regex(/^(?!\.)[\w.-]+$/, 'expected the name of a folder: letters, digits, _ . - without a leading dot')
        .refine(
          (name) => !runFolders.includes(name),
          `expected another name than ${runFolders.join(', ')}, which training writes`,
        ),
    ),
    /** Numbers of the snapshots to evaluate, both included. */
    begin_ckpt: free(whole(0, MANY)),
    end_ckpt: free(whole(0, MANY)),
    batch_size: free(whole(1, LARGEST_BATCH)),
    num_samples: free(whole(1, MOST_IMAGES)),
    enable_sampling: free(z.boolean()),
    /**
     * Ours: features that samples are compared in: those of Inception, as published scores use, pixels, or a classifier
     * file.
     */
    features: free(
      z.string().regex(/^(inception|pixels|classifier:.+)$/s, 'expected inception, pixels or classifier:FILE'),
    ),
    /** Ours: file of the Inception weights; if empty, found or downloaded: docs/from-pytorch.md. */
    inception: free(z.string()),
    /** Ours: file of the data set's statistics; if empty, searched in assets/stats/ and the user's data folder. */
    statistics: free(z.string()),
    /** Write image sheets and nothing else. */
    enable_figures_only: free(z.boolean()),
    /** Whether `eval` computes the loss over the held-out part. */
    enable_loss: free(z.boolean()),
    /** Whether `eval` computes bits per dimension. */
    enable_bpd: free(z.boolean()),
    /** Ours: whether `eval` computes how straight the flow's paths are. */
    enable_straightness: free(z.boolean()),
    /** Ours: number of paths for the straightness. */
    straightness_samples: free(whole(1, MOST_IMAGES)),
    /** Part for the bits per dimension: 5 passes over test or 1 over train, each with new noise. */
    bpd_dataset: free(z.enum(['train', 'test'])),
    /** Ours: use at most this many images of the data set, from the first one; 0 for all. */
    max_images: free(whole(0, MOST_IMAGES)),
  }),
  sampling: table({
    method: free(z.enum(['rectified_flow'])),
    init_type: free(z.enum(['gaussian'])),
    /** Deviation of pi_0. */
    init_noise_scale: fixed(positive(LARGEST)),
    use_ode_sampler: free(z.enum([...fixedSolvers, 'rk45'])),
    /** Absolute and relative tolerance of rk45. */
    ode_tol: free(positive(1)),
    /** Steps of the other solvers. */
    sample_N: free(whole(1, MOST_STEPS)),
    /** Above 0, Euler becomes a stochastic sampler with noise of deviation (1 - t) sigma_variance sqrt(dt) per step. */
    sigma_variance: free(number(0, LARGEST)),
    /** Ours: drift of that sampler; the official one, legacy, does not preserve the marginals. */
    sde_drift: free(z.enum(['exact', 'legacy'])),
    /** Ours: bytes that one evaluation of the network may use; larger batches are evaluated in parts. */
    memory_budget: free(whole(1, 2 ** 50)),
    /**
     * Ours: whether samples that are not finite are an error or are left out and counted. In pairs they are always an
     * error.
     */
    not_finite: free(z.enum(['refuse', 'leave_out'])),
    n_steps_each: inert(free(whole(1, MOST_STEPS))),
    noise_removal: inert(free(z.boolean())),
    probability_flow: inert(free(z.boolean())),
    snr: inert(free(positive(LARGEST))),
  }),
  reflow: table({
    reflow_type: fixed(z.enum(reflowTypes)),
    /**
     * uniform: reflow; t0: distil to one step; k >= 1: distil to k steps; t1: the reverse, one step from data to noise.
     */
    reflow_t_schedule: fixed(z.union([z.enum(['t0', 't1', 'uniform']), whole(1, MOST_STEPS, ofSchedule)], ofSchedule)),
    /** Distance of velocities or, with lpips, of images: src/run/training/distance.ts. Those with huber are ours. */
    reflow_loss: fixed(z.enum(['l2', 'lpips', 'lpips+l2', 'pseudo-huber', 'lpips-huber'])),
    /** The checkpoint of the flow to start from. */
    last_flow_ckpt: free(z.string()),
    /** Folder of pairs: {data_root}/{seed}/. */
    data_root: fixed(z.string()),
    total_number_of_samples: free(whole(1, MOST_IMAGES)),
    /** Ours: file of the VGG16 weights for lpips; if empty, found or downloaded: docs/from-pytorch.md. */
    vgg16: free(z.string()),
    /**
     * Ours: whether a student starts from the raw weights of the flow, as in the official code, or from their average.
     */
    student: fixed(z.enum(['raw', 'ema'])),
    /** Ours: with t0, feed the network z0 itself, as in sampling, instead of 0.999 z0 + 0.001 z1. */
    exact_t0: fixed(z.boolean()),
    /**
     * Ours: z0.npy and z1.npy as the official code reads them, or one file of z1 per batch with z0 given by its seed.
     */
    pair_format: free(z.enum(['official', 'shards'])),
    /** Ours: store z1 in shards as f32, or as 16 bits over [-4, 4] ([-1.5, 2.5] unless data.centered). */
    pair_dtype: free(z.enum(['f32', 'u16'])),
    /** Ours: share of pairs of real images, from generate_data_from_z1, in each batch of train_reflow. */
    real_data_ratio: fixed(number(0, 1)),
    /** Ours: folder of the pairs of real images. */
    real_data_root: fixed(z.string()),
    /** Ours: mirror both ends of each pair with probability 1/2. */
    flip_pairs: fixed(z.boolean()),
    /** Ours: Euler steps of the teacher of train_online_reflow. */
    online_steps: fixed(whole(1, MOST_STEPS)),
  }),
  /** Ours: options of `chain`. Its stages take everything else from the keys above. */
  chain: table({
    /**
     * Number of rectified flows: the first is trained on the data, each further one is the reflow of the one before.
     */
    flows: free(whole(1, 1000)),
    /** Index of the last step of each reflow, like training.n_iters for the first flow. */
    reflow_iters: free(whole(0, MANY)),
    /** Euler steps of the generator that the last flow is distilled to; 0 for none. */
    distil_steps: free(whole(0, MOST_STEPS)),
    distil_iters: free(whole(0, MANY)),
    /** Number of pairs generated from each flow for the next stage. */
    pairs: free(whole(1, MOST_IMAGES)),
    /** Sampler of the pairs, like sampling.use_ode_sampler, sample_N and ode_tol for everything else. */
    pair_sampler: free(z.enum([...fixedSolvers, 'rk45'])),
    pair_steps: free(whole(1, MOST_STEPS)),
    pair_tol: free(positive(1)),
    /** Whether to score with a classifier that is first trained on the data set's labels, instead of eval.features. */
    classifier: free(z.boolean()),
  }),
});

/** A whole configuration. */
export type Config = z.infer<typeof configSchema>;

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

/** The dotted path of a key. */
export type KeyPath = {
  [Name in keyof Config]: Config[Name] extends string | number | boolean
    ? Name
    : `${Name}.${keyof Config[Name] & string}`;
}[keyof Config];

/** Inconsistencies between keys, each with its path. */
export function disagreements({ optim, training, reflow }: Config): string[] {
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
  return faults;
}

type DeepPartial<T> = T extends readonly unknown[] ? T : T extends object ? { [K in keyof T]?: DeepPartial<T[K]> } : T;

/** Some keys of a configuration, nested as in the whole: `{ model: { nf: 8 } }`. */
export type ConfigOverrides = DeepPartial<Config>;

/**
 * The default export of a configuration file: its differences from `base`, a name or a path from the file; default
 * "base".
 */
export type ConfigFile = ConfigOverrides & { base?: string };
