// What a configuration holds. Names and nesting are those of the official code (configs/default_cifar10_configs.py and
// configs/rectified_flow/*), so that its command lines keep working; keys of our own are marked.
import { z } from 'zod';
import { fixedSolvers } from '../../flow/solvers.ts';

const whole = (least: number) => z.int().min(least);
const positive = z.number().positive();
const rate = z.number().min(0).lt(1);

export const dataSets = [
  'CIFAR10',
  'CelebA-HQ-Pytorch',
  'AFHQ-CAT-Pytorch',
  'LSUN',
  'FOLDER',
  'MNIST',
  'DIGITS',
] as const;

export const configSchema = z.strictObject({
  /** Of every random draw: initial weights, data order, noise, times, dropout. */
  seed: whole(0),
  data: z.strictObject({
    dataset: z.enum(dataSets),
    /** Folder of the files, for sets that are not shipped. */
    root_path: z.string(),
    /** Of LSUN: bedroom, church_outdoor, ... */
    category: z.string(),
    image_size: whole(1),
    num_channels: whole(1),
    random_flip: z.boolean(),
    /** true: the network sees [-1, 1]; false: [0, 1]. */
    centered: z.boolean(),
    uniform_dequantization: z.boolean(),
  }),
  model: z.strictObject({
    ema_rate: rate,
    dropout: rate,
    nf: whole(4),
    ch_mult: z.array(whole(1)).min(1),
    num_res_blocks: whole(1),
    /** Image heights at which blocks have attention. */
    attn_resolutions: z.array(whole(1)),
    embedding_type: z.enum(['positional', 'fourier']),
    fourier_scale: positive,
    conditional: z.boolean(),
    scale_by_sigma: z.boolean(),
    skip_rescale: z.boolean(),
    /** 0 stands for 1e-10, as in the official initialiser. */
    init_scale: z.number().min(0),
  }),
  optim: z.strictObject({
    lr: positive,
    beta1: rate,
    eps: positive,
    weight_decay: z.number().min(0),
    /** Updates over which the rate rises from 0; 0 for none. */
    warmup: whole(0),
    /** Largest global norm of the gradient; negative for no clipping. */
    grad_clip: z.number(),
  }),
  training: z.strictObject({
    batch_size: whole(1),
    n_iters: whole(1),
    /** Updates between two numbered snapshots. */
    snapshot_freq: whole(1),
    /** Updates between two states to resume from; the last two are kept. */
    snapshot_freq_for_preemption: whole(1),
    /** Steps between two points of TensorBoard's curves. */
    log_freq: whole(1),
    /** Updates between two evaluations on four held-out batches. */
    eval_freq: whole(1),
    /** Whether each snapshot is sampled from and evaluated. */
    snapshot_sampling: z.boolean(),
  }),
  eval: z.strictObject({
    /** Ours: folder below the work directory; the official code takes it as --eval_folder. */
    folder: z.string().regex(/^[\w.-]+$/, 'expected the name of a folder: letters, digits, _ . -'),
    batch_size: whole(1),
    /** Whether `eval` computes the loss over the held-out part. */
    enable_loss: z.boolean(),
  }),
  sampling: z.strictObject({
    use_ode_sampler: z.enum([...fixedSolvers, 'rk45']),
    /** Absolute and relative tolerance of rk45. */
    ode_tol: positive,
    /** Steps of the other solvers. */
    sample_N: whole(1),
    /** Ours: bytes that one evaluation of the network may take; larger batches are evaluated in parts. */
    memory_budget: whole(1),
  }),
});

/** A whole configuration. */
export type Config = z.infer<typeof configSchema>;

type Partial<T> = T extends readonly unknown[] ? T : T extends object ? { [K in keyof T]?: Partial<T[K]> } : T;

/** What a configuration file exports: what differs from its base, by name or by path from the file; default "base". */
export type ConfigFile = Partial<Config> & { base?: string };
